import { request } from 'node:http';
import type * as z from 'zod';
import { type FailureKind, GatewayError, UnavailableError } from '../errors.ts';
import type { OperationId, OperationOf } from './operations.ts';
import { routes } from './routes.ts';

/** Where root's commands reach the API. */
export const apiSocket = '/run/pi-gatewayd/api.sock';

type In<S> = S extends z.ZodType ? z.input<S> : never;
type Part<I extends OperationId, K extends 'params' | 'query' | 'body'> =
  OperationOf<I> extends { [key in K]?: infer S } ? In<S> : never;
type Given<K extends string, T> = [T] extends [never]
  ? unknown
  : Partial<T> extends T
    ? { [key in K]?: T }
    : { [key in K]: T };

/** What an operation is asked with: those of `params`, `query` and `body` that it has. */
export type InputOf<I extends OperationId> = Given<'params', Part<I, 'params'>> &
  Given<'query', Part<I, 'query'>> &
  Given<'body', Part<I, 'body'>>;

/** What it answers: by its schema; the text of a file or picture; or nothing. */
export type AnswerOf<I extends OperationId> =
  OperationOf<I> extends { response?: infer R }
    ? R extends z.ZodType
      ? z.output<R>
      : string | undefined
    : string | undefined;

type Arguments<I extends OperationId> =
  Partial<InputOf<I>> extends InputOf<I> ? [input?: InputOf<I>] : [input: InputOf<I>];

/** The API, typed by its operations: `client.call('vpnAddClient', { body: { name: 'phone' } })`. */
export type Client = {
  /** @throws GatewayError with what the API says is wrong, and what to do. */
  call<I extends OperationId>(id: I, ...input: Arguments<I>): Promise<AnswerOf<I>>;
};

type Answer = { status: number; type: string; text: string };
/** Sends one request to the API; `path` has the query in it. */
export type Transport = (method: string, path: string, body?: string) => Promise<Answer>;

export function clientOver(transport: Transport): Client {
  return {
    call: async (id, ...[input]) => {
      const { params, query, body } = (input ?? {}) as {
        params?: Record<string, unknown>;
        query?: Record<string, unknown>;
        body?: unknown;
      };
      const [method = '', path = ''] = routes[id].split(' ');
      const answer = await transport(
        method.toUpperCase(),
        `/api/v1${filled(path, params ?? {})}${queryOf(query ?? {})}`,
        body === undefined ? undefined : JSON.stringify(body),
      );
      if (answer.status >= 400) throw errorOf(answer);
      if (answer.text === '') return undefined as never;
      const isJson = answer.type.startsWith('application/json');
      return (isJson ? JSON.parse(answer.text) : answer.text) as never;
    },
  };
}

/** The client of root's commands. */
export function localClient(
  socketPath = apiSocket,
  user = process.env.SUDO_USER ?? 'root',
): Client {
  return clientOver(localTransport(socketPath, user));
}

/** Also for operations that are known on the device alone: those of extensions. */
export function localTransport(
  socketPath = apiSocket,
  user = process.env.SUDO_USER ?? 'root',
): Transport {
  return (method, path, body) =>
    new Promise((resolve, reject) => {
      const sent = request(
        {
          socketPath,
          method,
          path,
          headers: {
            host: 'localhost',
            'x-gateway-user': user,
            ...(body === undefined
              ? {}
              : {
                  'content-type': 'application/json',
                  'content-length': String(Buffer.byteLength(body)),
                }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', (error) => reject(noAnswer(error)));
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              type: response.headers['content-type'] ?? '',
              text: Buffer.concat(chunks).toString('utf8'),
            }),
          );
        },
      );
      sent.on('error', (error) => reject(noAnswer(error)));
      sent.end(body);
    });
}

function noAnswer(error: NodeJS.ErrnoException): GatewayError {
  if (error.code === 'EACCES')
    return new GatewayError('This needs root', 'Run it with sudo: sudo pi-gateway …');
  return new UnavailableError(
    `The gateway's daemon does not answer (${error.code ?? error.message})`,
    'Start it: sudo systemctl start pi-gatewayd; or see why not: sudo journalctl -u pi-gatewayd',
  );
}

function filled(path: string, params: Record<string, unknown>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String(params[name] ?? '')),
  );
}

function queryOf(query: Record<string, unknown>): string {
  const text = new URLSearchParams(
    Object.entries(query).flatMap(([name, value]): [string, string][] =>
      value === undefined ? [] : [[name, String(value)]],
    ),
  ).toString();
  return text === '' ? '' : `?${text}`;
}

const kinds: Readonly<Record<number, FailureKind>> = {
  400: 'refused',
  404: 'missing',
  409: 'conflict',
  504: 'late',
};

/** What the API says is wrong, and what to do. */
export function errorOf({ status, text }: Answer): GatewayError {
  try {
    const { detail, fix } = JSON.parse(text) as { detail?: unknown; fix?: unknown };
    if (typeof detail === 'string' && typeof fix === 'string')
      return status === 503
        ? new UnavailableError(detail, fix)
        : new GatewayError(detail, fix, kinds[status] ?? 'failed');
  } catch {
    // Told below.
  }
  return new GatewayError(
    `The gateway answered with status ${status}`,
    'See why: sudo journalctl -u pi-gatewayd',
  );
}
