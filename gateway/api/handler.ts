import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type * as z from 'zod';
import type { Helper } from '../helper/protocol.ts';
import type { Actor } from '../helper/verb.ts';
import { BusyError } from './accounts/password.ts';
import type { Principal } from './accounts/principal.ts';
import { same } from './accounts/secrets.ts';
import type { Context } from './context.ts';
import type { EventHub } from './events/hub.ts';
import type { Exchange } from './exchange.ts';
import { readSession, sessionHeader } from './http/cookie.ts';
import type { Files } from './http/files.ts';
import { apiHeaders } from './http/headers.ts';
import { isOwnHost } from './http/host.ts';
import { hasBody, parseQuery, parseTarget, readJson, type Target } from './http/request.ts';
import { openApiDocument, statusOf } from './openapi/document.ts';
import { accessOf, type Content, type Operation, type Scope, scopeOf } from './operation.ts';
import { ProblemError, problemOf, tooMany } from './problem.ts';
import { Router } from './router.ts';

/** What operations use that is the same for all requests. */
export type Shared = Omit<Context, 'principal' | 'address' | 'call' | 'exchange'>;

export type HandlerOptions = {
  shared: Shared;
  helper: Helper;
  hub: EventHub;
  files: Files;
  operations: readonly Operation[];
  version: string;
  /** Host names that lead to this gateway. */
  names: () => ReadonlySet<string>;
};

/** Where a request came in. */
export type Door = 'tls' | 'socket' | Guest;

/** The socket of an extension, which nobody else can open: it reads what its manifest declares, as a viewer. */
export type Guest = { extension: string; scopes: readonly Scope[] };

/** Of root's CLI: whose sudo it is. */
export const userHeader = 'x-gateway-user';

type Credentials = {
  principal: Principal | undefined;
  csrf: string | undefined;
  session: Exchange['session'];
  /** Whether they still hold, without using them. */
  holds: () => boolean;
};

/** Answers requests: finds the operation, proves who asks, checks the input, runs it, says what came of it. */
export class Handler {
  readonly #options: HandlerOptions;
  readonly #router: Router;
  #document: Promise<Record<string, unknown>> | undefined;

  constructor(options: HandlerOptions) {
    this.#options = options;
    this.#router = new Router(options.operations);
  }

