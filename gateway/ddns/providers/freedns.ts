import { createHash } from 'node:crypto';
import { canonical, familyOf, recordType } from '../address.ts';
import type { HttpRequest, HttpResponse } from '../http.ts';
import { type Outcome, worst } from '../outcome.ts';
import type { SettingsOf } from '../settings.ts';
import {
  type Context,
  endpoint,
  hostmaster,
  judgeHttp,
  matchAnswer,
  type ParsedAnswer,
  type Provider,
  patient,
  plain,
  type Sent,
  userAgent,
} from './provider.ts';

type Settings = SettingsOf<'freedns'>;

const stop = (says: string, match: RegExp, fix: string, record = false): ParsedAnswer => ({
  says,
  match,
  outcome: {
    kind: 'stopped',
    reason: says.replace(/^ERROR: /, ''),
    fix,
    ...(record ? { record } : {}),
  },
});

const token = 'Copy the token of the record anew from freedns.afraid.org, Dynamic DNS';

/** As freedns.afraid.org answers, all with HTTP 200 (gathered by ddclient, issue 440). */
const answers: readonly ParsedAnswer[] = [
  {
    says: 'Updated NAME from OTHER to ADDRESS',
    match: /^Updated \S+ from \S+ to (?<ip>\S+)$/i,
    outcome: { kind: 'updated' },
  },
  {
    says: 'Updated 1 host(s) NAME to ADDRESS in 0.326 seconds',
    match: /^Updated \d+ host\(s\) \S+ to (?<ip>\S+) in [\d.]+ seconds$/i,
    outcome: { kind: 'updated' },
  },
  {
    says: 'No IP change detected for NAME with IP ADDRESS, skipping update',
    match: /^No IP change detected for \S+ with IP (?<ip>\S+), skipping update$/i,
    outcome: { kind: 'unchanged' },
  },
  {
    says: 'ERROR: Address ADDRESS has not changed.',
    match: /^ERROR: Address (?<ip>\S+) has not changed\.?$/i,
    outcome: { kind: 'unchanged' },
  },
  stop(
    "Couldn't find any matching DNS records",
    /^Couldn't find any matching DNS records/i,
    token,
    true,
  ),
  stop('ERROR: Unable to locate this record', /^ERROR: Unable to locate this record/i, token, true),
  stop('ERROR: Invalid update URL (2)', /^ERROR: Invalid update URL/i, token, true),
  stop(
    'ERROR: Could not authenticate.',
    /^ERROR: Could not authenticate/i,
    'Correct user name and password',
  ),
];

const agent = (settings: Settings) => ({
  'user-agent': userAgent(hostmaster(settings.hostnames[0] ?? '')),
});

/** v2: a token for each record; the host with `v6.` takes AAAA records. */
export function freednsV2Request(
  settings: Settings,
  tokenOf: string,
  { family, address }: Sent,
): HttpRequest {
  const usual = family === 4 ? 'https://sync.afraid.org' : 'https://v6.sync.afraid.org';
  return {
    url: endpoint(settings.server ?? usual, `/u/${encodeURIComponent(tokenOf)}/`, { address }),
    headers: agent(settings),
  };
}

/** v1: SHA-1 of `user|password` asks for the update URLs of all records (freedns.afraid.org/api). */
export function freednsListRequest(settings: Settings): HttpRequest {
  return {
    url: endpoint(settings.server ?? 'https://freedns.afraid.org', '/api/', {
      action: 'getdyndns',
      v: '2',
      sha: freednsSha(settings) ?? '',
    }),
    headers: agent(settings),
  };
}

/** As good as the password; undefined where tokens are used. */
export function freednsSha(settings: Settings): string | undefined {
  const { username, password } = settings;
  return username === undefined || password === undefined
    ? undefined
    : createHash('sha1').update(`${username.toLowerCase()}|${password}`).digest('hex');
}

export type FreednsRecord = { hostname: string; address: string; url: string };

/** Lines `host|address|url`; an outcome if it is no such list. */
export function parseFreednsList(response: HttpResponse, now: Date): FreednsRecord[] | Outcome {
  const text = plain(response.body);
  const known = matchAnswer(answers, text, response.status, { family: 4, address: '' });
  if (known?.kind === 'stopped') return { ...known, record: false };
  const lines = text.split('\n').filter((line) => line !== '');
  const records = lines.flatMap((line) => {
    const [hostname = '', address = '', url = '', more] = line.split('|');
    return more === undefined && familyOf(address) !== undefined && URL.canParse(url)
      ? [{ hostname: hostname.toLowerCase(), address, url }]
      : [];
  });
  if (response.status !== 200 || lines.length === 0 || records.length !== lines.length)
    return judgeHttp(response, now);
  return records;
}

/** The record's own update URL, but at the server that we trust, over TLS, whatever host it names. */
export function freednsV1Request(
  settings: Settings,
  record: FreednsRecord,
  { address }: Sent,
): HttpRequest {
  const given = new URL(record.url);
  const url = new URL(endpoint(settings.server ?? 'https://freedns.afraid.org', given.pathname));
  // The token is the query itself (update.php?TOKEN), so the address is put behind it as text.
  url.search = [given.search.slice(1), `address=${encodeURIComponent(address)}`]
    .filter((part) => part !== '')
    .join('&');
  return { url: url.href, headers: agent(settings) };
}

export function parseFreedns(response: HttpResponse, sent: Sent, now: Date): Outcome {
  const outcome = matchAnswer(answers, plain(response.body), response.status, sent);
  return outcome ? patient(outcome, response, now) : judgeHttp(response, now);
}

async function updateV1(
  settings: Settings,
  sent: Sent,
  { exchange, now }: Context,
): Promise<Outcome> {
  const records = parseFreednsList(await exchange(freednsListRequest(settings)), now);
  if (!Array.isArray(records)) return records;
  const outcomes: Outcome[] = [];
  for (const hostname of settings.hostnames) {
    const record = records.find(
      (one) => one.hostname === hostname && familyOf(one.address) === sent.family,
    );
    if (!record) {
      const type = recordType(sent.family);
      outcomes.push({
        kind: 'stopped',
        reason: `has no ${type} record for ${hostname}`,
        fix: `Add an ${type} record for it at freedns.afraid.org, then change something here`,
        record: true,
      });
    } else if (canonical(record.address) === sent.address) outcomes.push({ kind: 'unchanged' });
    else
      outcomes.push(
        parseFreedns(await exchange(freednsV1Request(settings, record, sent)), sent, now),
      );
  }
  return worst(outcomes);
}

export const freedns: Provider<'freedns'> = {
  type: 'freedns',
  label: 'FreeDNS',
  minimumInterval: 300,
  families: ({ token4, token6, password }) => [
    ...(token4 !== undefined || password !== undefined ? [4 as const] : []),
    ...(token6 !== undefined || password !== undefined ? [6 as const] : []),
  ],
  answers,
  update: async (settings, sent, context) => {
    const tokenOf = sent.family === 4 ? settings.token4 : settings.token6;
    if (tokenOf === undefined) return await updateV1(settings, sent, context);
    const response = await context.exchange(freednsV2Request(settings, tokenOf, sent));
    return parseFreedns(response, sent, context.now);
  },
};
