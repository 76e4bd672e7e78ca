import type { HttpRequest, HttpResponse } from '../http.ts';
import { type Outcome, stands, worst } from '../outcome.ts';
import { oneLine } from '../redact.ts';
import type { SettingsOf } from '../settings.ts';
import {
  basicAuth,
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

/** Seconds that 911 and dnserr want nothing more to be sent: help.dyn.com, Return Codes; No-IP, Response. */
const outage = 1800;

const stop = (code: string, reason: string, fix: string): ParsedAnswer => ({
  says: code,
  match: new RegExp(`^${code}$`),
  outcome: { kind: 'stopped', reason: `${reason} (${code})`, fix },
});

/** Answers that dyndns2 servers share: help.dyn.com/remote-access-api/return-codes. */
export const refusals: readonly ParsedAnswer[] = [
  stop('badauth', 'refuses user name and password', 'Correct user name and password'),
  stop(
    'badagent',
    'has shut this client out',
    'Ask the provider; nothing more is sent with these settings',
  ),
  stop('!donator', 'wants payment for this', 'Pay for the feature or take another provider'),
  stop('notfqdn', 'says that a name is no whole one', 'Give whole host names'),
  stop('nohost', 'has no such host name', 'Make the name in the account, or correct it'),
  stop('!yours', 'says that the name is of another account', 'Correct the name or the account'),
  stop('numhost', 'refuses so many names at once', 'Give fewer host names'),
  stop(
    'abuse',
    'has blocked the name for abuse',
    'Ask the provider to unblock it, then change something here',
  ),
  {
    says: 'dnserr',
    match: /^dnserr$/,
    outcome: { kind: 'retry', reason: 'has a fault in its DNS (dnserr)', after: outage },
  },
  {
    says: '911',
    match: /^911$/,
    outcome: { kind: 'retry', reason: 'has an outage (911)', after: outage },
  },
];

const answers: readonly ParsedAnswer[] = [
  { says: 'good ADDRESS', match: /^good (?<ip>\S+)$/, outcome: { kind: 'updated' } },
  { says: 'nochg ADDRESS', match: /^nochg (?<ip>\S+)$/, outcome: { kind: 'unchanged' } },
  { says: 'good', match: /^good$/, outcome: { kind: 'updated' } },
  { says: 'nochg', match: /^nochg$/, outcome: { kind: 'unchanged' } },
  ...refusals,
];

/** Units of the dyndns2 wait code, e.g. w30m: seconds, minutes, hours. */
const units: Record<string, number> = { s: 1, m: 60, h: 3600 };

/** One line a host name (only one at all for what concerns the account); any other number is no answer. */
export function parseDyndns2(
  known: readonly ParsedAnswer[],
  response: HttpResponse,
  sent: Sent,
  hosts: number,
  now: Date,
): Outcome {
  const lines = plain(response.body)
    .split('\n')
    .filter((line) => line !== '');
  const outcomes: Outcome[] = [];
  for (const line of lines) {
    const outcome = matchAnswer(known, line, response.status, sent) ?? waitCode(line);
    if (!outcome) return judgeHttp(response, now);
    outcomes.push(patient(outcome, response, now));
  }
  if (outcomes.length === 0) return judgeHttp(response, now);
  const all = worst(outcomes);
  return stands(all) && outcomes.length !== hosts
    ? {
        kind: 'retry',
        reason: `answers for ${outcomes.length} of ${hosts} names: ${oneLine(response.body)}`,
      }
    : all;
}

function waitCode(line: string): Outcome | undefined {
  const [, count, unit = ''] = /^w(\d{1,4})([smh])$/.exec(line) ?? [];
  return count === undefined
    ? undefined
    : {
        kind: 'retry',
        reason: `asks to wait (${line})`,
        after: Math.min(Number(count) * (units[unit] ?? 1), 86_400),
      };
}

type Settings = SettingsOf<'dyndns2'>;

export function dyndns2Request(settings: Settings, { family, address }: Sent): HttpRequest {
  const { pathname } = new URL(settings.server);
  return {
    url: endpoint(settings.server, pathname === '/' ? '/nic/update' : '', {
      hostname: settings.hostnames.join(','),
      [family === 6 ? settings.ipv6_parameter : 'myip']: address,
    }),
    headers: {
      authorization: basicAuth(settings.username, settings.password),
      'user-agent': userAgent(hostmaster(settings.hostnames[0] ?? '')),
    },
  };
}

export const dyndns2: Provider<'dyndns2'> = {
  type: 'dyndns2',
  label: 'dyndns2',
  minimumInterval: 300,
  families: () => [4, 6],
  answers: [
    ...answers,
    {
      says: 'w30m',
      match: /^w30m$/,
      outcome: { kind: 'retry', reason: 'asks to wait (w30m)', after: 1800 },
    },
  ],
  update: async (settings, sent, { exchange, now }) =>
    parseDyndns2(
      answers,
      await exchange(dyndns2Request(settings, sent)),
      sent,
      settings.hostnames.length,
      now,
    ),
};
