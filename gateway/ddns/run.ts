import { type Family, recordType } from './address.ts';
import type { Verdict } from './discover/votes.ts';
import { NoAnswerError } from './http.ts';
import type { Outcome } from './outcome.ts';
import { providerOf } from './providers/all.ts';
import { freednsSha } from './providers/freedns.ts';
import type { Context, Provider } from './providers/provider.ts';
import { quote, redact } from './redact.ts';
import { type DdnsSettings, type ProviderSettings, secretsOf, type Timings } from './settings.ts';
import {
  digestSecrets,
  keyOf,
  type ProviderState,
  type RecordState,
  recordState,
  type State,
} from './state.ts';

/** The world, as a run needs it; tests have a clock and dice of their own. */
export type World = Pick<Context, 'exchange' | 'run'> & {
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
  /** Keeps the state, durably, before anything else is done. */
  save(state: State): Promise<void>;
  /** A line for the journal. */
  say(text: string): void;
};

/** A provider of the settings with what is known of it. */
export type Entry = {
  key: string;
  settings: ProviderSettings;
  provider: Provider;
  state: ProviderState;
  /** Families that it takes and that this device has an address of. */
  wanted: Family[];
};

const minute = 60_000;
/** Milliseconds: twice the timer's period. */
const longestIdle = 10 * minute;
/** A provider that refuses without a reason is asked hourly after so many refusals. */
const refusals = 3;

/**
 * Registers what is due, and no more: the first provider, or, while it is down, the next. The state
 * is changed and saved at each step, so a cut at any point sends nothing twice.
 */
export async function register(
  settings: DdnsSettings,
  verdicts: readonly Verdict[],
  state: State,
  worldOf: (settings: ProviderSettings) => World,
): Promise<Entry[]> {
  const entries = prepare(settings, verdicts, state);
  const online = verdicts.some((verdict) => verdict.address !== undefined);
  // Without a network nothing can be sent, and nothing is anybody's fault.
  if (!online) return entries;
  for (const entry of entries) {
    const world = worldOf(entry.settings);
    await tend(entry, settings.timings, verdicts, state, world);
    if (!isDown(entry, settings.timings, verdicts, world.now())) break;
  }
  return entries;
}

/** The entries of the settings; what the state knows of others is forgotten. */
function prepare(settings: DdnsSettings, verdicts: readonly Verdict[], state: State): Entry[] {
  const known = state.providers;
  state.providers = {};
  return settings.providers.map((one) => {
    const key = keyOf(one);
    const kept = known[key] ?? { records: {}, memory: {} };
    state.providers[key] = kept;
    forgive(kept, one);
    const provider = providerOf(one);
    const can = provider.families(one);
    const wanted = verdicts
      .filter(({ family, address }) => address !== undefined && can.includes(family))
      .map(({ family }) => family);
    return { key, settings: one, provider, state: kept, wanted };
  });
}

/** Secrets that the owner has changed are tried at once, whatever became of those before. */
function forgive(state: ProviderState, settings: ProviderSettings): void {
  if (!state.secrets) return;
  const { salt, digest } = state.secrets;
  if (digestSecrets(settings, salt).digest === digest) return;
  delete state.secrets;
  delete state.stopped;
  for (const one of [state.records[4], state.records[6]]) {
    if (!one || (one.failures === 0 && !one.stopped)) continue;
    succeedAt(one);
    one.nextAt = 0;
  }
}

/** Forgets a record's failures. */
function succeedAt(one: RecordState): void {
  one.failures = 0;
  for (const key of ['failingSince', 'problem', 'fix', 'stopped'] as const) delete one[key];
}

const addressOf = (verdicts: readonly Verdict[], family: Family) =>
  verdicts.find((verdict) => verdict.family === family)?.address;

/** The provider has the address that the device has now. */
export function isRegistered(entry: Entry, verdicts: readonly Verdict[], family: Family): boolean {
  const one = entry.state.records[family];
  const address = addressOf(verdicts, family);
  return !entry.state.stopped && !one?.stopped && address !== undefined && one?.address === address;
}

/** At least one family is registered: the name leads here. */
export function standsNow(entry: Entry, verdicts: readonly Verdict[]): boolean {
  return entry.wanted.some((family) => isRegistered(entry, verdicts, family));
}

/** No hope for now: stopped, unable, or failing for long or often in every family that there is. */
export function isDown(
  entry: Entry,
  timings: Timings,
  verdicts: readonly Verdict[],
  now: number,
): boolean {
  if (entry.state.stopped) return true;
  return entry.wanted.every((family) => {
    if (isRegistered(entry, verdicts, family)) return false;
    const one = entry.state.records[family];
    if (!one) return false;
    if (one.stopped) return true;
    const long =
      one.failingSince !== undefined &&
      now - one.failingSince >= timings.fallback_minutes * minute &&
      // One failure before the clock was set must not look like an old one.
      one.failures > 1;
    return long || one.failures >= timings.fallback_failures;
  });
}

async function tend(
  entry: Entry,
  timings: Timings,
  verdicts: readonly Verdict[],
  state: State,
  world: World,
): Promise<void> {
  if (entry.state.stopped) return;
  for (const verdict of verdicts) await tendGone(entry, verdict, timings, state, world);
  // Each on its own: what fails for one family holds the other up in nothing.
  for (const family of entry.wanted) {
    const address = addressOf(verdicts, family);
    const one = recordState(state, entry.state, family);
    const now = world.now();
    const due =
      one.address !== address ||
      one.failures > 0 ||
      now - (one.sentAt ?? 0) >= timings.refresh_days * 24 * 60 * minute;
    if (address === undefined || !due || one.stopped || entry.state.stopped || now < one.nextAt)
      continue;
    const outcome = await attempt(entry, one, timings, state, world, (context) =>
      entry.provider.update(entry.settings, { family, address }, context),
    );
    if (outcome.kind === 'updated' || outcome.kind === 'unchanged') {
      one.address = address;
      one.sentAt = world.now();
      await world.save(state);
      world.say(
        `${entry.provider.label}: ${entry.settings.hostnames.join(', ')} ${outcome.kind === 'updated' ? 'now has' : 'has'} ${address}`,
      );
    } else report(entry, family, outcome, world);
  }
}

