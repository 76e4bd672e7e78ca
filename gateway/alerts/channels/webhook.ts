import { createHmac } from 'node:crypto';
import { type Message, render } from '../message.ts';
import type { ChannelOf } from '../settings.ts';
import { type Channel, guarded } from './channel.ts';
import { exchange, outcomeOf } from './http.ts';

/**
 * Any server that takes JSON. Headers are those of standardwebhooks.com: an id that stays the same when a
 * message is sent again, the time of the attempt, and a signature over both and the body. Idempotency-Key
 * (draft-ietf-httpapi-idempotency-key-header) has the same id, as a structured field's string.
 */
export function webhookChannel(
  settings: ChannelOf<'webhook'>,
  secrets: readonly string[],
): Channel {
  const { url, secret } = settings;
  return guarded(secrets, async (message, world) => {
    const body = JSON.stringify(webhookBody(message, world.host, world.timeZone));
    const timestamp = String(Math.floor(world.now() / 1000));
    const response = await exchange(
      {
        url,
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'idempotency-key': `"${message.id}"`,
          'webhook-id': message.id,
          'webhook-timestamp': timestamp,
          ...(secret === undefined
            ? {}
            : { 'webhook-signature': signature(secret, message.id, timestamp, body) }),
        },
        body,
      },
      settings,
      world,
    );
    return outcomeOf(response, world.now());
  });
}

/** standardwebhooks.com, symmetric: what follows `whsec_` is the key in base64; another secret is the key itself. */
export function signature(secret: string, id: string, timestamp: string, body: string): string {
  const [, encoded] = /^whsec_(.+)$/.exec(secret) ?? [];
  const key = encoded === undefined ? Buffer.from(secret) : Buffer.from(encoded, 'base64');
  const digest = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
  return `v1,${digest}`;
}

export function webhookBody(message: Message, host: string, timeZone: string | undefined): object {
  const { title, text, severity, over } = render(message, host, timeZone);
  const iso = (at: number) => new Date(at).toISOString();
  return {
    id: message.id,
    type: message.events.length === 0 ? 'test' : 'alerts',
    host,
    time: iso(message.at),
    title,
    text,
    severity,
    over,
    summary: message.summary,
    dropped: message.dropped,
    events: message.events.map((event) => ({
      event: event.kind,
      alert: event.alert,
      source: event.source,
      severity: event.severity,
      text: event.text,
      fired_at: iso(event.firedAt),
      time: iso(event.at),
    })),
  };
}
