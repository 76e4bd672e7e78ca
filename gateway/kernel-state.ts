import { connect } from 'node:net';
import * as z from 'zod';
import { GatewayError } from './errors.ts';

/** One peer of WireGuard as the kernel has it: wg(8), `show all dump`, without keys that are secret. */
export type PeerState = {
  interface: string;
  publicKey: string;
  /** Address and port that it was last heard from. */
  endpoint: string | undefined;
  allowedIps: readonly string[];
  /** Seconds since 1970; 0: never. */
  handshake: number;
  /** Bytes since the interface came up. */
  received: number;
  sent: number;
};

/**
 * What only root can read of the kernel and changes all the time: asked over a socket whose service knows
 * these words alone, and needs neither node nor memory between two questions.
 */
export type KernelState = {
  /** @throws GatewayError if the socket's service does not answer. */
  wireguard(): Promise<readonly PeerState[]>;
  /** Packets and bytes by name of the counter in table inet gateway. */
  counters(): Promise<Record<string, { packets: number; bytes: number }>>;
};

export const stateSocket = '/run/pi-gateway/state.sock';

/** Milliseconds; wg(8) and nft(8) answer in a few, on a Pi that starts much else in some hundreds. */
const patience = 10_000;

/** Bytes of an answer: some thousand peers, with room. */
const longestAnswer = 4 * 1024 * 1024;

/** Asks /usr/lib/pi-gateway/kernel-state, which systemd starts for each question. */
export function kernelState(path: string = stateSocket): KernelState {
  return {
    wireguard: async () => merged(parseWireguard(await ask(path, 'wireguard'))),
    counters: async () => parseCounters(await ask(path, 'counters')),
  };
}

function ask(path: string, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (why: string) => {
      socket.destroy();
      reject(
        new GatewayError(
          `The state of the kernel cannot be read (${word}): ${why}`,
          'See sudo systemctl status pi-gateway-state.socket',
        ),
      );
    };
    const parts: Buffer[] = [];
    let size = 0;
    const socket = connect(path, () => socket.write(`${word}\n`));
    const timer = setTimeout(() => fail(`no answer within ${patience / 1000} s`), patience);
    socket.on('data', (part: Buffer) => {
      parts.push(part);
      size += part.length;
      if (size > longestAnswer) fail(`its answer has more than ${longestAnswer} bytes`);
    });
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => {
      clearTimeout(timer);
      const text = Buffer.concat(parts).toString('utf8');
      // A half of an answer would look like peers that are gone.
      if (/(^|\n)ok\n$/.test(text)) resolve(text.slice(0, -'ok\n'.length));
      else fail('its answer is not whole');
    });
  });
}

/** wg(8), `show all dump`, of which the secret keys are `-`. */
function parseWireguard(text: string): PeerState[] {
  return text.split('\n').flatMap((line): PeerState[] => {
    const fields = line.split('\t');
    if (fields.length !== 9) return [];
    const [name = '', key = '', , endpoint, allowed = '', handshake, received, sent] = fields;
    return [
      {
        interface: name,
        publicKey: key,
        endpoint: endpoint === '(none)' ? undefined : endpoint,
        allowedIps: allowed === '(none)' ? [] : allowed.split(','),
        handshake: Number(handshake),
        received: Number(received),
        sent: Number(sent),
      },
    ];
  });
}

/**
 * While the server's key is replaced, clients are peers of two interfaces, wg0 and wg0next; where one was last
 * heard is where it is.
 */
function merged(peers: readonly PeerState[]): PeerState[] {
  const byKey = new Map<string, PeerState>();
  for (const peer of peers) {
    const id = `${peer.interface.replace(/next$/, '')} ${peer.publicKey}`;
    const other = byKey.get(id);
    const latest = other && other.handshake > peer.handshake ? other : peer;
    byKey.set(id, {
      ...latest,
      interface: peer.interface.replace(/next$/, ''),
      received: peer.received + (other?.received ?? 0),
      sent: peer.sent + (other?.sent ?? 0),
    });
  }
  return [...byKey.values()];
}

/** libnftables-json(5). */
const counterList = z.object({
  nftables: z.array(
    z.object({
      counter: z.object({ name: z.string(), packets: z.number(), bytes: z.number() }).optional(),
    }),
  ),
});

function parseCounters(text: string): Record<string, { packets: number; bytes: number }> {
  const list = counterList.parse(JSON.parse(text)).nftables;
  return Object.fromEntries(
    list.flatMap(({ counter }) =>
      counter ? [[counter.name, { packets: counter.packets, bytes: counter.bytes }]] : [],
    ),
  );
}
