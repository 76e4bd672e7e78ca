import { isUtf8 } from 'node:buffer';
import { request } from 'node:http';
import { join } from 'node:path';
import { excessOf } from '../api/http/json.ts';
import { ProblemError } from '../api/problem.ts';
import { printable } from '../logs/redact.ts';
import { longestAnswer } from './card.ts';
import { socketOf } from './manifest.ts';

/** Milliseconds until an answer must be whole; a service that is started for it has them, too. */
export const longestWait = 10_000;

/** Questions to one extension at a time: one that hangs holds no more of the daemon than these. */
const most = 4;
const open = new Map<string, number>();

/** Statuses by which an extension may refuse something, with `detail` and `fix` in the body. */
const refusals: readonly number[] = [400, 404, 409, 429];

export type Question = {
  method: string;
  /** With the query. */
  path: string;
  body?: unknown;
  /** Who asks, for the extension. */
  user: string;
  role: string;
};

/**
 * Asks an extension's service over its socket. It is a stranger's program: whatever it answers or does not
 * answer, what comes of it here is JSON of a sensible size, or an error.
 * @throws ProblemError 502, 503 or 504, or what the extension itself refuses with.
 */
export async function askExtension(
  { root }: { readonly root: string },
  name: string,
  question: Question,
  wait = longestWait,
): Promise<unknown> {
  const now = open.get(name) ?? 0;
  if (now >= most)
    throw new ProblemError(
      503,
      `The extension ${name} has not answered ${most} earlier questions yet`,
      'Ask again in some seconds',
      { headers: { 'retry-after': '5' } },
    );
  open.set(name, now + 1);
  try {
    const { status, type, body } = await exchange(join(root, socketOf(name)), name, question, wait);
    return taken(name, status, type, body);
  } finally {
    const left = (open.get(name) ?? 1) - 1;
    if (left > 0) open.set(name, left);
    else open.delete(name);
  }
}

type Answer = { status: number; type: string; body: Buffer };

function exchange(
  socketPath: string,
  name: string,
  { method, path, body, user, role }: Question,
  wait: number,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const sent = request({
      socketPath,
      method: method.toUpperCase(),
      path,
      agent: false,
      maxHeaderSize: 8192,
      headers: {
        host: 'extension',
        connection: 'close',
        // Names of tokens may have letters that no header has: RFC 9110 §5.5.
        'x-gateway-user': encodeURIComponent(user),
        'x-gateway-role': role,
        ...(text === undefined
          ? {}
          : {
              'content-type': 'application/json',
              'content-length': String(Buffer.byteLength(text)),
            }),
      },
    });
    const end = (problem: ProblemError) => {
      clearTimeout(timer);
      reject(problem);
      sent.destroy();
    };
    const timer = setTimeout(
      () =>
        end(
          new ProblemError(
            504,
            `The extension ${name} has not answered within ${wait / 1000} s`,
            whyNot(name),
          ),
        ),
      wait,
    );
    sent.on('error', (error: NodeJS.ErrnoException) =>
      end(broken(name, `does not answer (${error.code ?? 'no HTTP'})`)),
    );
    // What it wants to speak instead of HTTP, nobody has asked for.
    sent.on('upgrade', (_, socket) => {
      socket.destroy();
      end(broken(name, 'wants to speak another protocol'));
    });
    sent.on('response', (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        if (length > longestAnswer)
          end(broken(name, `answered with more than ${longestAnswer} bytes`));
        else chunks.push(chunk);
      });
      response.on('error', () => end(broken(name, 'broke off in the middle of its answer')));
      response.on('end', () => {
        clearTimeout(timer);
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'] ?? '',
          body: Buffer.concat(chunks),
        });
      });
    });
    sent.end(text);
  });
}

function taken(name: string, status: number, type: string, body: Buffer): unknown {
  if (status === 204 && body.length === 0) return null;
  const isJson = /^application\/(problem\+)?json\s*(;|$)/i.test(type);
  if (!isJson) throw broken(name, `answered with no JSON (status ${status})`);
  const value = parsed(name, body);
  if (status >= 200 && status <= 299) return value;
  if (!refusals.includes(status)) throw broken(name, `answered with status ${status}`);
  const { detail, fix } = (value ?? {}) as { detail?: unknown; fix?: unknown };
  throw new ProblemError(
    status,
    `${name}: ${words(detail, 'It cannot do that')}`,
    words(fix, `See what it takes: sudo pi-gateway extension show ${name}`),
  );
}

function parsed(name: string, body: Buffer): unknown {
  if (!isUtf8(body)) throw broken(name, 'answered with what is no UTF-8');
  const text = body.toString('utf8');
  const excess = excessOf(text);
  if (excess) throw broken(name, `answered with too much: ${excess}`);
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw broken(name, 'answered with what is no JSON');
  }
}

/** Of a stranger's text, what can be shown. */
function words(text: unknown, otherwise: string): string {
  return typeof text === 'string' && text.trim() !== '' ? printable(text.slice(0, 300)) : otherwise;
}

export function broken(name: string, what: string): ProblemError {
  return new ProblemError(502, `The extension ${name} ${what}`, whyNot(name));
}

const whyNot = (name: string) =>
  `See its log: sudo pi-gateway logs --unit pi-gateway-x-${name}; or switch it off: sudo pi-gateway extension disable ${name}`;
