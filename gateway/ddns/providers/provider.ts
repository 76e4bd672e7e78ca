import { canonical, type Family } from '../address.ts';
import { type HttpRequest, type HttpResponse, retryAfter } from '../http.ts';
import type { Answer, Outcome } from '../outcome.ts';
import { stands } from '../outcome.ts';
import { oneLine } from '../redact.ts';
import type { ProviderSettings, SettingsOf } from '../settings.ts';

export type Sent = { family: Family; address: string };

/** What a provider may use of the world. */
export type Context = {
  /** @throws NoAnswerError */
  exchange(request: HttpRequest): Promise<HttpResponse>;
  /** Runs a program with text on its standard input; gives its exit code and all that it wrote. */
  run(
    command: string,
    args: readonly string[],
    input: string,
  ): Promise<{ code: number; output: string }>;
  /** Milliseconds for one request. */
  timeout: number;
  now: Date;
  /** Ids and the like that a provider may keep from one run to the next; never a secret. */
  memory: Record<string, string>;
};

export type Provider<Type extends ProviderSettings['type'] = ProviderSettings['type']> = {
  type: Type;
  label: string;
  /** Seconds between two updates of a record, as the provider or the well-known clients keep it. */
  minimumInterval: number;
  /** Families that can be registered with these settings. */
  families(settings: SettingsOf<Type>): readonly Family[];
  /** What the provider documents that it answers, the first that matches counts. */
  answers: readonly ParsedAnswer[];
  /** Registers the address for every host name of the settings. */
  update(settings: SettingsOf<Type>, sent: Sent, context: Context): Promise<Outcome>;
  /**
   * Takes a family's records away, where the protocol can; `wholly`: the other family's went, too, and
   * has to be sent again.
   */
  clear?: {
    wholly: boolean;
    run(settings: SettingsOf<Type>, family: Family, context: Context): Promise<Outcome>;
  };
};

/** An answer with the pattern that finds it; a group `ip` holds the address that the provider echoes. */
export type ParsedAnswer = Answer & { match: RegExp };

/** What every HTTP server may answer instead of the provider's protocol. */
export const commonAnswers: readonly (Answer & { when: string })[] = [
  {
    when: 'the provider limits the rate (RFC 6585)',
    says: 'Too many requests',
    status: 429,
    headers: { 'retry-after': '900' },
    outcome: {
      kind: 'retry',
      reason: 'asks for fewer requests (HTTP 429)',
      after: 900,
    },
  },
  {
    when: 'an outage that tells how long',
    says: 'Down for maintenance',
    status: 503,
    headers: { 'retry-after': '120' },
    outcome: { kind: 'retry', reason: 'has a fault (HTTP 503)', after: 120 },
  },
  {
    when: 'an outage',
    says: '<html><body>Bad Gateway</body></html>',
    status: 502,
    outcome: { kind: 'retry', reason: 'has a fault (HTTP 502)' },
  },
  {
    when: 'an outage that looks like a wrong address',
    says: '<html><body>Not Found</body></html>',
    status: 404,
    outcome: { kind: 'retry', reason: 'does not know the page (HTTP 404)' },
  },
  {
    when: 'a captive portal, or a page for people',
    says: '<!DOCTYPE html><html><body>Welcome! Please log in. OK good</body></html>',
    outcome: {
      kind: 'retry',
      reason: 'answers with a web page, as a captive portal does (HTTP 200)',
    },
  },
  {
    when: 'a redirect',
    says: '',
    status: 302,
    headers: { location: 'https://portal.example/' },
    outcome: { kind: 'retry', reason: 'redirects elsewhere (HTTP 302)' },
  },
  {
    when: 'nothing',
    says: '',
    outcome: {
      kind: 'retry',
      reason: 'answers nothing that its protocol knows (HTTP 200): nothing',
    },
  },
  {
    when: 'credentials that are refused',
    says: 'Unauthorized',
    status: 401,
    outcome: {
      kind: 'stopped',
      reason: 'refuses the credentials (HTTP 401)',
      fix: 'Correct the token or password',
    },
  },
  {
    when: 'a refusal without a reason, which firewalls of providers send, too',
    says: '<html><body>Forbidden</body></html>',
    status: 403,
    outcome: {
      kind: 'refused',
      reason: 'refuses the request (HTTP 403)',
      fix: 'Check the token or password, and that the account is in order',
    },
  },
];

