import { access, chmod, constants, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { at, type System } from '../../../firstboot/system.ts';
import type { AlertEvent } from '../engine.ts';
import { plain } from '../message.ts';
import type { Outcome } from '../queue.ts';
import type { Channel } from './channel.ts';

/** Whose files /usr/lib/pi-gateway/deliver-alerts gives to the executables in /etc/pi-gateway/alerts.d. */
export const eventsFolder = '/run/pi-gateway/events';

/** As a hook knows them: what has been told once more is no news to a program. */
const hookEvents: Readonly<Record<string, 'fired' | 'resolved'>> = {
  fired: 'fired',
  flapping: 'fired',
  resolved: 'resolved',
};

/**
 * One file for each event, in the format that /etc/pi-gateway/alerts.d/README has. A file's name is the same
 * when a message is written again.
 */
export function hooksChannel(system: System): Channel {
  const folder = at(system, eventsFolder);
  return {
    send: async (message, { host }): Promise<Outcome> => {
      const test: Pick<AlertEvent, 'kind' | 'source' | 'text' | 'at'> = {
        kind: 'fired',
        source: 'test',
        text: 'This is a test',
        at: message.at,
      };
      const events = message.events.length === 0 ? [test] : message.events;
      try {
        await access(folder, constants.W_OK);
        for (const [index, event] of events.entries()) {
          const kind = hookEvents[event.kind];
          if (!kind) continue;
          // Read in the order of their names, among those of `date +%s%N`.
          const name = `${event.at}000000-${message.id}-${index}.json`;
          await writeWhole(join(folder, name), hookLine(kind, event, host));
        }
        return { kind: 'delivered', answer: 'given to the hooks' };
      } catch (error) {
        const { code = 'unknown' } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT')
          return { kind: 'refused', reason: `there are no hooks here: no ${eventsFolder}` };
        return { kind: 'retry', reason: `${eventsFolder} cannot be written (${code})` };
      }
    },
  };
}

export function hookLine(
  event: 'fired' | 'resolved',
  { source, text, at: when }: Pick<AlertEvent, 'source' | 'text' | 'at'>,
  host: string,
): string {
  const time = new Date(when).toISOString().replace(/\.\d+Z$/, 'Z');
  const line = { event, alert: plain(source), text: plain(text), host: plain(host), time };
  return `${JSON.stringify(line)}\n`;
}

/** Seen whole or not at all; it lies in memory, so there is nothing to sync. The folder's group reads it. */
async function writeWhole(path: string, content: string): Promise<void> {
  try {
    await writeFile(`${path}.new`, content, { mode: 0o640 });
    await chmod(`${path}.new`, 0o640);
    await rename(`${path}.new`, path);
  } catch (error) {
    await rm(`${path}.new`, { force: true });
    throw error;
  }
}
