import type { HttpRequest, HttpResponse } from '../http.ts';
import { type Outcome, worst } from '../outcome.ts';
import { oneLine } from '../redact.ts';
import type { SettingsOf } from '../settings.ts';
import {
  endpoint,
  hostmaster,
  judgeHttp,
  matchAnswer,
  type ParsedAnswer,
  type Provider,
  patient,
  type Sent,
  userAgent,
} from './provider.ts';

/** Namecheap's knowledge base, "How do I use a browser to dynamically update the host's IP"; numbers as seen by clients. */
const xml = (inner: string) =>
  `<?xml version="1.0" encoding="utf-16"?><interface-response><Command>SETDNSHOST</Command><Language>eng</Language>${inner}<Done>true</Done></interface-response>`;

const error = (text: string, fix: string): ParsedAnswer => ({
  says: xml(`<IP>ADDRESS</IP><ErrCount>1</ErrCount><errors><Err1>${text}</Err1></errors>`),
  match: new RegExp(`<Err1>\\s*${text}`, 'i'),
  outcome: { kind: 'stopped', reason: text, fix },
});

const answers: readonly ParsedAnswer[] = [
  error('Passwords do not match', "Give the domain's Dynamic DNS password, not the account's"),
  error(
    'No Records updated. A record not Found',
    'Make the host an "A + Dynamic DNS record" in Advanced DNS',
  ),
  error('Domain name not found', "Correct the zone; its DNS must be Namecheap's own"),
  {
    says: xml('<IP>ADDRESS</IP><ErrCount>0</ErrCount>'),
    // Whole, with each tag once and no error: what is cut off or put together is no success.
    match:
      /^(?![\s\S]*<Err\d)(?![\s\S]*<(IP|ErrCount)>[\s\S]*<\1>)(?=[\s\S]*<IP>\s*(?<ip>[^<\s]*)\s*<\/IP>)(?=[\s\S]*<ErrCount>\s*0\s*<\/ErrCount>)\s*<\?xml[^>]*\?>\s*<interface-response>[\s\S]*<Done>\s*true\s*<\/Done>[\s\S]*<\/interface-response>\s*$/i,
    outcome: { kind: 'updated' },
  },
];

/** One host a request; `@` is the domain itself. */
export function namecheapRequest(
  settings: SettingsOf<'namecheap'>,
  hostname: string,
  { address }: Sent,
): HttpRequest {
  const { zone } = settings;
  return {
    url: endpoint(settings.server ?? 'https://dynamicdns.park-your-domain.com', '/update', {
      host: hostname === zone ? '@' : hostname.slice(0, -(zone.length + 1)),
      domain: zone,
      password: settings.password,
      ip: address,
    }),
    headers: { 'user-agent': userAgent(hostmaster(zone)) },
  };
}

/** Always HTTP 200, and XML that says utf-16 but is ASCII, so that no XML parser is asked. */
export function parseNamecheap(response: HttpResponse, sent: Sent, now: Date): Outcome {
  const { body, status } = response;
  if (!/<interface-response>/i.test(body)) return judgeHttp(response, now);
  const outcome = matchAnswer(answers, body, status, sent);
  if (outcome) return patient(outcome, response, now);
  const other = /<Err1>([^<]*)<\/Err1>/i.exec(body)?.[1];
  return other === undefined
    ? judgeHttp(response, now)
    : {
        kind: 'refused',
        reason: `refuses the update: ${oneLine(other)}`,
        fix: "Check zone, host names and password against the domain's Advanced DNS page",
      };
}

export const namecheap: Provider<'namecheap'> = {
  type: 'namecheap',
  label: 'Namecheap',
  minimumInterval: 300,
  families: () => [4],
  answers,
  update: async (settings, sent, { exchange, now }) => {
    const outcomes: Outcome[] = [];
    for (const hostname of settings.hostnames)
      outcomes.push(
        parseNamecheap(await exchange(namecheapRequest(settings, hostname, sent)), sent, now),
      );
    return worst(outcomes);
  },
};