/** No protocol has these; a captive portal's page may hold any word besides. */
const webPage = /<(!doctype|html|head|body)\b/i;

/** What a response that is none of the provider's protocol means. It is never a success. */
export function judgeHttp(response: HttpResponse, now: Date): Outcome {
  const { status, body, headers } = response;
  const after = retryAfter(headers['retry-after'], now);
  const retry = (reason: string): Outcome => ({
    kind: 'retry',
    reason: `${reason} (HTTP ${status})`,
    ...(after === undefined ? {} : { after }),
  });
  if (status === 429) return retry('asks for fewer requests');
  if (status >= 500) return retry('has a fault');
  if (status === 404) return retry('does not know the page');
  if (status === 401)
    return {
      kind: 'stopped',
      reason: 'refuses the credentials (HTTP 401)',
      fix: 'Correct the token or password',
    };
  if (status === 403)
    return {
      kind: 'refused',
      reason: 'refuses the request (HTTP 403)',
      fix: 'Check the token or password, and that the account is in order',
    };
  if (status >= 300 && status < 400) return retry('redirects elsewhere');
  if (webPage.test(body)) return retry('answers with a web page, as a captive portal does');
  const { reason, ...rest } = retry('answers nothing that its protocol knows') as {
    kind: 'retry';
    reason: string;
  };
  return { ...rest, reason: `${reason}: ${oneLine(body) || 'nothing'}` };
}

/** The body as lines: no CR, no blanks at line ends, nothing before and after. */
export function plain(body: string): string {
  return body
    .split(/\r?\n/)
    .map((line) => line.trimEnd())
    .join('\n')
    .trim();
}

/**
 * What one text of a response means by the provider's documented answers; undefined if it is none of them.
 * A success counts only with HTTP 200, outside of web pages, and only for the address that was sent.
 */
export function matchAnswer(
  answers: readonly ParsedAnswer[],
  text: string,
  status: number,
  sent: Sent,
): Outcome | undefined {
  for (const { match, outcome } of answers) {
    const found = match.exec(text);
    if (!found || (stands(outcome) && (status !== 200 || webPage.test(text)))) continue;
    const echoed = found.groups?.ip;
    if (stands(outcome) && echoed !== undefined && canonical(echoed) !== sent.address)
      return {
        kind: 'retry',
        reason: `says that the name has ${oneLine(echoed) || 'no address'}, not ${sent.address}`,
      };
    return outcome;
  }
  return undefined;
}

/** The outcome with the wait that a Retry-After header asks for, if it is longer. */
export function patient(outcome: Outcome, response: HttpResponse, now: Date): Outcome {
  const after = retryAfter(response.headers['retry-after'], now);
  return outcome.kind === 'retry' && after !== undefined && after > (outcome.after ?? 0)
    ? { ...outcome, after }
    : outcome;
}

/** A URL of the provider's server, or of another in its place. */
export function endpoint(
  server: string,
  path: string,
  query: Readonly<Record<string, string>> = {},
): string {
  const url = new URL(server);
  url.pathname = `${url.pathname.replace(/\/$/, '')}${path}`;
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url.href;
}

export const basicAuth = (username: string, password: string): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;

/** Who asks: No-IP blocks clients without this form (noip.com/integrate/request). */
export function userAgent(contact: string): string {
  return `PiGateway DDNS/Debian-1.0 ${contact}`;
}

/** RFC 2142: the mailbox of who is responsible for a domain. */
export const hostmaster = (hostname: string): string => `hostmaster@${hostname}`;
