import { createServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { SMTPServer } from 'smtp-server';
import type * as z from 'zod';
import { type Authority, makeAuthority } from '../ddns/testing.ts';
import type { Condition } from './condition.ts';
import type { alertSettings } from './settings.ts';

/**
 * Servers that alerts can be sent to, on this machine: SMTP with STARTTLS and with TLS at once, and over HTTPS a
 * webhook, one of Slack's shape, ntfy and a dead man's switch. They keep what came. Unit tests reach them at
 * 127.0.0.1, a VM of QEMU's user network at 10.0.2.2; the certificate is good for both. In the lab they listen
 * at an address of their own.
 */

export type Mail = {
  id: string;
  from: string;
  to: string[];
  user: string | undefined;
  /** Headers with lower-case names, unfolded. */
  headers: Record<string, string>;
  subject: string;
  text: string;
  raw: string;
};

export type Post = {
  method: string;
  path: string;
  headers: Record<string, string | undefined>;
  /** As it came, for signatures. */
  raw: string;
  body: Record<string, unknown>;
};

export type Kind = 'mail' | 'webhook' | 'slack' | 'ntfy' | 'heartbeat';

export type Reply = { status: number; body?: string; headers?: Record<string, string> };

export type Receivers = {
  authority: Authority;
  mails: Mail[];
  webhook: Post[];
  slack: Post[];
  ntfy: Post[];
  heartbeat: Post[];
  ports: { smtp: number; smtps: number; https: number };
  /** What a kind answers in place of its OK, from now on; undefined: its OK. For mail the status is SMTP's reply to the message. */
  answer(kind: Kind, reply: Reply | undefined): void;
  /** Down: connections are closed at once, as if nobody were there. */
  setDown(down: boolean): void;
  /** The owner's `alerts:` for all four channels. */
  settings(more?: Partial<SettingsInput>): SettingsInput;
  close(): Promise<void>;
};

export type SettingsInput = NonNullable<z.input<typeof alertSettings>>;

/** All secrets that the settings of {@link Receivers} hold; none may turn up anywhere. */
export const secrets = {
  password: 'pa55 w0rd+/=!',
  webhookPath: 'hook-3f9c27d1e8',
  webhookSecret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  slackPath: 'XoXbSlackSecret24',
  topic: 'attic-7hk2m9q4',
  token: 'tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2',
  heartbeat: 'c0ffee00-1111-4222-8333-444455556666',
} as const;

export const user = 'ada@example.org';

export type ReceiverOptions = {
  /** How who sends calls this machine. Unless it is 10.0.2.2, which stands for loopback, they listen there. */
  address?: string;
  authority?: Authority;
};

export async function startReceivers({
  address = '127.0.0.1',
  authority,
}: ReceiverOptions = {}): Promise<Receivers> {
  const isUsual = address === '127.0.0.1' || address === '10.0.2.2';
  const by = authority ?? (await makeAuthority(isUsual ? [] : [address]));
  const own = isUsual ? '127.0.0.1' : address;
  const replies = new Map<Kind, Reply>();
  const sockets = new Set<Socket>();
  let isDown = false;
  const admit = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    if (isDown) socket.destroy();
  };
  const kept = { webhook: [], slack: [], ntfy: [], heartbeat: [] } as Record<
    Exclude<Kind, 'mail'>,
    Post[]
  >;
  const mails: Mail[] = [];
  const https = httpsServer(by, kept, replies);
  const smtp = mailServer(by, false, mails, replies);
  const smtps = mailServer(by, true, mails, replies);
  https.on('connection', admit);
  smtp.server.on('connection', admit);
  smtps.server.on('connection', admit);
  const ports = {
    https: await listen(https, own),
    smtp: await listen(smtp.server, own),
    smtps: await listen(smtps.server, own),
  };
  const base = `https://${address}:${ports.https}`;
  return {
    authority: by,
    mails,
    ...kept,
    ports,
    answer: (kind, reply) => {
      if (reply) replies.set(kind, reply);
      else replies.delete(kind);
    },
    setDown: (down) => {
      isDown = down;
      if (down) for (const socket of sockets) socket.destroy();
    },
    settings: (more = {}) => ({
      channels: [
        {
          type: 'mail',
          host: address,
          port: ports.smtp,
          user,
          password: secrets.password,
          from: 'gateway@example.org',
          to: ['owner@example.org'],
          ca: by.ca,
        },
        {
          type: 'webhook',
          url: `${base}/${secrets.webhookPath}`,
          secret: secrets.webhookSecret,
          ca: by.ca,
        },
        { type: 'slack', url: `${base}/services/T0/B0/${secrets.slackPath}`, ca: by.ca },
        { type: 'ntfy', server: base, topic: secrets.topic, token: secrets.token, ca: by.ca },
      ],
      ...more,
    }),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      https.closeAllConnections();
      await Promise.all([
        new Promise((done) => https.close(done)),
        new Promise<void>((done) => smtp.close(done)),
        new Promise<void>((done) => smtps.close(done)),
      ]);
    },
  };
}