  /** Never throws: whatever happens, the client gets an answer or finds the connection closed. */
  async handle(request: IncomingMessage, response: ServerResponse, door: Door): Promise<void> {
    try {
      await this.#answer(request, response, door);
    } catch (error) {
      this.#refuse(request, response, error);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, door: Door): Promise<void> {
    const names = this.#options.names();
    if (door === 'tls' && !isOwnHost(request.headers.host, names, request.socket.localAddress))
      throw new ProblemError(
        // RFC 9110 §15.5.20; without the header it is no HTTP/1.1 (RFC 9112 §3.2).
        request.headers.host === undefined ? 400 : 421,
        'That is no name or address of this gateway',
        `Ask for ${[...names].join(', ')} or its address; further names: api.names in /etc/pi-gateway/gateway.yaml`,
      );
    const target = parseTarget(request.url ?? '');
    if (target.path === '/metrics') return this.#metrics(request, response, door);
    if (target.segments[0] !== 'api')
      return await this.#options.files.answer(request, response, target.path);
    if (target.segments[1] !== 'v1')
      throw new ProblemError(
        404,
        'There is no such version of the API',
        'See /api/v1/openapi.json',
      );
    await this.#operate(request, response, door, target);
  }

  async #operate(
    request: IncomingMessage,
    response: ServerResponse,
    door: Door,
    target: Target,
  ): Promise<void> {
    const found = this.#router.find(request.method, target.segments.slice(2));
    if (!found)
      throw new ProblemError(404, 'There is no such operation', 'See /api/v1/openapi.json');
    if ('allow' in found) throw notAllowed(found.allow);
    const { operation, params } = found;
    // What hands out a key is no answer for who wants no content.
    if (request.method === 'HEAD' && accessOf(operation) === 'write') throw notAllowed(['GET']);
    const credentials = this.#credentials(request, door);
    if (door === 'tls') refuseForeign(request, operation, credentials);
    if (typeof door === 'object') refuseGuest(operation);
    refuseUnauthorized(operation, credentials.principal);
    const input = await this.#input(request, operation, params, target.query);
    const context = this.#context(request, response, credentials, door);
    const result = await operation.run(context, input);
    if (accessOf(operation) === 'write') this.#options.hub.changed(operation.area);
    if (!response.headersSent)
      give(response, operation, result, (work) => this.#afterwards(work, operation));
  }

  /** What follows when an answer was sent: there is nobody any more whom to tell of its failure. */
  async #afterwards(work: () => Promise<void>, { id, area }: Operation): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.shared.system.say(`API: after ${id}: ${String(error)}`);
    }
    this.#options.hub.changed(area);
  }

  #credentials(request: IncomingMessage, door: Door): Credentials {
    const { accounts } = this.#options.shared;
    const none = { csrf: undefined, session: undefined };
    if (typeof door === 'object') {
      const { extension, scopes } = door;
      const principal: Principal = { name: `x-${extension}`, role: 'viewer', via: 'token', scopes };
      return { ...none, principal, holds: () => true };
    }
    if (door === 'socket') {
      const given = String(request.headers[userHeader] ?? 'root');
      const name = /^[a-z_][a-z0-9._-]{0,31}$/.test(given) ? given : 'root';
      const principal: Principal = { name, role: 'admin', via: 'cli', scopes: undefined };
      return { ...none, principal, holds: () => true };
    }
    const { authorization } = request.headers;
    if (authorization !== undefined) {
      // RFC 6750 §2.1. Whatever cookie there is besides: a token is no browser's.
      const token = /^Bearer +(\S+) *$/i.exec(authorization)?.[1] ?? '';
      const principal = accounts.byToken(token)?.principal;
      return { ...none, principal, holds: () => accounts.byToken(token) !== undefined };
    }
    const secret = readSession(request.headers.cookie);
    const proven = secret === undefined ? undefined : accounts.bySession(secret);
    if (!proven?.sessionId || secret === undefined)
      return { ...none, principal: undefined, holds: () => false };
    return {
      principal: proven.principal,
      csrf: proven.csrf,
      session: { id: proven.sessionId, account: proven.principal.name },
      holds: () => accounts.bySession(secret, false) !== undefined,
    };
  }

  async #input(
    request: IncomingMessage,
    operation: Operation,
    params: Record<string, string>,
    queryText: string,
  ): Promise<{ params: unknown; query: unknown; body: unknown }> {
    const query = parseQuery(queryText);
    if (!operation.query && Object.keys(query).length > 0)
      throw new ProblemError(
        400,
        'This operation has no parameters',
        'Leave out the question mark',
      );
    if (!operation.body && hasBody(request))
      throw new ProblemError(400, 'This operation takes no body', 'Send none', {
        headers: { connection: 'close' },
      });
    const path = checked('path', operation.params, params);
    const asked = checked('query', operation.query, query);
    const given = operation.body && hasBody(request) ? await readJson(request) : undefined;
    return { params: path, query: asked, body: checked('body', operation.body, given) };
  }

  #context(
    request: IncomingMessage,
    response: ServerResponse,
    credentials: Credentials,
    door: Door,
  ): Context {
    const { shared, helper, hub } = this.#options;
    const address = door === 'socket' ? 'cli' : clientAddress(request);
    const context: Context = {
      ...shared,
      principal: credentials.principal,
      address,
      call: (verb, args) => helper.call(verb, args, actorOf(context, door)),
      exchange: {
        session: credentials.session,
        csrf: credentials.csrf,
        client: String(request.headers['user-agent'] ?? 'unknown'),
        setSession: (secret) => response.setHeader('set-cookie', sessionHeader(secret)),
        stream: (topics) => {
          for (const [name, value] of Object.entries(apiHeaders)) response.setHeader(name, value);
          if (request.method === 'HEAD') throw notAllowed(['GET']);
          return hub.open(response, {
            topics: new Set(topics),
            key: credentials.session?.id ?? `${credentials.principal?.name} ${address}`,
            holds: credentials.holds,
          });
        },
        document: () => {
          this.#document ??= openApiDocument(this.#options.operations, this.#options.version);
          return this.#document;
        },
      },
    };
    return context;
  }

  /** Prometheus asks at the root: https://prometheus.io/docs/instrumenting/exposition_formats/ */
  #metrics(request: IncomingMessage, response: ServerResponse, door: Door): void {
    if (request.method !== 'GET' && request.method !== 'HEAD') throw notAllowed(['get']);
    const { principal } = this.#credentials(request, door);
    refuseUnauthorized({ role: 'viewer', area: 'metrics', method: 'get' }, principal);
    send(
      response,
      200,
      'text/plain; version=0.0.4; charset=utf-8',
      this.#options.shared.monitor.prometheus(),
    );
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const { system } = this.#options.shared;
    if (response.headersSent) {
      // In the middle of an answer: only its end tells that it is not whole.
      response.destroy();
      return;
    }
    const known =
      error instanceof BusyError
        ? tooMany(5, 'Too many passwords are being checked')
        : problemOf(error);
    // The client has gone; there is nobody to tell.
    if (request.destroyed && !request.complete) {
      response.destroy();
      return;
    }
    if (!known) {
      const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
      system.say(`API: ${request.method} ${pathOf(request)}: ${stack.slice(0, 2000)}`);
    }
    refuse(request, response, known ?? unforeseen());
  }
}

