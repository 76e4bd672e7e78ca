import { type Family, recordType } from './address.ts';
import type { Verdict } from './discover/votes.ts';
import { type Entry, isDown, isRegistered, standsNow } from './run.ts';
import type { Timings } from './settings.ts';
import type { State } from './state.ts';
import type { DdnsStatus, ProviderStatus, RecordStatus } from './view.ts';

/**
 * Milliseconds without any registered name before that is a failure: a line that comes up slowly, or a
 * provider that is away for a moment, is none.
 */
const grace = 30 * 60_000;

/**
 * What a run came to, for people and machines, and whether the service has failed; notes in the state
 * who is active.
 * @param uptime Milliseconds since boot: the clock may have been set since `unregisteredSince`.
 */
export function conclude(
  entries: readonly Entry[],
  verdicts: readonly Verdict[],
  timings: Timings,
  state: State,
  now: number,
  uptime: number,
): DdnsStatus {
  const online = verdicts.some((verdict) => verdict.address !== undefined);
  const standing = entries.find((entry) => standsNow(entry, verdicts));
  const before = entries.find((entry) => entry.key === state.active);
  if (standing) state.active = standing.key;
  else if (!before || online) delete state.active;
  const first = entries[0];
  const registered = standing !== undefined || (!online && before !== undefined);
  if (registered) delete state.unregisteredSince;
  else state.unregisteredSince ??= now;
  const stopped = entries.every(
    (entry) =>
      entry.state.stopped ||
      (entry.wanted.length > 0 &&
        entry.wanted.every((family) => entry.state.records[family]?.stopped)),
  );
  const since = now - (state.unregisteredSince ?? now);
  const active = standing ?? (online ? undefined : before);
  const fallback = active !== undefined && active !== first;
  const kind = !online
    ? 'offline'
    : active === undefined
      ? stopped || since >= grace
        ? 'unregistered'
        : 'pending'
      : fallback
        ? 'fallback'
        : 'registered';
  const providers = entries.map((entry) => providerStatus(entry, active, verdicts, timings, now));
  return {
    checked_at: new Date(now).toISOString(),
    state: kind,
    registered,
    failed: !registered && ((stopped && online) || Math.min(since, uptime) >= grace),
    summary: summary(kind, active, first, verdicts),
    active: active
      ? { provider: active.provider.label, hostnames: active.settings.hostnames }
      : null,
    addresses: verdicts.map(({ family, address, agreed, notes }) => ({
      family,
      address: address ?? null,
      agreed,
      notes,
    })),
    providers,
  };
}

function summary(
  kind: DdnsStatus['state'],
  active: Entry | undefined,
  first: Entry | undefined,
  verdicts: readonly Verdict[],
): string {
  const names = active?.settings.hostnames.join(', ') ?? '';
  const addresses = active
    ? active.wanted
        .filter((family) => isRegistered(active, verdicts, family))
        .map((family) => verdicts.find((verdict) => verdict.family === family)?.address)
        .join(' and ')
    : '';
  switch (kind) {
    case 'offline':
      return `No public address is known${active ? `; ${names} at ${active.provider.label} stays as it was` : ', so nothing is registered'}`;
    case 'registered':
      return `${names} is registered at ${active?.provider.label} with ${addresses}`;
    case 'fallback':
      return `${first?.provider.label} (${first?.settings.hostnames.join(', ')}) is down: in its place ${names} is registered at ${active?.provider.label} with ${addresses}`;
    case 'pending':
      return 'No name is registered yet; it is being tried';
    default:
      return 'No name is registered at any provider';
  }
}

function providerStatus(
  entry: Entry,
  active: Entry | undefined,
  verdicts: readonly Verdict[],
  timings: Timings,
  now: number,
): ProviderStatus {
  const { provider, settings, state } = entry;
  const can = provider.families(settings);
  const touched = Object.keys(state.records).length > 0 || state.stopped !== undefined;
  return {
    provider: provider.label,
    type: provider.type,
    hostnames: settings.hostnames,
    state: state.stopped
      ? 'stopped'
      : entry === active
        ? 'active'
        : !touched
          ? 'standby'
          : verdicts.some((verdict) => verdict.address) && isDown(entry, timings, verdicts, now)
            ? 'down'
            : entry.wanted.some((family) => (state.records[family]?.failures ?? 0) > 0)
              ? 'failing'
              : 'standby',
    stopped: state.stopped ?? null,
    records: verdicts.map((verdict) => recordStatus(entry, verdict, can, now)),
  };
}

function recordStatus(
  { state, provider }: Entry,
  { family, address, gone }: Verdict,
  can: readonly Family[],
  now: number,
): RecordStatus {
  const one = state.records[family];
  const type = recordType(family);
  const notes: string[] = [];
  if (!can.includes(family)) notes.push(`cannot be registered with ${provider.label}'s settings`);
  if (one?.problem !== undefined) notes.push(one.problem + (one.fix ? ` → ${one.fix}` : ''));
  if (one?.stopped) notes.push(`nothing more is sent → ${one.stopped.fix}`);
  if (gone && one?.address !== undefined)
    notes.push(
      provider.clear
        ? `IPv${family} is gone; the ${type} record is cleared if it stays so`
        : `IPv${family} is gone; ${provider.label} cannot clear the ${type} record: it is left at ${one.address}`,
    );
  else if (address !== undefined && one?.address !== undefined && one.address !== address)
    notes.push(`still has ${one.address}`);
  return {
    type,
    address: one?.address ?? null,
    since: one?.sentAt === undefined ? null : new Date(one.sentAt).toISOString(),
    failures: one?.failures ?? 0,
    next_attempt:
      one && one.failures > 0 && !one.stopped && !state.stopped && one.nextAt > now
        ? new Date(one.nextAt).toISOString()
        : null,
    notes,
  };
}
