import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { existsSync } from 'node:fs';
import type { Files } from '../files.ts';
import { type CheckDefinition, type Finding, failed, ok, unknown, warning } from './check.ts';

/** Seconds between two questions to the server: it is somebody else's. */
const rare = 1800;

/** Seconds by which certificates and one-time passwords begin to fail, and a log misleads. */
const far = 5;

/** Seconds between 1900, when NTP's time begins (RFC 5905 §6), and 1970. */
const epoch = 2_208_988_800;

const timeout = 3000;

/** timesyncd's mark that it has set the clock (systemd-timesyncd.service(8)). */
const synchronized = '/run/systemd/timesync/synchronized';

/**
 * Whether the clock is right, found by asking a time server of our own accord: chrony tells only root, and
 * that a service runs does not mean that it has set anything.
 */
export class Clock {
  readonly #files: Files;
  #known = false;
  #next = 0;
  #last: Finding | undefined;

  constructor(files: Files) {
    this.#files = files;
  }

  /** The time is known to be right, now or since the daemon began. */
  get known(): boolean {
    this.#known ||= existsSync(this.#files.path(synchronized));
    return this.#known;
  }

  /** @param port Of NTP; tests have their own server. */
  check(server: string, every: number, port = 123): CheckDefinition {
    return {
      id: 'clock',
      title: 'Clock',
      needs: ['uplink', 'dns'],
      every,
      confirm: 2,
      look: async () => {
        if (server === '')
          return unknown('It is compared with no time server (monitor.time_server)');
        const now = performance.now() / 1000;
        if (this.#last && now < this.#next) return this.#last;
        let offset: number;
        try {
          offset = await askTime(server, port);
        } catch (error) {
          // The clock goes on well for hours without anybody to ask.
          return unknown(
            `${server} says no time: ${error instanceof Error ? error.message : error}`,
          );
        }
        this.#known ||= Math.abs(offset) < far;
        const word = `${Math.abs(offset).toFixed(Math.abs(offset) < 10 ? 3 : 0)} s ${offset > 0 ? 'behind' : 'ahead of'}`;
        const found =
          Math.abs(offset) < far
            ? ok(`It is right to ${Math.max(1, Math.round(Math.abs(offset) * 1000))} ms`)
            : Math.abs(offset) < 60
              ? warning(`It is ${word} ${server}`)
              : failed(`It is ${word} ${server}: what has a date, fails. See: chronyc tracking`);
        this.#last = { ...found, samples: [{ measure: 'clock.offset', value: offset }] };
        // Wrong: look again soon, as it is being set.
        this.#next = now + (found.health === 'ok' ? rare : 0);
        return this.#last;
      },
    };
  }
}

/** Seconds by which this clock is behind the server's (RFC 5905 §8). */
export async function askTime(server: string, port: number): Promise<number> {
  const { address, family } = await lookup(server);
  const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
  try {
    const query = Buffer.alloc(48);
    // No leap warning, version 4, client.
    query[0] = 0b00_100_011;
    const sent = Date.now() / 1000;
    writeTime(query, 40, sent);
    const [answer, received] = await new Promise<[Buffer, number]>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no answer within ${timeout / 1000} s`)),
        timeout,
      );
      socket.on('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      socket.on('message', (message) => {
        // The server repeats our time, which who does not see the query cannot know.
        if (message.length < 48 || !message.subarray(24, 32).equals(query.subarray(40, 48))) return;
        clearTimeout(timer);
        resolve([message, Date.now() / 1000]);
      });
      // Answers of others are not taken.
      socket.connect(port, address, () => socket.send(query));
    });
    const stratum = answer[1] ?? 0;
    const unset = (answer[0] ?? 0) >> 6 === 3;
    // 0: a kiss of death; 16: not synchronised (RFC 5905 §7.3, §7.4).
    if (stratum < 1 || stratum > 15 || unset) throw new Error('it does not know the time itself');
    return (readTime(answer, 32) - sent + (readTime(answer, 40) - received)) / 2;
  } finally {
    socket.close();
  }
}

function writeTime(buffer: Buffer, at: number, seconds: number): void {
  const whole = Math.floor(seconds);
  buffer.writeUInt32BE((whole + epoch) % 2 ** 32, at);
  buffer.writeUInt32BE(Math.floor((seconds - whole) * 2 ** 32), at + 4);
}

/** Of the era that began in 2036 if the first bit is 0 (RFC 4330 §3). */
function readTime(buffer: Buffer, at: number): number {
  const seconds = buffer.readUInt32BE(at);
  return (
    seconds + (seconds < 2 ** 31 ? 2 ** 32 : 0) - epoch + buffer.readUInt32BE(at + 4) / 2 ** 32
  );
}
