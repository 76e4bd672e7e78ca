import { signal } from '@preact/signals';
import type * as z from 'zod';
import type { Operations } from '../../api/operations.ts';

/** The API as its operations type it: paths, input and answers. Only types come from there, no code. */

type Method = Operations['method'];
type PathOf<M extends Method> = Extract<Operations, { method: M }>['path'];
type Op<M extends Method, P extends string> = Extract<Operations, { method: M; path: P }>;

type In<S> = S extends z.ZodType ? z.input<S> : never;
type Part<O, K extends 'params' | 'query' | 'body'> = O extends { [key in K]?: infer S }
  ? In<S>
  : never;
type Given<K extends string, T> = [T] extends [never]
  ? unknown
  : Partial<T> extends T
    ? { [key in K]?: T }
    : { [key in K]: T };
export type InputOf<M extends Method, P extends string> = Given<
  'params',
  Part<Op<M, P>, 'params'>
> &
  Given<'query', Part<Op<M, P>, 'query'>> &
  Given<'body', Part<Op<M, P>, 'body'>>;
/** What an operation answers; nothing for one without a schema. */
export type Answer<M extends Method, P extends string> =
  Op<M, P> extends { response?: infer R }
    ? R extends z.ZodType
      ? z.output<R>
      : undefined
    : undefined;

/** What went wrong, as the API says it (RFC 9457, with `fix`), or as the browser does. */
export class Problem extends Error {
  readonly fix: string | undefined;
  /** HTTP status; 0: no answer. */
  readonly status: number;
  /** Of which input: path in the body and message. */
  readonly errors: readonly { path: string; message: string }[];

  constructor(
    message: string,
    o: { fix?: string; status?: number; errors?: Problem['errors'] } = {},
  ) {
    super(message);
    this.fix = o.fix;
    this.status = o.status ?? 0;
    this.errors = o.errors ?? [];
  }
}

/** X-CSRF-Token of this session's changes. */
let csrf: string | undefined;
export function useCsrf(token: string | null | undefined): void {
  csrf = token ?? undefined;
}

/** Counts up when an answer says that the session has ended. */
export const loggedOut = signal(0);

const base = './api/v1';

/** Fills in `{name}`, and adds the query. */
export function address(path: string, input: { params?: object; query?: object } = {}): string {
  const params: Record<string, unknown> = { ...input.params };
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String(params[name] ?? '')),
  );
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(input.query ?? {}))
    if (value !== undefined && value !== '') query.set(key, String(value));
  return `${base}${filled}${query.size > 0 ? `?${query}` : ''}`;
}

type Request = { params?: object; query?: object; body?: unknown };

/**
 * Milliseconds: longer than anything takes that is waited for (a restart of a service, settings that are tried
 * behind others); what is only read is there at once, or the network is away, but for a report made anew.
 */
const patience = { read: 20_000, report: 150_000, change: 150_000 };

function patienceFor(method: Method, { query = {} }: Request): number {
  if (method !== 'get') return patience.change;
  return 'refresh' in query && query.refresh ? patience.report : patience.read;
}

async function send(method: Method, path: string, input: Request = {}): Promise<Response> {
  const body = input.body === undefined ? undefined : JSON.stringify(input.body);
  let response: Response;
  try {
    response = await fetch(address(path, input), {
      method: method.toUpperCase(),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout(patienceFor(method, input)),
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(method === 'get' || csrf === undefined ? {} : { 'x-csrf-token': csrf }),
      },
      ...(body === undefined ? {} : { body }),
    });
  } catch {
    throw new Problem('The gateway does not answer', {
      fix: 'Check that this device is in its network or VPN; it may also be starting again',
    });
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (response.status === 401 && path !== '/session' && path !== '/claim') loggedOut.value += 1;
  throw problem;
}

type ProblemJson = {
  title?: string;
  detail?: string;
  fix?: string;
  errors?: { at?: string; message?: string }[];
};

async function problemOf(response: Response): Promise<Problem> {
  const json = (await response.json().catch(() => ({}))) as ProblemJson;
  return new Problem(json.detail ?? json.title ?? `The gateway answered with ${response.status}`, {
    ...(json.fix === undefined ? {} : { fix: json.fix }),
    status: response.status,
    errors: (json.errors ?? []).map(({ at, message }) => ({
      path: (at ?? '').replace(/^body\.?/, ''),
      message: message ?? '',
    })),
  });
}

/** Does an operation. @throws Problem */
export async function call<M extends Method, P extends PathOf<M>>(
  method: M,
  path: P,
  ...[input]: Partial<InputOf<M, P>> extends InputOf<M, P> ? [InputOf<M, P>?] : [InputOf<M, P>]
): Promise<Answer<M, P>> {
  const response = await send(method, path, (input ?? {}) as Request);
  if (response.status === 204) return undefined as Answer<M, P>;
  return (await response.json()) as Answer<M, P>;
}

/**
 * A route of an extension, `post /x/hello/greetings`: the page does not know its operations by type.
 * @throws Problem
 */
export async function callRoute(route: string, body: object): Promise<unknown> {
  const [method = 'get', path = ''] = route.split(' ');
  const takesBody = method !== 'get' && method !== 'delete';
  const response = await send(method as Method, path, takesBody ? { body } : {});
  return await response.json();
}

/** The text of an operation that answers with a file. @throws Problem */
export async function text<M extends Method, P extends PathOf<M>>(
  method: M,
  path: P,
  input: InputOf<M, P>,
): Promise<string> {
  return (await send(method, path, input as Request)).text();
}
