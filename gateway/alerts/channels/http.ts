import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import {
  fetchHttps,
  type HttpRequest,
  type HttpResponse,
  NoAnswerError,
  retryAfter,
} from '../../ddns/http.ts';
import { oneLine } from '../../ddns/redact.ts';
import { isPrivate } from '../private.ts';
import type { Outcome } from '../queue.ts';
import { requestTimeout, type World } from './channel.ts';

export type Server = { ca?: string | undefined; allow_http: boolean };

/**
 * One request. Redirects are answers like others (see {@link outcomeOf}): a secret goes to nobody but who the
 * settings name. http:// goes to private addresses alone, whatever the name leads to today.
 * @throws NoAnswerError that names the host and nothing else of the URL.
 */
export async function exchange(
  request: HttpRequest,
  { ca, allow_http }: Server,
  world: World,
): Promise<HttpResponse> {
  const plain = new URL(request.url).protocol === 'http:';
  const lookup = plain ? privateOnly(world.lookup ?? systemLookup) : world.lookup;
  return await fetchHttps(
    { ...request, headers: { 'user-agent': 'pi-gateway', ...request.headers } },
    { ca, lookup, timeout: requestTimeout, plain: plain && allow_http, signal: world.signal },
  );
}

/** A lookup that knows the private addresses of a name only. */
function privateOnly(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) =>
    lookup(hostname, options, (error, address, family) => {
      const all = Array.isArray(address) ? address : [{ address }];
      if (error || all.every((one) => isPrivate(one.address)))
        return callback(error, address, family);
      callback(
        new NoAnswerError(
          `${hostname}: has a public address, and http:// goes to private ones only`,
        ),
        '',
        4,
      );
    });
}

/** Of the statuses that say that nothing will be taken from here, what the owner may do. */
const stopping: Readonly<Record<number, string>> = {
  401: 'the token or password is wrong or missing',
  402: 'the account there has to be paid for',
  403: 'this is not allowed there, or the token may not do it',
  404: 'there is no such address: look whether the URL is whole and still good',
  405: 'nothing can be sent to this address: look whether the URL is whole',
  407: 'a proxy is in between',
  410: 'this address is good no more: make a new one',
};

/** Other 4xx that pass: a time-out (408), too early (425), too many requests (429). */
const passing = new Set([408, 425, 429]);

/**
 * What an answer means, by its status (RFC 9110 §15).
 * @param stops Bodies of a 4xx that mean that the owner has to mend something.
 */
export function outcomeOf(response: HttpResponse, now: number, stops?: RegExp): Outcome {
  const { status, headers, body } = response;
  const answer = `${status}${body.trim() === '' ? '' : ` ${oneLine(body.slice(0, 1000))}`}`;
  if (status >= 200 && status < 300) return { kind: 'delivered', answer };
  if (status >= 300 && status < 400)
    return {
      kind: 'stopped',
      reason: `it redirects (${status}), and secrets are not taken elsewhere: give the final URL`,
    };
  if (passing.has(status) || status >= 500 || status < 200)
    return {
      kind: 'retry',
      reason: `it answered ${answer}`,
      after: retryAfter(headers['retry-after'], new Date(now)),
    };
  const fix = stopping[status];
  if (fix !== undefined || stops?.test(body))
    return {
      kind: 'stopped',
      reason: `it answered ${answer}${fix === undefined ? '' : ` (${fix})`}`,
    };
  return { kind: 'refused', reason: `it answered ${answer}` };
}
