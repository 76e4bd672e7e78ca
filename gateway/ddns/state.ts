import { createHash, randomBytes, scryptSync } from 'node:crypto';
import * as z from 'zod';
import { readIfThere, writeDurably } from '../../firstboot/system.ts';
import { canonical, type Family } from './address.ts';
import { type ProviderSettings, secretsOf, withoutSecrets } from './settings.ts';

/** Milliseconds since 1970. */
const time = z.number().int().min(0).max(8.64e15);
const text = z.string().max(1000);
const stop = z.strictObject({ reason: text, fix: text });

const record = z.strictObject({
  /** What the provider last confirmed, and when. */
  address: z
    .string()
    .refine((address) => canonical(address) === address)
    .optional(),
  sentAt: time.optional(),
  /** In a row. */
  failures: z.number().int().min(0).max(1_000_000),
  failingSince: time.optional(),
  problem: text.optional(),
  fix: text.optional(),
  /** Nothing is sent before. */
  nextAt: time,
  stopped: stop.optional(),
  /** The device has had no address of this family since then. */
  goneSince: time.optional(),
});

const providerState = z.strictObject({
  records: z.strictObject({ 4: record.optional(), 6: record.optional() }),
  stopped: stop.optional(),
  /** Of the secrets that failed, so that others are tried at once. */
  secrets: z.strictObject({ salt: z.string().max(64), digest: z.string().max(128) }).optional(),
  memory: z.record(z.string().max(64), z.string().max(256)),
});

const stateSchema = z.strictObject({
  version: z.literal(1),
  providers: z.record(z.string().max(64), providerState),
  /** The provider whose registration stood last. */
  active: z.string().max(64).optional(),
  /** No name has been registered since then. */
  unregisteredSince: time.optional(),
  /** After a damaged file nobody knows what was sent last: nothing is, until then. */
  quietUntil: time.optional(),
});

export type RecordState = z.output<typeof record>;
export type ProviderState = z.output<typeof providerState>;
export type State = z.output<typeof stateSchema>;

/** Milliseconds of silence after a lost history: the longest minimum interval of any provider. */
export const silence = 300_000;

export const freshState = (): State => ({ version: 1, providers: {} });

/** The state of a file's text; undefined if it is none. */
export function parseState(content: string): State | undefined {
  try {
    const parsed = stateSchema.safeParse(JSON.parse(content));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Reads the state. No file is a first run; a damaged one costs its history, and counts as if
 * everything had just been sent.
 */
export async function readState(path: string, now: number): Promise<State> {
  const content = await readIfThere(path);
  if (content === undefined) return freshState();
  const state = parseState(content);
  return state ? bounded(state, now) : { ...freshState(), quietUntil: now + silence };
}

/** A day: no provider is left alone for longer, whatever it or a wrong clock says. */
const longest = 86_400_000;

/** Times of a clock that was ahead (there is none with a battery) must not silence the gateway. */
function bounded(state: State, now: number): State {
  const past = (at: number) => Math.min(at, now);
  for (const { records } of Object.values(state.providers))
    for (const one of [records[4], records[6]]) {
      if (!one) continue;
      one.nextAt = Math.min(one.nextAt, now + longest);
      if (one.sentAt !== undefined) one.sentAt = past(one.sentAt);
      if (one.failingSince !== undefined) one.failingSince = past(one.failingSince);
      if (one.goneSince !== undefined) one.goneSince = past(one.goneSince);
    }
  if (state.unregisteredSince !== undefined)
    state.unregisteredSince = past(state.unregisteredSince);
  if (state.quietUntil !== undefined) state.quietUntil = Math.min(state.quietUntil, now + silence);
  return state;
}

/** Writes the state durably, but never the same twice: each write wears the card. */
export function saver(path: string): (state: State) => Promise<void> {
  let written: string | undefined;
  return async (state) => {
    // In the schema's order, as it is after reading: another order is no news.
    const content = `${JSON.stringify(stateSchema.parse(state))}\n`;
    written ??= await readIfThere(path);
    if (content === written) return;
    await writeDurably(path, content, 0o600);
    written = content;
  };
}

/** Names a provider's settings without telling their secrets; other settings are another provider. */
export function keyOf(settings: ProviderSettings): string {
  const open = JSON.stringify(withoutSecrets(settings));
  return `${settings.type}-${createHash('sha256').update(open).digest('hex').slice(0, 16)}`;
}

/**
 * A digest of the provider's secrets. By scrypt (RFC 7914; node's default cost) with a salt, as a
 * password may be short and the state must not help to guess it.
 */
export function digestSecrets(
  settings: ProviderSettings,
  salt = randomBytes(16).toString('hex'),
): NonNullable<ProviderState['secrets']> {
  const secrets = JSON.stringify([
    ...secretsOf(settings),
    'username' in settings ? settings.username : '',
  ]);
  const key = `${salt} ${secrets}`;
  const digest = digests.get(key) ?? scryptSync(secrets, salt, 32).toString('hex');
  digests.set(key, digest);
  return { salt, digest };
}

/** scrypt is slow for who guesses; a process that has the secrets anyway need not pay for each twice. */
const digests = new Map<string, string>();

export function recordState(state: State, provider: ProviderState, family: Family): RecordState {
  const found = provider.records[family];
  if (found) return found;
  const fresh: RecordState = { failures: 0, nextAt: state.quietUntil ?? 0 };
  provider.records[family] = fresh;
  return fresh;
}
