import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { Agent, type AgentOptions, request } from 'node:https';
import { connect as connectTo, isIP, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { LabHost, Running } from './namespace.ts';

/**
 * Makes TCP connections from a host of the lab for the test's own process, which is in another network: one
 * line says where to, one what came of it, and then the bytes of the connection pass as they are. TLS is
 * spoken by the test itself, so that it is the device's certificate that is checked.
 */
const program = `
import net from 'node:net';
const [, path] = process.argv;
const serve = (near) => {
  near.on('error', () => undefined);
  let line = '';
  const read = () => {
    for (let byte; (byte = near.read(1)) !== null; ) {
      if (byte[0] !== 10) { line += String.fromCharCode(byte[0]); continue; }
      near.off('readable', read);
      const far = net.connect({ ...JSON.parse(line), allowHalfOpen: true });
      near.on('close', () => far.destroy());
      far.on('error', (error) => near.writable && !far.open ? near.end(error.code + '\\n') : near.destroy());
      far.on('connect', () => {
        far.open = true;
        far.setNoDelay(true);
        near.write('connected\\n');
        near.pipe(far);
        far.pipe(near);
      });
      return;
    }
  };
  near.on('readable', read);
};
net.createServer({ allowHalfOpen: true }, serve).listen(path, () => console.log('ready'));
`;

export type Way = {
  host: string;
  port: number;
  /** Source address. */
  localAddress?: string;
};

export type Relay = {
  /** @throws RefusedError with the code of the host's own connect(2), e.g. ECONNREFUSED or ETIMEDOUT. */
  connect(way: Way): Promise<Socket>;
  close(): Promise<void>;
};

/** The host's connection did not come about. */
export class RefusedError extends Error {
  readonly code: string;

  constructor({ host, port }: Way, code: string) {
    super(`No connection to ${host} port ${port}: ${code}`);
    this.name = 'RefusedError';
    this.code = code;
  }
}

let count = 0;

export async function openRelay(host: LabHost): Promise<Relay> {
  // sun_path of unix(7) has 108 bytes.
  const path = join(tmpdir(), `pg-relay-${process.pid}-${count++}.sock`);
  const running: Running = host.start(process.execPath, [
    ...['--input-type=module', '--eval', program, '--', path],
  ]);
  await running.said('ready', 20);
  return {
    connect: async (way) => {
      const socket = connectTo({ path });
      await once(socket, 'connect');
      socket.write(`${JSON.stringify(way)}\n`);
      const said = await lineFrom(socket);
      if (said === 'connected') return socket;
      socket.destroy();
      throw new RefusedError(way, said);
    },
    close: async () => {
      await running.stop();
      await rm(path, { force: true });
    },
  };
}

/** One line, and not a byte more: what follows is the connection's. */
async function lineFrom(socket: Socket): Promise<string> {
  return await new Promise((resolve, reject) => {
    let line = '';
    const end = (give: () => void) => {
      for (const [event, listener] of listeners) socket.off(event, listener);
      give();
    };
    const read = () => {
      for (;;) {
        const byte = socket.read(1) as Buffer | null;
        if (byte === null) return;
        if (byte[0] === 10) return end(() => resolve(line));
        line += byte.toString('latin1');
      }
    };
    const lost = () => end(() => reject(new Error('The relay has ended')));
    const listeners: [string, () => void][] = [
      ['readable', read],
      ['close', lost],
      ['error', lost],
    ];
    for (const [event, listener] of listeners) socket.on(event, listener);
  });
}

/** How a plain connection attempt from a host ends; `timeout` is silence for so many seconds. */
export async function knock(relay: Relay, way: Way, seconds: number): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('timeout'), seconds * 1000);
  });
  const connecting = relay.connect(way).then(
    (socket) => {
      socket.destroy();
      return 'connected';
    },
    (error: unknown) => (error instanceof RefusedError ? error.code : String(error)),
  );
  return await Promise.race([connecting, silence]).finally(() => clearTimeout(timer));
}

/** Connections of an https.Agent, made by the relay. */
class RelayAgent extends Agent {
  readonly #relay: Relay;
  readonly #way: Way;

  constructor(relay: Relay, way: Way, options: AgentOptions) {
    super(options);
    this.#relay = relay;
    this.#way = way;
  }

  override createConnection(
    _options: unknown,
    done?: (error: Error | null, stream: TLSSocket) => void,
  ): undefined {
    speakTls(this.#relay, this.#way, String(this.options.ca)).then(
      (socket) => done?.(null, socket),
      (error: Error) => done?.(error, undefined as unknown as TLSSocket),
    );
    return undefined;
  }
}

/** A TLS connection whose other end has proved to be the way's host by a certificate of the authority. */
export async function speakTls(relay: Relay, way: Way, ca: string): Promise<TLSSocket> {
  const socket = await relay.connect(way);
  return await new Promise((resolve, reject) => {
    const tls = connectTls({
      socket,
      ca,
      host: way.host,
      // RFC 6066 §3: an address is no server name; it is compared with the certificate all the same.
      servername: isIP(way.host) === 0 ? way.host : '',
    });
    tls.once('error', reject);
    tls.once('secureConnect', () => {
      tls.off('error', reject);
      resolve(tls);
    });
  });
}

/** A connection that had served before was lost. */
class ReusedError extends Error {}

export type Asked = {
  method: string;
  /** Whole path, with the query. */
  path: string;
  headers?: Readonly<Record<string, string>>;
  /** Sent as JSON, unless it is text already. */
  body?: unknown;
};

export type Answered = {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  text: string;
  /** Milliseconds from the request to the end of the answer. */
  ms: number;
};

/** Asks an HTTPS server from a host of the lab, over one connection that stays open. */
export class RelayClient {
  readonly #agent: Agent;
  readonly #host: string;

  constructor(relay: Relay, way: Way, ca: string) {
    this.#agent = new RelayAgent(relay, way, { keepAlive: true, maxSockets: 1, ca });
    this.#host = `${way.host.includes(':') ? `[${way.host}]` : way.host}:${way.port}`;
  }

  /** Asked once more if the connection was ended just when it was used again, which only reading may be. */
  async ask(asked: Asked): Promise<Answered> {
    try {
      return await this.#ask(asked);
    } catch (error) {
      if (asked.method !== 'GET' || !(error instanceof ReusedError)) throw error;
      return await this.#ask(asked);
    }
  }

  async #ask({ method, path, headers = {}, body }: Asked): Promise<Answered> {
    const text =
      body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
    const begun = performance.now();
    return await new Promise((resolve, reject) => {
      const sent = request(
        {
          agent: this.#agent,
          method,
          path,
          headers: {
            host: this.#host,
            ...(text === undefined
              ? {}
              : {
                  'content-type': 'application/json',
                  'content-length': String(Buffer.byteLength(text)),
                }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              text: Buffer.concat(chunks).toString('utf8'),
              ms: performance.now() - begun,
            }),
          );
        },
      );
      sent.on('error', (error) =>
        reject(sent.reusedSocket ? new ReusedError(error.message, { cause: error }) : error),
      );
      sent.end(text);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
