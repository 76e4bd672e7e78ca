import { canonical, type Family, recordType } from '../address.ts';
import type { HttpRequest, HttpResponse } from '../http.ts';
import { type Outcome, worst } from '../outcome.ts';
import { oneLine } from '../redact.ts';
import type { SettingsOf } from '../settings.ts';
import {
  type Context,
  endpoint,
  hostmaster,
  judgeHttp,
  type ParsedAnswer,
  type Provider,
  patient,
  type Sent,
  userAgent,
} from './provider.ts';

type Settings = SettingsOf<'cloudflare'>;

/** A record as the API gives it; we never write but its content. */
export type CloudflareRecord = { id: string; name: string; type: string; content: string };

const token = 'Make an API token with Zone.DNS edit and Zone read for this zone';
const never = /^(?!)/;
const answer = (
  says: string,
  outcome: Outcome,
  status = 200,
  headers?: Record<string, string>,
): ParsedAnswer => ({ says, outcome, status, match: never, ...(headers ? { headers } : {}) });

const failure = (code: number, message: string) =>
  JSON.stringify({ success: false, errors: [{ code, message }], messages: [], result: null });

/** developers.cloudflare.com/api and /fundamentals/api: they are read as JSON, by status and error code. */
const answers: readonly ParsedAnswer[] = [
  answer(
    '{"success":true,"errors":[],"result":{"id":"r1","name":"NAME","type":"A","content":"ADDRESS"}}',
    {
      kind: 'updated',
    },
  ),
  answer(failure(81058, 'An identical record already exists.'), { kind: 'unchanged' }, 400),
  answer(
    failure(6003, 'Invalid request headers'),
    { kind: 'stopped', reason: 'refuses the request: Invalid request headers (6003)', fix: token },
    400,
  ),
  answer(
    failure(1000, 'Invalid API Token'),
    { kind: 'stopped', reason: 'refuses the token: Invalid API Token (1000)', fix: token },
    401,
  ),
  answer(
    failure(10000, 'Authentication error'),
    { kind: 'stopped', reason: 'refuses the token: Authentication error (10000)', fix: token },
    403,
  ),
  answer(
    failure(7003, 'Could not route to /zones/x, perhaps your object identifier is invalid?'),
    {
      kind: 'retry',
      reason:
        'no longer knows the zone or record: Could not route to /zones/x, perhaps your object identifier is invalid? (7003)',
    },
    404,
  ),
  answer(
    failure(971, 'Please wait and consider throttling your request speed'),
    {
      kind: 'retry',
      reason:
        'asks for fewer requests: Please wait and consider throttling your request speed (971)',
      after: 300,
    },
    429,
    { 'retry-after': '300' },
  ),
  answer(
    failure(10013, 'Unknown error'),
    { kind: 'retry', reason: 'has a fault: Unknown error (10013)' },
    500,
  ),
];

/** Error codes that say "it is so already": an identical record exists. */
const identical = new Set([81058]);

type Envelope = { success: boolean; problem: string; codes: number[]; result: unknown };

