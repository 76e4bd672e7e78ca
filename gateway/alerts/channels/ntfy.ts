import { cut, render } from '../message.ts';
import type { ChannelOf } from '../settings.ts';
import { type Channel, guarded } from './channel.ts';
import { exchange, outcomeOf } from './http.ts';

/** Bytes; what is longer becomes an attachment: https://docs.ntfy.sh/publish/#limitations */
const longestMessage = 4096;

/** https://docs.ntfy.sh/emojis/ */
const tags = {
  info: 'information_source',
  warning: 'warning',
  critical: 'rotating_light',
} as const;

/** A topic that is none, or not to be had (server/errors.go of ntfy: 40009, 40010). */
const stops = /"code":\s*(40009|40010)\b/;

/**
 * Published as JSON to the server's root, so that the topic, which is as good as a password, is in no URL. A
 * message that comes with a sequence id again takes the place of the first (from ntfy 2.16 on).
 */
export function ntfyChannel(settings: ChannelOf<'ntfy'>, secrets: readonly string[]): Channel {
  const { server, topic, token, priorities } = settings;
  return guarded(secrets, async (message, world) => {
    const { title, text, severity, over } = render(message, world.host, world.timeZone);
    const priority = priorities[severity];
    const body = JSON.stringify({
      topic,
      title,
      message: bytesCut(text.trim(), longestMessage),
      // What is over wakes nobody.
      priority: over ? Math.min(priority, priorities.warning) : priority,
      tags: [over ? 'white_check_mark' : tags[severity]],
      sequence_id: message.id,
    });
    const response = await exchange(
      {
        url: server,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'idempotency-key': `"${message.id}"`,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body,
      },
      settings,
      world,
    );
    return outcomeOf(response, world.now(), stops);
  });
}

function bytesCut(text: string, most: number): string {
  let so = text;
  while (Buffer.byteLength(so) > most)
    so = cut(so, so.length - Math.max(1, Math.ceil((Buffer.byteLength(so) - most) / 4)));
  return so;
}
