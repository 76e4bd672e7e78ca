import { existsSync, readFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { rootCertificates } from 'node:tls';
import type { Family } from './address.ts';

export type HttpRequest = {
  url: string;
  method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  headers?: Readonly<Record<string, string>>;
  body?: string;
  /** Only by this family; both by default, whichever connects (RFC 8305). */
  family?: Family;
};

export type HttpResponse = {
  status: number;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | undefined>>;
  body: string;
};

export type HttpOptions = {
  /** PEM of authorities to trust besides the system's. */
  ca?: string | undefined;
  /** Milliseconds for the whole exchange. */
  timeout: number;
  /** As dns.lookup; the tests' own names lead to this machine. */
  lookup?: LookupFunction | undefined;
  /** Takes http:// too, without TLS; who sets it sees to it that the lookup leads to own networks only. */
  plain?: boolean;
  /** Ends the exchange early. */
  signal?: AbortSignal;
};

/** No answer came: why, without anything of the request. */
export class NoAnswerError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'NoAnswerError';
  }
}

/** No provider's answer is longer than a few kilobytes. */
const longestBody = 65_536;

/** Where Debian's ca-certificates keeps what the system trusts. */
const systemStore = '/etc/ssl/certs/ca-certificates.crt';
let system: string[] | undefined;

/** What a server's certificate has to be of. @param ca PEM of authorities besides the system's. */
export function trusted(ca: string | undefined): string[] {
  system ??= existsSync(systemStore) ? [readFileSync(systemStore, 'utf8')] : [...rootCertificates];
  return ca === undefined ? system : [...system, ca];
}

/** Why a request failed, by the error codes of node:net, node:dns and node:tls. */
const reasons: readonly [RegExp, string][] = [
  [/^(ENOTFOUND|EAI_|ENODATA|ESERVFAIL)/, 'its name cannot be resolved'],
  [/^ECONNREFUSED/, 'the connection was refused'],
  [/^(ENETUNREACH|EHOSTUNREACH|EADDRNOTAVAIL)/, 'the network is unreachable'],
  [/^(ECONNRESET|EPIPE)/, 'the connection broke off'],
  [/^ETIMEDOUT/, 'the connection timed out'],
  [/^CERT_HAS_EXPIRED/, 'its TLS certificate has expired (or the clock is wrong)'],
  [/^CERT_NOT_YET_VALID/, 'its TLS certificate is not valid yet (or the clock is wrong)'],
  [/^ERR_TLS_CERT_ALTNAME_INVALID/, 'its TLS certificate is of another name'],
  [
    /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_)/,
    'its TLS certificate is of no authority that is trusted',
  ],
  [/^(ERR_SSL_|EPROTO)/, 'it does not speak TLS'],
  [/^HPE_/, 'it does not speak HTTP'],
];

/** Why nobody answered, in words that hold nothing of the request. */
export function reasonOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  // Several addresses were tried: net.AggregateError holds one error for each.
  if (error instanceof AggregateError && error.errors.length > 0)
    return [...new Set(error.errors.map(reasonOf))].join(', ');
  const text = typeof code === 'string' ? code : '';
  return reasons.find(([pattern]) => pattern.test(text))?.[1] ?? `no answer (${text || 'unknown'})`;
}

/**
 * One request over verified TLS. Redirects are not followed: no provider documents one, and they would
 * carry a token to another host.
 * @throws NoAnswerError that names the host and nothing of the path, the query or the headers.
 */
export async function fetchHttps(
  { url, method = 'GET', headers = {}, body, family }: HttpRequest,
  { ca, timeout, lookup, plain, signal: early }: HttpOptions,
): Promise<HttpResponse> {
  const { host, protocol } = new URL(url);
  const refuse = (reason: string) => new NoAnswerError(`${host}: ${reason}`);
  if (protocol === 'http:' && !plain) throw refuse('http:// is not taken: it has no TLS');
  const request = protocol === 'http:' ? plainRequest : tlsRequest;
  return await new Promise<HttpResponse>((resolve, reject) => {
    const late = AbortSignal.timeout(timeout);
    const signal = early ? AbortSignal.any([late, early]) : late;
    const fail = (error: unknown) =>
      reject(
        error instanceof NoAnswerError
          ? error
          : refuse(
              late.aborted
                ? `no answer within ${timeout / 1000} s`
                : early?.aborted
                  ? 'it was given up'
                  : reasonOf(error),
            ),
      );
    const sent = request(
      url,
      {
        method,
        headers: {
          ...headers,
          accept: '*/*',
          ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
        },
        agent: false,
        ca: trusted(ca),
        rejectUnauthorized: true,
        minVersion: 'TLSv1.2',
        signal,
        ...(family ? { family } : { autoSelectFamily: true }),
        ...(lookup ? { lookup } : {}),
      },
      (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          length += chunk.length;
          if (length > longestBody) {
            reject(refuse('the answer is longer than any of its protocol'));
            sent.destroy();
          }
        });
        response.on('error', fail);
        response.on('end', () => {
          const text = Buffer.concat(chunks)
            .toString('utf8')
            .replace(/^\uFEFF/, '');
          resolve({
            status: response.statusCode ?? 0,
            headers: Object.fromEntries(
              Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
            ),
            body: text,
          });
        });
      },
    );
    sent.on('error', fail);
    sent.end(body);
  });
}

/**
 * Seconds of a Retry-After header (RFC 9110 §10.2.3: seconds or a date), at most a day, so that no
 * answer can silence the gateway for good.
 */
export function retryAfter(value: string | undefined, now: Date): number | undefined {
  if (value === undefined) return undefined;
  const text = value.trim();
  const seconds = /^\d{1,10}$/.test(text)
    ? Number(text)
    : Math.ceil((Date.parse(text) - now.getTime()) / 1000);
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 86_400) : undefined;
}
