import type { HttpRequest } from '../http.ts';
import type { SettingsOf } from '../settings.ts';
import { parseDyndns2, refusals } from './dyndns2.ts';
import {
  basicAuth,
  endpoint,
  hostmaster,
  type ParsedAnswer,
  type Provider,
  type Sent,
  userAgent,
} from './provider.ts';

/** noip.com/integrate/response; what dyndns2 knows besides is understood, too. */
export const noipAnswers: readonly ParsedAnswer[] = [
  { says: 'good ADDRESS', match: /^good (?<ip>\S+)$/, outcome: { kind: 'updated' } },
  { says: 'nochg ADDRESS', match: /^nochg (?<ip>\S+)$/, outcome: { kind: 'unchanged' } },
  ...refusals,
];

/** noip.com/integrate/request; an IPv6 address goes as `myipv6`, as inadyn sends it, and leaves the A record be. */
export function noipRequest(settings: SettingsOf<'noip'>, { family, address }: Sent): HttpRequest {
  return {
    url: endpoint(settings.server ?? 'https://dynupdate.no-ip.com', '/nic/update', {
      hostname: settings.hostnames.join(','),
      [family === 4 ? 'myip' : 'myipv6']: address,
    }),
    headers: {
      authorization: basicAuth(settings.username, settings.password),
      'user-agent': userAgent(settings.contact ?? hostmaster(settings.hostnames[0] ?? '')),
    },
  };
}

export const noip: Provider<'noip'> = {
  type: 'noip',
  label: 'No-IP',
  minimumInterval: 300,
  families: () => [4, 6],
  answers: noipAnswers,
  update: async (settings, sent, { exchange, now }) =>
    parseDyndns2(
      noipAnswers,
      await exchange(noipRequest(settings, sent)),
      sent,
      settings.hostnames.length,
      now,
    ),
};