/** The API's envelope, or undefined if the body is none. */
function parseEnvelope(body: string): Envelope | undefined {
  let data: unknown;
  try {
    data = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (typeof data !== 'object' || data === null || !('success' in data)) return undefined;
  const { success, errors, result } = data as Record<string, unknown>;
  if (typeof success !== 'boolean') return undefined;
  const list = (Array.isArray(errors) ? errors : []) as { code?: unknown; message?: unknown }[];
  const codes = list.flatMap((one) => (typeof one?.code === 'number' ? [one.code] : []));
  const [first] = list;
  const problem = first
    ? `${oneLine(String(first.message))} (${codes[0] ?? '?'})`
    : 'no reason given';
  return { success, problem, codes, result };
}

/** What the API answered: its result, or what comes of it. Success is HTTP 200 and `success: true`. */
export function parseCloudflare(
  response: HttpResponse,
  now: Date,
): { result: unknown } | { outcome: Outcome; gone: boolean } {
  const { status } = response;
  const envelope = parseEnvelope(response.body);
  const end = (outcome: Outcome, gone = false) => ({
    outcome: patient(outcome, response, now),
    gone,
  });
  if (!envelope) return end(judgeHttp(response, now));
  const { success, problem, codes, result } = envelope;
  if (status === 200 && success) return { result };
  if (codes.some((code) => identical.has(code))) return end({ kind: 'unchanged' });
  if (status === 429) return end({ kind: 'retry', reason: `asks for fewer requests: ${problem}` });
  if (status === 404)
    return end({ kind: 'retry', reason: `no longer knows the zone or record: ${problem}` }, true);
  if (status === 401 || status === 403)
    return end({ kind: 'stopped', reason: `refuses the token: ${problem}`, fix: token });
  if (status === 400 || (status < 500 && !success))
    return end({ kind: 'stopped', reason: `refuses the request: ${problem}`, fix: token });
  return end({ kind: 'retry', reason: `has a fault: ${problem}` });
}

/** The records of the list whose name and type are asked for; undefined if it is no list of records. */
export function parseRecords(
  result: unknown,
  name: string,
  type: string,
): CloudflareRecord[] | undefined {
  if (!Array.isArray(result)) return undefined;
  const records = result.flatMap((one) => {
    const record = parseRecord(one);
    return record ? [record] : [];
  });
  return records.length === result.length
    ? records.filter((one) => one.name.toLowerCase() === name && one.type === type)
    : undefined;
}

function parseRecord(value: unknown): CloudflareRecord | undefined {
  const record = value as Partial<Record<keyof CloudflareRecord, unknown>> | null | undefined;
  const { id, name, type, content } = record ?? {};
  return isId(id) &&
    typeof name === 'string' &&
    typeof type === 'string' &&
    typeof content === 'string'
    ? { id, name, type, content }
    : undefined;
}

/** Ids go into the path of a URL. */
const isId = (value: unknown): value is string =>
  typeof value === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(value);

/** The id of the zone with this very name. */
export function parseZone(result: unknown, zone: string): string | undefined {
  const list = (Array.isArray(result) ? result : []) as ({ id?: unknown; name?: unknown } | null)[];
  const found = list.find((one) => one?.name === zone);
  return isId(found?.id) ? found.id : undefined;
}

export function cloudflareRequest(
  settings: Settings,
  method: NonNullable<HttpRequest['method']>,
  path: string,
  query: Readonly<Record<string, string>> = {},
  body?: object,
): HttpRequest {
  return {
    method,
    url: endpoint(settings.server ?? 'https://api.cloudflare.com', `/client/v4${path}`, query),
    headers: {
      authorization: `Bearer ${settings.token}`,
      'user-agent': userAgent(hostmaster(settings.zone)),
      ...(body ? { 'content-type': 'application/json' } : {}),
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  };
}

/** The outcome of a failed call is thrown, so that each use reads what it wants; `withZone` catches it. */
class EndError extends Error {
  readonly outcome: Outcome;
  readonly gone: boolean;

  constructor(outcome: Outcome, gone = false) {
    super(outcome.kind);
    this.outcome = outcome;
    this.gone = gone;
  }
}

async function call(request: HttpRequest, { exchange, now }: Context): Promise<unknown> {
  const parsed = parseCloudflare(await exchange(request), now);
  if ('outcome' in parsed) throw new EndError(parsed.outcome, parsed.gone);
  return parsed.result;
}

/** Does the work in the zone; a zone id from before that is gone is looked up once more. */
async function withZone(
  settings: Settings,
  context: Context,
  work: (zone: string) => Promise<Outcome>,
): Promise<Outcome> {
  const { memory } = context;
  for (const last of [false, true])
    try {
      const cached = memory.zone !== undefined;
      const zone = memory.zone ?? (await findZone(settings, context));
      memory.zone = zone;
      try {
        return await work(zone);
      } catch (error) {
        if (!(error instanceof EndError) || !error.gone) throw error;
        delete memory.zone;
        if (last || !cached) throw error;
      }
    } catch (error) {
      if (error instanceof EndError) return error.outcome;
      throw error;
    }
  return { kind: 'retry', reason: 'no longer knows the zone' };
}

async function findZone(settings: Settings, context: Context): Promise<string> {
  const request = cloudflareRequest(settings, 'GET', '/zones', { name: settings.zone });
  const id = parseZone(await call(request, context), settings.zone);
  if (id === undefined)
    throw new EndError({
      kind: 'stopped',
      reason: `shows this token no zone ${settings.zone}`,
      fix: token,
    });
  return id;
}

async function findRecords(
  settings: Settings,
  zone: string,
  name: string,
  family: Family,
  context: Context,
): Promise<CloudflareRecord[]> {
  const type = recordType(family);
  const request = cloudflareRequest(settings, 'GET', `/zones/${zone}/dns_records`, { type, name });
  const records = parseRecords(await call(request, context), name, type);
  if (!records) throw new EndError({ kind: 'retry', reason: 'lists records in a form of its own' });
  if (records.length > 1)
    throw new EndError({
      kind: 'stopped',
      reason: `has ${records.length} ${type} records for ${name}; which one is the gateway's cannot be known`,
      fix: `Delete the others in the zone ${settings.zone}, then change something here`,
      record: true,
    });
  return records;
}

async function updateOne(
  settings: Settings,
  zone: string,
  name: string,
  { family, address }: Sent,
  context: Context,
): Promise<Outcome> {
  const [record] = await findRecords(settings, zone, name, family, context);
  if (record && canonical(record.content) === address) return { kind: 'unchanged' };
  const path = `/zones/${zone}/dns_records`;
  // The content alone: what the owner set besides (proxied, ttl, comment) stays.
  const request = record
    ? cloudflareRequest(settings, 'PATCH', `${path}/${record.id}`, {}, { content: address })
    : cloudflareRequest(
        settings,
        'POST',
        path,
        {},
        // ttl 1 is Cloudflare's "automatic"; a proxied record would hide WireGuard's port.
        { type: recordType(family), name, content: address, ttl: 1, proxied: false },
      );
  const result = parseRecord(await call(request, context));
  return result && canonical(result.content) === address
    ? { kind: 'updated' }
    : {
        kind: 'retry',
        reason: `says that the name has ${oneLine(result?.content ?? '') || 'no address'}, not ${address}`,
      };
}

export const cloudflare: Provider<'cloudflare'> = {
  type: 'cloudflare',
  label: 'Cloudflare',
  minimumInterval: 300,
  families: () => [4, 6],
  answers,
  update: (settings, sent, context) =>
    withZone(settings, context, async (zone) => {
      const outcomes: Outcome[] = [];
      for (const name of settings.hostnames)
        outcomes.push(await updateOne(settings, zone, name, sent, context));
      return worst(outcomes);
    }),
  clear: {
    wholly: false,
    run: (settings, family, context) =>
      withZone(settings, context, async (zone) => {
        for (const name of settings.hostnames)
          for (const { id } of await findRecords(settings, zone, name, family, context))
            await call(
              cloudflareRequest(settings, 'DELETE', `/zones/${zone}/dns_records/${id}`),
              context,
            );
        return { kind: 'updated' };
      }),
  },
};