function unforeseen(): ProblemError {
  return new ProblemError(
    500,
    'The gateway failed at it, which is a mistake of ours',
    'See why: sudo journalctl -u pi-gatewayd',
  );
}

/** What a client may still send after it was refused, so that it comes to read why, and for how long. */
const longestRest = 16 * 1_048_576;
const longestLinger = 2000;

/** Answers with a problem. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  { problem, headers }: ProblemError,
): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const text = problemText(problem);
  if (request.complete || !hasBody(request)) {
    send(response, problem.status, 'application/problem+json', text);
    return;
  }
  // Closing with unread bytes resets the connection, and takes the answer from the client (RFC 9112 §9.6).
  response.setHeader('connection', 'close');
  head(response, problem.status, 'application/problem+json', Buffer.byteLength(text));
  response.write(text);
  const timer = setTimeout(() => response.end(), longestLinger);
  let rest = 0;
  request.on('data', (chunk: Buffer) => {
    rest += chunk.length;
    if (rest > longestRest) request.destroy();
  });
  request.on('close', () => {
    clearTimeout(timer);
    response.end();
  });
  request.on('error', () => undefined);
  request.resume();
}

export function problemText(problem: ProblemError['problem']): string {
  return `${JSON.stringify({ type: 'about:blank', ...problem })}\n`;
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  const body = Buffer.from(text);
  head(response, status, type, body.length);
  response.end(body);
}

function head(response: ServerResponse, status: number, type: string, length: number): void {
  response.writeHead(status, { ...apiHeaders, 'content-type': type, 'content-length': length });
}

function give(
  response: ServerResponse,
  operation: Operation,
  result: unknown,
  afterwards: (work: () => Promise<void>) => Promise<void>,
): void {
  const status = statusOf(operation);
  if (operation.response) {
    // Through the schema, so that what it does not name (a secret beside the rest) stays here.
    const value = operation.response.parse(result);
    send(response, status, 'application/json', `${JSON.stringify(value)}\n`);
  } else if (operation.content !== undefined) {
    const { type, text, headers = {}, sent } = result as Content;
    // Not `close`, which a connection that breaks off has, too.
    if (sent) response.once('finish', () => void afterwards(sent));
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    send(response, status, type, text);
  } else response.writeHead(status, apiHeaders).end();
}

function checked(where: string, schema: z.ZodType | undefined, value: unknown): unknown {
  if (!schema) return undefined;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const errors = result.error.issues.slice(0, 20).map(({ path, message }) => ({
    at: [where, ...path.map(String)].join('.').slice(0, 200),
    message: message.slice(0, 300),
  }));
  throw new ProblemError(
    400,
    errors
      .map(({ at, message }) => `${at}: ${message}`)
      .join('; ')
      .slice(0, 1000),
    'See the schema of this operation in /api/v1/openapi.json',
    { errors },
  );
}

/** @param methods `get` is HEAD, too, and `GET` is not. */
function notAllowed(methods: readonly string[]): ProblemError {
  const allow = methods.flatMap((one) => (one === 'get' ? ['GET', 'HEAD'] : [one.toUpperCase()]));
  return new ProblemError(
    405,
    'That cannot be done here by this method',
    `Use ${allow.join(' or ')}`,
    { headers: { allow: allow.join(', ') } },
  );
}

