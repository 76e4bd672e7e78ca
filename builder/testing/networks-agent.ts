import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/**
 * A host of a {@link openNetworks} network: does what its standard input asks, and ends with it.
 * A server says to each client which address it comes from, and then sends back what it gets.
 */

type Target = { protocol: 'tcp' | 'udp'; to: string; port: number };

export type Request =
  | { do: 'listen'; protocol: 'tcp' | 'udp'; ports: readonly number[] }
  /** Opens a connection (or sends a datagram) and waits for the answer. */
  | (Target & { do: 'try'; from?: string; fromPort?: number; timeout: number })
  /** Sends one datagram and waits for nothing. */
  | (Target & { do: 'send'; from?: string; fromPort?: number; broadcast?: boolean })
  /** Opens many at once, in turn from each source. */
  | (Target & { do: 'burst'; count: number; sources: readonly string[]; timeout: number })
  /** Opens a TCP connection and keeps it. */
  | (Target & { do: 'hold'; from?: string; timeout: number })
  /** Whether the kept connection still brings an answer. */
  | { do: 'alive'; timeout: number }
  /** Sources of the datagrams that came to a port, since the last time. */
  | { do: 'received'; port: number };

export type Answer = {
  listen: true;
  /** The address that the server saw, or null if no answer came. */
  try: string | null;
  send: true;
  /** The sources of those that were answered. */
  burst: string[];
  hold: boolean;
  alive: boolean;
  received: string[];
};

const received = new Map<number, string[]>();
let held: Socket | undefined;

async function listen(protocol: 'tcp' | 'udp', port: number): Promise<void> {
  await Promise.all(
    ['0.0.0.0', '::'].map(
      (host) =>
        new Promise<void>((ready) => {
          if (protocol === 'tcp') {
            const server = createServer((socket) => {
              socket.on('error', () => undefined);
              socket.write(`${socket.remoteAddress}\n`);
              socket.pipe(socket);
            });
            server.listen({ host, port, ipv6Only: true, backlog: 1024 }, ready);
            return;
          }
          const socket = createSocket({
            type: host === '::' ? 'udp6' : 'udp4',
            ipv6Only: host === '::',
          });
          socket.on('message', (_, from) => {
            received.set(port, [...(received.get(port) ?? []), from.address]);
            socket.send(`${from.address}\n`, from.port, from.address);
          });
          socket.bind(port, host, ready);
        }),
    ),
  );
}

function open(target: Target, from?: string): Socket {
  const socket = connect({
    host: target.to,
    port: target.port,
    ...(from === undefined ? {} : { localAddress: from }),
  });
  socket.on('error', () => undefined);
  return socket;
}

function datagrams(target: Target): Datagrams {
  const socket = createSocket(target.to.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', () => undefined);
  return socket;
}

/** Resolves with what `start` found, or null when the time is over. */
async function within<T>(
  timeout: number,
  start: (found: (value: T | null) => void) => void,
): Promise<T | null> {
  return await new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), timeout);
    start((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

async function attempt(
  target: Target & { from?: string; fromPort?: number; timeout: number },
): Promise<string | null> {
  if (target.protocol === 'tcp') {
    const socket = open(target, target.from);
    const seen = await within<string>(target.timeout, (found) => {
      socket.once('data', (data) => found(data.toString().trim()));
      socket.once('close', () => found(null));
    });
    socket.destroy();
    return seen;
  }
  const socket = datagrams(target);
  const seen = await within<string>(target.timeout, (found) => {
    socket.once('message', (data) => found(data.toString().trim()));
    socket.bind(target.fromPort ?? 0, target.from, () =>
      socket.send('hello', target.port, target.to),
    );
  });
  socket.close();
  return seen;
}

const does: { [Kind in Request['do']]: (r: Request & { do: Kind }) => Promise<Answer[Kind]> } = {
  listen: async (r) => {
    await Promise.all(r.ports.map((port) => listen(r.protocol, port)));
    return true;
  },
  try: attempt,
  send: async (r) => {
    const socket = datagrams(r);
    await new Promise<void>((sent, failed) => {
      socket.once('error', failed);
      socket.bind(r.fromPort ?? 0, r.from, () => {
        socket.setBroadcast(r.broadcast ?? false);
        socket.send('hello', r.port, r.to, () => sent());
      });
    });
    socket.close();
    return true;
  },
  burst: async (r) => {
    const tries = Array.from({ length: r.count }, (_, index) => {
      const from = r.sources[index % r.sources.length];
      return attempt({ ...r, ...(from === undefined ? {} : { from }) });
    });
    return (await Promise.all(tries)).filter((seen) => seen !== null);
  },
  hold: async (r) => {
    held = open(r, r.from);
    const socket = held;
    return (
      (await within<true>(r.timeout, (found) => {
        socket.once('data', () => found(true));
      })) === true
    );
  },
  alive: async (r) => {
    const socket = held;
    if (!socket) return false;
    return (
      (await within<true>(r.timeout, (found) => {
        socket.once('data', () => found(true));
        socket.write('still there?\n');
      })) === true
    );
  },
  received: async (r) => {
    const sources = received.get(r.port) ?? [];
    received.delete(r.port);
    return sources;
  },
};

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const { id, request } = JSON.parse(line) as { id: number; request: Request };
  const answer = does[request.do] as (r: Request) => Promise<unknown>;
  void answer(request).then(
    (found) => say({ id, answer: found }),
    (error: unknown) => say({ id, error: String(error) }),
  );
});
lines.on('close', () => process.exit(0));
say({ id: -1, answer: true });
