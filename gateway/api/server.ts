import { X509Certificate } from 'node:crypto';
import { chmod, rm } from 'node:fs/promises';
import { createServer as createHttp, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttps, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { hostname } from 'node:os';
import type { Helper } from '../helper/protocol.ts';
import { type Accounts, type AccountsOptions, openAccounts } from './accounts/accounts.ts';
import { neighbourhood } from './accounts/throttle.ts';
import { EventHub } from './events/hub.ts';
import { type Door, type Guest, Handler, problemText, refuse, type Shared } from './handler.ts';
import { dashboardFolder, Files } from './http/files.ts';
import { apiHeaders } from './http/headers.ts';
import { usualNames } from './http/host.ts';
import type { Area, Operation } from './operation.ts';
import { ProblemError, tooMany } from './problem.ts';
import type { ApiSettings } from './settings.ts';

/** An address and port, or a socket that somebody else opened. */
export type Listen = { host: string; port: number } | { fd: number };

/** PEM. */
export type Certificate = { cert: string; key: string };

export type ApiOptions = Omit<Shared, 'accounts'> & {
  helper: Helper;
  operations: readonly Operation[];
  /** Asked each time, so that what the owner changes counts at once. */
  settings: () => ApiSettings;
  certificate: Certificate;
  /** Addresses and ports, or sockets that somebody else opened (`{fd}`). */
  listen: readonly Listen[];
  /** Path of the unix socket for root's CLI, or one that somebody else opened. */
  socket?: string | { fd: number };
  /** Sockets of extensions, each with what it may read. */
  guests?: readonly (Guest & { socket: string | { fd: number } })[];
  version: string;
  /** Folder of the dashboard's files. */
  dashboard?: string;
  /** For tests: seconds that headers and a whole request may take, and from one look of the streams to the next. */
  patience?: { headers: number; request: number; beat?: number };
  /** For tests: how passwords are hashed and time is told. */
  accountsOptions?: Partial<AccountsOptions>;
};

export type Api = {
  /** Where it listens with TLS. */
  addresses: readonly AddressInfo[];
  accounts: Accounts;
  /** A new certificate counts from the next connection on. */
  setCertificate(certificate: Certificate): void;
  /** Something changed without the API: whoever listens asks anew. */
  changed(area: Area): void;
  close(): Promise<void>;
};

/** Open connections of all and of one address (or /64). A browser opens up to six, each tab with a stream. */
const mostConnections = 128;
const mostOfAddress = 32;
/** The same of one extension. */
const mostOfGuest = 4;
/** Its requests a second, and how many of them at once: answers are this process's work. */
const guestPace = 2;
const guestBurst = 20;

/**
 * Mozilla's intermediate configuration (wiki.mozilla.org/Security/Server_Side_TLS 5.7): TLS 1.3, and 1.2
 * with ephemeral keys and authenticated encryption alone.
 */
const tls = {
  minVersion: 'TLSv1.2',
  ciphers: [
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ].join(':'),
  ecdhCurve: 'X25519:prime256v1:secp384r1',
  ALPNProtocols: ['http/1.1'],
  // Milliseconds. A Pi answers within one; who takes longer holds a connection for nothing.
  handshakeTimeout: 10_000,
} as const;

/**
 * The HTTPS API with the dashboard's files, and the same for root over a unix socket. The server is
 * node:https with a table of operations before it and no framework: those that there are speak the Fetch
 * API's Request and Response, whose implementation in node needs WebAssembly, which this process is denied.
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { helper, settings, operations, version, listen, socket } = options;
  const accounts = await openAccounts({
    system: options.system,
    settings,
    device: `Pi Gateway ${hostname()}`,
    ...options.accountsOptions,
  });
  const hub = new EventHub({
    monitor: options.monitor,
    kernel: options.kernel,
    keepWarm: () => helper.call('claim.status', {}, { via: 'device', name: 'pi-gatewayd' }),
    beat: (options.patience?.beat ?? 1) * 1000,
  });
  let certified = namesOf(options.certificate);
  const handler = new Handler({
    shared: { ...sharedOf(options), accounts },
    helper,
    hub,
    operations,
    version,
    files: await Files.list(options.dashboard ?? dashboardFolder),
    names: () => new Set([...certified, ...usualNames(), ...settings().names]),
  });

  const patience = options.patience ?? { headers: 10, request: 30 };
  const limits = {
    // Bytes: the cookie, the token and what browsers send are below two kilobytes.
    maxHeaderSize: 8192,
    headersTimeout: patience.headers * 1000,
    requestTimeout: patience.request * 1000,
    connectionsCheckingInterval: Math.min(5000, patience.headers * 250),
    // We look at it ourselves, and say what is wrong.
    requireHostHeader: false,
    // Above the pause between two requests of a dashboard that polls.
    keepAliveTimeout: 20_000,
  };
  const answer = (door: Door) => (request: IncomingMessage, response: ResponseOf) =>
    void handler.handle(request, response, door);
  const connections = new Connections();
  const secure: HttpsServer[] = listen.map(() => {
    const server = createHttps({ ...limits, ...tls, ...options.certificate }, answer('tls'));
    server.on('connection', (one: Socket) => connections.admit(one));
    return server;
  });
  const local = socket === undefined ? [] : [createHttp(limits, answer('socket'))];
  const guests = (options.guests ?? []).map(({ socket: where, ...guest }) => {
    const pace = new Pace(guestPace, guestBurst);
    const server = createHttp(limits, (request, response) => {
      if (pace.take(performance.now() / 1000)) answer(guest)(request, response);
      else refuse(request, response, tooMany(1, 'That is more than an extension may ask for'));
    });
    server.maxConnections = mostOfGuest;
    return { server, where };
  });
  const others = [...local, ...guests.map(({ server }) => server)];
  for (const server of [...secure, ...others]) harden(server);
  for (const [i, where] of listen.entries()) await opened(secure[i], where);
  for (const server of local) await openedLocally(server, socket ?? '');
  // The gateway is there without them.
  for (const { server, where } of guests)
    await openedLocally(server, where).catch((error: unknown) =>
      options.system.say(`The socket of an extension cannot be used: ${String(error)}`),
    );

  return {
    accounts,
    addresses: secure.map((server) => server.address()).filter((one) => isAddress(one)),
    setCertificate: (certificate) => {
      certified = namesOf(certificate);
      for (const server of secure) server.setSecureContext({ ...tls, ...certificate });
    },
    changed: (area) => hub.changed(area),
    close: async () => {
      hub.close();
      await Promise.all([...secure, ...others].map(closed));
      await accounts.close();
    },
  };
}

type ResponseOf = Parameters<Handler['handle']>[1];

function sharedOf(options: ApiOptions): Omit<Shared, 'accounts'> {
  const {
    helper: _1,
    operations: _2,
    settings: _3,
    certificate: _4,
    listen: _5,
    socket: _6,
    version: _7,
    dashboard: _8,
    patience: _9,
    accountsOptions: _10,
    guests: _11,
    ...shared
  } = options;
  return shared;
}

/** DNS names that the certificate is of. */
function namesOf({ cert }: Certificate): string[] {
  const { subjectAltName = '' } = new X509Certificate(cert);
  return [...subjectAltName.matchAll(/DNS:([^,\s"]+)/g)].map(([, name = '']) => name.toLowerCase());
}

/** A bucket of so many, filled at a steady rate. */
class Pace {
  readonly #rate: number;
  readonly #most: number;
  #left: number;
  #at = 0;

  constructor(rate: number, most: number) {
    this.#rate = rate;
    this.#most = most;
    this.#left = most;
  }

  /** @param now Seconds of a clock that nobody sets. */
  take(now: number): boolean {
    this.#left = Math.min(this.#most, this.#left + (now - this.#at) * this.#rate);
    this.#at = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

/** Who may connect still. */
class Connections {
  readonly #byNeighbour = new Map<string, number>();
  #all = 0;

  admit(socket: Socket): void {
    const key = neighbourhood(socket.remoteAddress ?? '');
    const own = this.#byNeighbour.get(key) ?? 0;
    if (this.#all >= mostConnections || own >= mostOfAddress) {
      socket.destroy();
      return;
    }
    this.#all += 1;
    this.#byNeighbour.set(key, own + 1);
    socket.on('close', () => {
      this.#all -= 1;
      const left = (this.#byNeighbour.get(key) ?? 1) - 1;
      if (left > 0) this.#byNeighbour.set(key, left);
      else this.#byNeighbour.delete(key);
    });
  }
}

function harden(server: Server | HttpsServer): void {
  server.maxRequestsPerSocket = 1000;
  // Milliseconds without a byte in either direction; streams have a heartbeat.
  server.setTimeout(120_000);
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    socket.end(rawProblem(error.code));
  });
  // Of the handshake: there is no HTTP yet to answer by.
  server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
}

/** An answer to what node's parser did not take for a request. */
function rawProblem(code: string | undefined): string {
  const { problem } =
    code === 'HPE_HEADER_OVERFLOW'
      ? new ProblemError(431, 'The headers are longer than 8 KiB', 'Send fewer, e.g. clear cookies')
      : code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new ProblemError(408, 'The request took too long to arrive', 'Send it at once')
        : new ProblemError(400, 'That is not HTTP/1.1', 'Speak HTTP/1.1 (RFC 9112)');
  const body = problemText(problem);
  const headers = {
    ...apiHeaders,
    'content-type': 'application/problem+json',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  };
  return [
    `HTTP/1.1 ${problem.status} ${problem.title}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '',
    body,
  ].join('\r\n');
}

function opened(
  server: Server | HttpsServer | undefined,
  where: ListenOptions | { fd: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (!server) return resolve();
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function openedLocally(server: Server, where: string | { fd: number }): Promise<void> {
  if (typeof where !== 'string') return await opened(server, where);
  // One that a daemon which was killed has left.
  await rm(where, { force: true });
  // Nobody may connect before the mode is set.
  const before = process.umask(0o177);
  try {
    await opened(server, { path: where });
  } finally {
    process.umask(before);
  }
  await chmod(where, 0o600);
}

/** Ends at once what waits for a request; what is being answered has two seconds. */
async function closed(server: Server | HttpsServer): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), 2000);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
  clearTimeout(timer);
}

function isAddress(address: AddressInfo | string | null): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}
