import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SettingsInput } from '../../gateway/alerts/testing.ts';
import type { LabHost } from './namespace.ts';

export const channels = ['mail', 'webhook', 'slack'] as const;
export type ChannelName = (typeof channels)[number];

/** An event of an alert as the webhook's JSON has it: docs/alerts.md. */
export type ToldEvent = {
  event: 'fired' | 'raised' | 'flapping' | 'steady' | 'reminder' | 'resolved';
  alert: string;
  source: string;
  severity: string;
  text: string;
  fired_at: string;
  time: string;
};

/** A message that has arrived. */
export type Received = {
  channel: ChannelName;
  /** Milliseconds since 1970 by this machine's clock. */
  at: number;
  /** The message's own: Message-ID, or Idempotency-Key. */
  id: string;
  text: string;
  /** Only the webhook's messages have them. */
  events: readonly ToldEvent[];
};

/** A mail server, a webhook and one of Slack's shape on a host of the lab. */
export type LabReceivers = {
  /** `alerts.channels` of who tells them. */
  channels: NonNullable<SettingsInput['channels']>;
  /** All that has arrived, in order. */
  all(): Received[];
  /** Down: connections are closed at once. Takes a tenth of a second. */
  setDown(down: boolean): Promise<void>;
  /** Waits for an event of the source to arrive by webhook. @param from Index in all() from which on it counts. */
  event(o: {
    source: string;
    kinds: readonly ToldEvent['event'][];
    from: number;
    seconds: number;
  }): Promise<ToldEvent>;
  /** Waits until the event has arrived everywhere. @returns when, by channel. */
  everywhere(event: ToldEvent, from: number, seconds: number): Promise<Record<ChannelName, number>>;
  close(): Promise<void>;
};

/** Starts them at an address that the host has. */
export async function startLabReceivers(host: LabHost, address: string): Promise<LabReceivers> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-receivers-'));
  const switchFile = join(folder, 'down');
  const program = fileURLToPath(new URL('receivers-main.ts', import.meta.url));
  const running = host.start(process.execPath, [program, address, switchFile]);
  await running.said(/^\{"channels".*\}$/m, 60);
  const lines = () =>
    running
      .text()
      .split('\n')
      // The last one may be half of one; others are warnings of node's.
      .slice(0, -1)
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Partial<Received> & Pick<LabReceivers, 'channels'>);
  const all = () => lines().filter((line) => line.at !== undefined) as unknown as Received[];
  const until = async <T>(what: string, seconds: number, look: () => T | undefined): Promise<T> => {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (Date.now() > end)
        throw new Error(
          `${what} has not arrived within ${seconds} s; what has: ${JSON.stringify(all().slice(-20), null, 1)}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  return {
    channels: lines()[0]?.channels ?? [],
    all,
    setDown: async (down) => {
      if (down) await writeFile(switchFile, '');
      else await rm(switchFile, { force: true });
      await new Promise((resolve) => setTimeout(resolve, 150));
    },
    event: ({ source, kinds, from, seconds }) =>
      until(`${kinds.join(' or ')} of ${source}`, seconds, () =>
        all()
          .slice(from)
          .flatMap(({ events }) => events)
          .find((one) => one.source === source && kinds.includes(one.event)),
      ),
    everywhere: (event, from, seconds) =>
      until(`everywhere: '${event.text}'`, seconds, () => {
        const messages = all().slice(from);
        const found = channels.flatMap((channel) => {
          const first = messages.find((one) => one.channel === channel && tells(one, event.text));
          return first ? [[channel, first.at] as const] : [];
        });
        return found.length === channels.length
          ? (Object.fromEntries(found) as Record<ChannelName, number>)
          : undefined;
      }),
    close: async () => {
      await running.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Whether a message has the text of an event, in any of the channels' spellings. */
export function tells({ channel, text }: Received, wanted: string): boolean {
  const line = wanted.replace(/\s+/g, ' ').trim();
  const spelled =
    channel === 'slack'
      ? line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
      : line;
  return text.includes(spelled);
}
