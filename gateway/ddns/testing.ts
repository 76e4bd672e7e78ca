import { createSocket } from 'node:dgram';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, LookupFunction } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../builder/exec.ts';
import type { Family } from './address.ts';
import { fetchHttps } from './http.ts';
import type { Context } from './providers/provider.ts';

/** A certificate authority of the test's own, and a server certificate by it. */
export type Authority = { ca: string; key: string; cert: string };

/**
 * Made by openssl; for a few names of `.test`, this machine's loopback addresses, and what a VM calls it.
 * @param addresses Further ones that the server has.
 */
export async function makeAuthority(addresses: readonly string[] = []): Promise<Authority> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-ca-'));
  const file = (name: string) => join(folder, name);
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  try {
    await writeFile(
      file('names'),
      `subjectAltName=DNS:provider.test,DNS:one.test,DNS:two.test,DNS:three.test,DNS:liar.test,IP:127.0.0.1,IP:::1,IP:10.0.2.2${addresses.map((one) => `,IP:${one}`).join('')}\nextendedKeyUsage=serverAuth\n`,
    );
    await run('openssl', [
      'req',
      '-x509',
      ...curve,
      '-days',
      '2',
      '-subj',
      '/CN=Test CA',
      '-keyout',
      file('ca.key'),
      '-out',
      file('ca.pem'),
    ]);
    await run('openssl', [
      'req',
      '-new',
      ...curve,
      '-subj',
      '/CN=server',
      '-keyout',
      file('key'),
      '-out',
      file('csr'),
    ]);
    await run('openssl', [
      'x509',
      '-req',
      '-in',
      file('csr'),
      '-CA',
      file('ca.pem'),
      '-CAkey',
      file('ca.key'),
      '-CAcreateserial',
      '-days',
      '2',
      '-extfile',
      file('names'),
      '-out',
      file('cert'),
    ]);
    const read = (name: string) => readFile(file(name), 'utf8');
    return { ca: await read('ca.pem'), key: await read('key'), cert: await read('cert') };
  } finally {
    await rm(folder, { recursive: true });
  }
}

export type Seen = {
  method: string;
  path: string;
  query: Record<string, string>;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
};

export type Reply = { status?: number; headers?: Record<string, string>; body: string };

export type TestServer = {
  port: number;
  url: string;
  seen: Seen[];
  /** What it answers from now on; undefined: never. */
  reply: (seen: Seen) => Reply | undefined;
  close(): Promise<void>;
};

/** A provider's server on this machine, over TLS. */
export async function serve(
  authority: Pick<Authority, 'key' | 'cert'>,
  reply: TestServer['reply'],
  host: '127.0.0.1' | '::1' | '::' = '127.0.0.1',
  name = 'provider.test',
): Promise<TestServer> {
  const seen: Seen[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'https://x');
      const one: Seen = {
        method: request.method ?? '',
        path: url.pathname,
        query: Object.fromEntries(url.searchParams),
        url: request.url ?? '',
        headers: request.headers,
        body,
      };
      seen.push(one);
      const made = server.reply(one);
      if (made) response.writeHead(made.status ?? 200, made.headers).end(made.body);
    });
  };
  const listener = createServer({ key: authority.key, cert: authority.cert }, answer);
  listener.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => listener.listen(0, host, resolve));
  const { port } = listener.address() as AddressInfo;
  const server: TestServer = {
    port,
    url: `https://${name}:${port}`,
    seen,
    reply,
    close: () =>
      new Promise((resolve) => {
        listener.closeAllConnections();
        listener.close(() => resolve());
      }),
  };
  return server;
}

/** Names of these tests: `*.test` lead to this machine, all others nowhere. */
export function lookupTo(addresses: readonly string[] = ['127.0.0.1']): LookupFunction {
  return (hostname, options, callback) => {
    const family = options.family === 'IPv4' ? 4 : options.family === 'IPv6' ? 6 : options.family;
    const found = addresses
      .map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
      .filter((one) => !family || one.family === family);
    const [first] = found;
    if (!hostname.endsWith('.test') || !first) {
      const error: NodeJS.ErrnoException = new Error(`getaddrinfo ENOTFOUND ${hostname}`);
      error.code = 'ENOTFOUND';
      callback(error, '', 4);
    } else if (options.all) callback(null, found);
    else callback(null, first.address, first.family);
  };
}

/** A provider's context whose requests go to this machine. */
export function contextFor(
  ca: string | undefined,
  options: { lookup?: LookupFunction; timeout?: number; memory?: Record<string, string> } = {},
): Context {
  const { lookup = lookupTo(), timeout = 3000, memory = {} } = options;
  return {
    exchange: (request) => fetchHttps(request, { ca, timeout, lookup }),
    run: async () => ({ code: 127, output: '' }),
    timeout,
    now: new Date('2026-01-02T03:04:05Z'),
    memory,
  };
}

/** A STUN server (RFC 8489) that says of everybody that his address is this one. */
export async function stunServer(
  family: Family,
  answer: (request: Buffer) => Buffer | undefined,
): Promise<{ port: number; close(): Promise<void> }> {
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
  socket.on('message', (request, from) => {
    const response = answer(request);
    if (response) socket.send(response, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, family === 4 ? '127.0.0.1' : '::1', resolve));
  return {
    port: socket.address().port,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

const cookie = 0x2112a442;

/** A Binding success response with XOR-MAPPED-ADDRESS, written from RFC 8489 §14.2. */
export function stunResponse(request: Buffer, bytes: readonly number[], port = 4242): Buffer {
  const value = Buffer.alloc(4 + bytes.length);
  value[1] = bytes.length === 4 ? 1 : 2;
  value.writeUInt16BE(port ^ (cookie >>> 16), 2);
  bytes.forEach((byte, i) => {
    value[4 + i] = byte ^ (request[4 + i] ?? 0);
  });
  const head = Buffer.alloc(24);
  head.writeUInt16BE(0x0101, 0);
  head.writeUInt16BE(4 + value.length, 2);
  request.copy(head, 4, 4, 20);
  head.writeUInt16BE(0x0020, 20);
  head.writeUInt16BE(value.length, 22);
  return Buffer.concat([head, value]);
}

/** A DNS server (RFC 1035) with one record for every question, or a response code. */
export async function dnsServer(
  record: { type: number; data: Buffer } | { code: number },
  host = '127.0.0.1',
): Promise<{ port: number; close(): Promise<void> }> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (query, from) => {
    let end = 12;
    while (query[end] !== 0 && end < query.length) end += (query[end] ?? 0) + 1;
    const question = query.subarray(12, end + 5);
    const head = Buffer.from(query.subarray(0, 12));
    const found = 'data' in record;
    head.writeUInt16BE(0x8180 | (found ? 0 : record.code), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(found ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);
    const fixed = Buffer.alloc(12);
    if (found) {
      fixed.writeUInt16BE(0xc00c, 0);
      fixed.writeUInt16BE(record.type, 2);
      fixed.writeUInt16BE(1, 4);
      fixed.writeUInt16BE(record.data.length, 10);
    }
    socket.send(
      Buffer.concat([head, question, ...(found ? [fixed, record.data] : [])]),
      from.port,
      from.address,
    );
  });
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  return {
    port: socket.address().port,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}
