import type { HttpRequest, HttpResponse } from '../http.ts';
import { type Outcome, stands } from '../outcome.ts';
import type { SettingsOf } from '../settings.ts';
import {
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

type Settings = SettingsOf<'duckdns'>;

/** duckdns.org/spec.jsp; with `verbose` OK is followed by the IPv4, the IPv6 address and what was done. */
const answers: readonly ParsedAnswer[] = [
  {
    says: 'OK\nADDRESS4\nADDRESS6\nUPDATED',
    match: /^OK\n(?<v4>[\d.]*)\n(?<v6>[\da-f.:]*)\nUPDATED$/i,
    outcome: { kind: 'updated' },
  },
  {
    says: 'OK\nADDRESS4\nADDRESS6\nNOCHANGE',
    match: /^OK\n(?<v4>[\d.]*)\n(?<v6>[\da-f.:]*)\nNOCHANGE$/i,
    outcome: { kind: 'unchanged' },
  },
  { says: 'OK', match: /^OK$/, outcome: { kind: 'updated' } },
  {
    // It does not say whether token or name are wrong, or the service itself.
    says: 'KO',
    match: /^KO$/,
    outcome: {
      kind: 'refused',
      reason: 'refuses the update (KO)',
      fix: 'Check the token, and that the name is in the account of that token',
    },
  },
];

function request(settings: Settings, query: Record<string, string>): HttpRequest {
  const labels = settings.hostnames.map((name) => name.slice(0, -'.duckdns.org'.length));
  return {
    url: endpoint(settings.server ?? 'https://www.duckdns.org', '/update', {
      domains: labels.join(','),
      token: settings.token,
      verbose: 'true',
      ...query,
    }),
    headers: { 'user-agent': userAgent(hostmaster(settings.hostnames[0] ?? '')) },
  };
}

/** An IPv6 address turns off the guess of the IPv4 one, so each family is sent alone. */
export function duckdnsRequest(settings: Settings, { family, address }: Sent): HttpRequest {
  return request(settings, family === 4 ? { ip: address } : { ipv6: address });
}

export function parseDuckdns(response: HttpResponse, sent: Sent, now: Date): Outcome {
  const text = plain(response.body);
  // The blank line of an address that the name has not would be lost to `plain`'s trimming only at the end.
  const echo = sent.family === 4 ? 'v4' : 'v6';
  const own = answers.map((answer) => ({
    ...answer,
    match: new RegExp(answer.match.source.replace(`?<${echo}>`, '?<ip>'), answer.match.flags),
  }));
  const outcome = matchAnswer(own, text, response.status, sent);
  return outcome ? patient(outcome, response, now) : judgeHttp(response, now);
}

export const duckdns: Provider<'duckdns'> = {
  type: 'duckdns',
  label: 'DuckDNS',
  minimumInterval: 300,
  families: () => [4, 6],
  answers,
  update: async (settings, sent, { exchange, now }) =>
    parseDuckdns(await exchange(duckdnsRequest(settings, sent)), sent, now),
  clear: {
    wholly: true,
    run: async (settings, _family, { exchange, now }) => {
      const response = await exchange(request(settings, { clear: 'true' }));
      const done =
        response.status === 200 && /^OK(\n\n*(UPDATED|NOCHANGE))?$/.test(plain(response.body));
      return done ? { kind: 'updated' } : failed(response, now);
    },
  },
};

function failed(response: HttpResponse, now: Date): Outcome {
  const outcome = parseDuckdns(response, { family: 4, address: '' }, now);
  return stands(outcome) ? { kind: 'retry', reason: 'did not clear the records' } : outcome;
}