/** Of the settings of {@link Receivers}: where the heartbeat goes. */
export const heartbeatUrl = (
  { ports }: Pick<Receivers, 'ports'>,
  address: ReceiverOptions['address'] = '127.0.0.1',
): string => `https://${address}:${ports.https}/ping/${secrets.heartbeat}`;

async function listen(
  server: {
    listen(port: number, host: string, done: () => void): unknown;
    address(): AddressInfo | string | null;
  },
  host: string,
): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

function httpsServer(
  { key, cert }: Authority,
  kept: Record<Exclude<Kind, 'mail'>, Post[]>,
  replies: ReadonlyMap<Kind, Reply>,
): HttpsServer {
  const server = createServer({ key, cert }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const raw = Buffer.concat(chunks).toString();
      const path = request.url ?? '/';
      const kind = kindOf(path);
      if (!kind) return response.writeHead(404).end('no such address');
      const reply = replies.get(kind);
      // Taken means answered with an OK: what is refused has not arrived.
      if (reply && (reply.status < 200 || reply.status > 299))
        return response.writeHead(reply.status, reply.headers).end(reply.body ?? '');
      kept[kind].push({
        method: request.method ?? '',
        path,
        headers: Object.fromEntries(
          Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
        ),
        raw,
        body: parsed(raw),
      });
      return response
        .writeHead(reply?.status ?? 200, reply?.headers)
        .end(reply?.body ?? (kind === 'ntfy' ? '{"id":"x"}' : 'ok'));
    });
  });
  server.on('tlsClientError', () => undefined);
  return server;
}

function parsed(raw: string): Record<string, unknown> {
  try {
    return JSON.parse(raw) as Record<string, unknown>;
  } catch {
    return {};
  }
}

function kindOf(path: string): Exclude<Kind, 'mail'> | undefined {
  if (path === `/${secrets.webhookPath}`) return 'webhook';
  if (path === `/services/T0/B0/${secrets.slackPath}`) return 'slack';
  if (path === '/') return 'ntfy';
  return path.startsWith(`/ping/${secrets.heartbeat}`) ? 'heartbeat' : undefined;
}

function mailServer(
  { key, cert }: Authority,
  secure: boolean,
  mails: Mail[],
  replies: ReadonlyMap<Kind, Reply>,
): SMTPServer {
  const server = new SMTPServer({
    key,
    cert,
    secure,
    authMethods: ['PLAIN', 'LOGIN'],
    logger: false,
    // Names of who connects are asked of no DNS server.
    disableReverseLookup: true,
    onAuth: ({ username, password }, _session, done) => {
      if (username === user && password === secrets.password) return done(null, { user: username });
      return done(new Error(`Invalid username or password ${password ?? ''}`));
    },
    onData: (stream, session, done) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const reply = replies.get('mail');
        if (reply && reply.status >= 400)
          return done(Object.assign(new Error(reply.body ?? 'no'), { responseCode: reply.status }));
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({
          ...parseMail(Buffer.concat(chunks).toString()),
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map((one) => one.address),
          user: typeof session.user === 'string' ? session.user : undefined,
        });
        return done(null, 'kept');
      });
    },
  });
  server.on('error', () => undefined);
  return server;
}

/** As far as our own mails go: text in base64, encoded words in the subject. */
function parseMail(raw: string): Omit<Mail, 'from' | 'to' | 'user'> {
  const [head = '', ...body] = raw.split('\r\n\r\n');
  const lines = head.replace(/\r\n[ \t]+/g, ' ').split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const words = [...(headers.subject ?? '').matchAll(/=\?utf-8\?B\?([^?]*)\?=/g)];
  return {
    id: /^<([^@]+)@/.exec(headers['message-id'] ?? '')?.[1] ?? '',
    headers,
    subject: words.map(([, word = '']) => Buffer.from(word, 'base64').toString()).join(''),
    text: Buffer.from(body.join('\r\n\r\n'), 'base64').toString(),
    raw,
  };
}

export function condition(source: string, more: Partial<Condition> = {}): Condition {
  return {
    source,
    active: true,
    severity: 'warning',
    text: more.active === false ? `${source} is well again` : `${source} has failed`,
    needs: [],
    ...more,
  };
}