/** The record of a family that is gone for long leads nowhere: it is cleared, where the protocol can. */
async function tendGone(
  entry: Entry,
  { family, gone }: Verdict,
  timings: Timings,
  state: State,
  world: World,
): Promise<void> {
  const one = entry.state.records[family];
  if (!one) return;
  if (!gone) {
    delete one.goneSince;
    return;
  }
  one.goneSince ??= world.now();
  const { clear } = entry.provider;
  if (
    !clear ||
    one.address === undefined ||
    one.stopped ||
    world.now() < Math.max(one.nextAt, one.goneSince + timings.clear_minutes * minute)
  )
    return;
  const outcome = await attempt(entry, one, timings, state, world, (context) =>
    clear.run(entry.settings, family, context),
  );
  if (outcome.kind !== 'updated' && outcome.kind !== 'unchanged')
    return report(entry, family, outcome, world);
  delete one.address;
  const other = entry.state.records[family === 4 ? 6 : 4];
  if (clear.wholly && other) {
    delete other.address;
    other.nextAt = 0;
  }
  await world.save(state);
  world.say(
    `${entry.provider.label}: the ${recordType(family)} record of ${entry.settings.hostnames.join(', ')} is cleared, as IPv${family} is gone`,
  );
}

async function attempt(
  entry: Entry,
  one: RecordState,
  timings: Timings,
  state: State,
  world: World,
  act: (context: Context) => Promise<Outcome>,
): Promise<Outcome> {
  const interval = entry.provider.minimumInterval * 1000;
  const start = world.now();
  const idle = start - one.nextAt;
  // Nobody tried: the network or the power was away, or the clock was set. That is no time of failing.
  if (one.failingSince !== undefined && idle > longestIdle) one.failingSince += idle;
  // Before it is sent: whatever ends this run, the next one waits.
  one.nextAt = start + interval;
  await world.save(state);
  const context: Context = {
    exchange: world.exchange,
    run: world.run,
    timeout: timings.timeout_seconds * 1000,
    now: new Date(world.now()),
    memory: entry.state.memory,
  };
  let reached = true;
  let outcome: Outcome;
  try {
    outcome = clean(await act(context), entry.settings);
  } catch (error) {
    reached = !(error instanceof NoAnswerError);
    const reason = error instanceof Error ? error.message : String(error);
    outcome = clean({ kind: 'retry', reason }, entry.settings);
  }
  settle(entry, one, outcome, reached, timings, world);
  await world.save(state);
  return outcome;
}

/** No secret leaves the request, not even when the provider repeats it. */
function clean(outcome: Outcome, settings: ProviderSettings): Outcome {
  if (!('reason' in outcome)) return outcome;
  const sha = settings.type === 'freedns' ? freednsSha(settings) : undefined;
  const basic =
    'username' in settings ? `${settings.username ?? ''}:${settings.password ?? ''}` : undefined;
  const secrets = [...secretsOf(settings), sha ?? '', basic ?? ''];
  return { ...outcome, reason: quote(redact(outcome.reason, secrets)) };
}

function settle(
  entry: Entry,
  one: RecordState,
  outcome: Outcome,
  reached: boolean,
  timings: Timings,
  { now, random }: World,
): void {
  const at = now();
  if (outcome.kind === 'updated' || outcome.kind === 'unchanged') {
    succeedAt(one);
    one.nextAt = at + entry.provider.minimumInterval * 1000;
    const { records } = entry.state;
    // As long as nothing fails, their digest is of no use.
    if (![records[4], records[6]].some((other) => other && other.failures > 0))
      delete entry.state.secrets;
    return;
  }
  entry.state.secrets ??= digestSecrets(entry.settings);
  one.failures += 1;
  one.failingSince ??= at;
  one.problem = outcome.reason;
  delete one.fix;
  if (outcome.kind === 'stopped') {
    const { reason, fix } = outcome;
    if (outcome.record) one.stopped = { reason, fix };
    else entry.state.stopped = { reason, fix };
    return;
  }
  if (outcome.kind === 'refused') one.fix = outcome.fix;
  const least = Math.max(
    reached ? entry.provider.minimumInterval : 0,
    outcome.kind === 'retry' ? (outcome.after ?? 0) : one.failures >= refusals ? 3600 : 0,
  );
  one.nextAt =
    at + Math.round(Math.max(least * 1000, backOff(one.failures, timings)) * (1 + random() / 4));
}

/** Milliseconds: doubled at each failure up to a bound. Up to a quarter is added, so that not all ask at once. */
export function backOff(failures: number, timings: Timings): number {
  const { retry_minutes: first, retry_max_minutes: most } = timings;
  return Math.min(first * 2 ** Math.min(failures - 1, 30), most) * minute;
}

function report({ provider, settings }: Entry, family: Family, outcome: Outcome, world: World) {
  if (!('reason' in outcome)) return;
  const fix = 'fix' in outcome ? ` → ${outcome.fix}` : '';
  const stopped = outcome.kind === 'stopped' ? '; nothing more is sent until you do' : '';
  world.say(
    `${provider.label}: ${recordType(family)} of ${settings.hostnames.join(', ')}: ${outcome.reason}${fix}${stopped}`,
  );
}
