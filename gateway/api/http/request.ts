import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { ProblemError } from '../problem.ts';
import { excessOf } from './json.ts';

/** Bytes of a request's target: all of ours are shorter than a line. */
const longestTarget = 2048;

/** Bytes of a body; an import of some hundred clients' files fits. */
export const longestBody = 1_048_576;

const mostParameters = 32;

/** Decoded segments of the path, and the query as it came: `parseQuery`. */
export type Target = { path: string; segments: string[]; query: string };

/** @throws ProblemError 400 or 414 */
export function parseTarget(url: string): Target {
  if (url.length > longestTarget)
    throw new ProblemError(
      414,
      `The address is longer than ${longestTarget} bytes`,
      'Send less in it',
    );
  // RFC 9112 §3.2.1, origin-form; we are no proxy, and `//` would be a host to some.
  if (!/^\/(?!\/)[\x21-\x7e]*$/.test(url) || url.includes('#'))
    throw new ProblemError(400, 'The address is no path', 'Begin with one slash: /api/v1/status');
  const cut = url.indexOf('?');
  const path = cut < 0 ? url : url.slice(0, cut);
  return {
    path,
    segments: path.slice(1).split('/').map(decoded),
    query: cut < 0 ? '' : url.slice(cut + 1),
  };
}

function decoded(segment: string): string {
  try {
    const text = decodeURIComponent(segment);
    if (!hasControls(text)) return text;
  } catch {
    // Told below.
  }
  throw new ProblemError(
    400,
    'The address has a percent sign or a control character that is none of UTF-8 text',
    'Encode each part of it, e.g. by encodeURIComponent',
  );
}

/** C0 and C1 controls and DEL. */
function hasControls(text: string): boolean {
  return /\p{Cc}/u.test(text);
}

/** @throws ProblemError 400 */
export function parseQuery(text: string): Record<string, string | string[]> {
  const all = new Map<string, string | string[]>();
  for (const pair of text.split('&')) {
    if (pair === '') continue;
    if (all.size >= mostParameters)
      throw new ProblemError(
        400,
        `The address has more than ${mostParameters} parameters`,
        'Send fewer',
      );
    const cut = pair.indexOf('=');
    const name = decoded((cut < 0 ? pair : pair.slice(0, cut)).replaceAll('+', ' '));
    const value = decoded((cut < 0 ? '' : pair.slice(cut + 1)).replaceAll('+', ' '));
    const before = all.get(name);
    all.set(name, before === undefined ? value : [before, value].flat());
  }
  // Defines own properties, whatever their names: __proto__ is one of them.
  return Object.fromEntries(all);
}

/** Whether the request has a body at all: RFC 9112 §6.3. */
export function hasBody(request: IncomingMessage): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  return encoding !== undefined || (length !== undefined && length !== '0');
}

/**
 * The body as JSON.
 * @throws ProblemError 400, 413 or 415
 */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const type = request.headers['content-type'] ?? '';
  if (!/^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(type))
    throw new ProblemError(
      415,
      'The body must be JSON, and say so',
      'Send the header Content-Type: application/json',
      { headers: { accept: 'application/json' } },
    );
  if ((request.headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new ProblemError(415, 'The body is compressed', 'Send it as it is', {
      headers: { 'accept-encoding': 'identity' },
    });
  const bytes = await readBody(request);
  // RFC 8259 §8.1
  if (!isUtf8(bytes)) throw notJson('it is not UTF-8');
  const text = bytes.toString('utf8');
  const excess = excessOf(text);
  if (excess) throw new ProblemError(400, `The body is too much: ${excess}`, 'Send less at a time');
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    // V8 quotes some of the text, which may be a password.
    const place = /position \d+/.exec(error instanceof Error ? error.message : '')?.[0];
    throw notJson(place ? `see ${place}` : 'it ends too early');
  }
}

function notJson(why: string): ProblemError {
  return new ProblemError(400, `The body is not JSON: ${why}`, 'Send a JSON object');
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > longestBody) throw tooLong();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    length += (chunk as Buffer).length;
    if (length > longestBody) throw tooLong();
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** What is left of the body is not read: the connection ends with the answer. */
function tooLong(): ProblemError {
  return new ProblemError(
    413,
    `The body is longer than ${longestBody} bytes`,
    'Send less at a time',
    { headers: { connection: 'close' } },
  );
}