/**
 * Requests that another site made a browser send: Fetch Metadata (w3.org/TR/fetch-metadata) for all,
 * and for changes the Origin (RFC 6454 §7) and the session's own token.
 * @throws ProblemError 403
 */
function refuseForeign(
  { headers }: IncomingMessage,
  operation: Operation,
  { csrf }: Credentials,
): void {
  const site = headers['sec-fetch-site'];
  const fromElsewhere = site === 'cross-site' || site === 'same-site';
  const isChange = operation.method !== 'get';
  const foreignOrigin =
    isChange && headers.origin !== undefined && headers.origin !== `https://${headers.host}`;
  if (fromElsewhere || foreignOrigin)
    throw new ProblemError(
      403,
      'This request comes from a page of another site',
      'Use the dashboard of this gateway',
    );
  if (isChange && csrf !== undefined && !same(String(headers['x-csrf-token'] ?? ''), csrf))
    throw new ProblemError(
      403,
      'X-CSRF-Token is missing or of another session',
      'Send the csrf that GET /session answers',
    );
}

/** @throws ProblemError 401 or 403 */
function refuseUnauthorized(
  operation: Pick<Operation, 'role' | 'area' | 'method' | 'personal' | 'access'>,
  principal: Principal | undefined,
): void {
  if (operation.role === 'public') return;
  if (!principal)
    throw new ProblemError(
      401,
      'This needs a session or an API token that holds',
      'Log in by POST /api/v1/session, or send Authorization: Bearer pgw_…',
      { headers: { 'www-authenticate': 'Bearer realm="pi-gateway"' } },
    );
  if (operation.personal && principal.via === 'token')
    throw new ProblemError(
      403,
      'No API token may do this',
      'Log in to the dashboard, or use the command line',
    );
  if (operation.role === 'admin' && principal.role !== 'admin')
    throw new ProblemError(403, `${principal.name} may only look`, 'Ask an admin for it');
  const scope = scopeOf(operation);
  if (principal.scopes && !principal.scopes.includes(scope))
    throw new ProblemError(
      403,
      `The token ${principal.name} has no scope ${scope}`,
      'Make one that has',
      // RFC 6750 §3.1
      { headers: { 'www-authenticate': `Bearer error="insufficient_scope", scope="${scope}"` } },
    );
}

/**
 * What nobody need be anybody for (to log in, to claim the gateway) is for people.
 * @throws ProblemError 403
 */
function refuseGuest(operation: Operation): void {
  if (operation.role === 'public' || accessOf(operation) === 'write')
    throw new ProblemError(
      403,
      'No extension may do this',
      'See permissions.api in docs/extensions.md',
    );
}

function actorOf({ principal, address }: Context, door: Door): Actor {
  const name = principal?.name ?? 'nobody';
  return door === 'socket' ? { via: 'cli', name } : { via: 'api', name, address };
}

function clientAddress(request: IncomingMessage): string {
  const peer = (request.socket.remoteAddress ?? 'unknown').replace(/^::ffff:(?=\d+\.)/, '');
  // The proxy on this device, which tells who asks and lets nobody else say it (gateway/proxy/render.ts).
  // Whoever else runs programs here could come from any of 16 million addresses of loopback anyway.
  const told = request.headers['x-forwarded-for'];
  if (peer === '127.0.0.1' && typeof told === 'string' && isIP(told) !== 0) return told;
  return peer.slice(0, 64);
}

/** For the journal: without the query. */
function pathOf({ url }: IncomingMessage): string {
  return (url ?? '')
    .replace(/\?.*$/s, '')
    .replace(/[^\x21-\x7e]/g, '?')
    .slice(0, 200);
}
