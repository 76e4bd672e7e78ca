import { existsSync, writeSync } from 'node:fs';
import { type Mail, type Post, startReceivers } from '../../gateway/alerts/testing.ts';
import type { Received } from './receivers.ts';

/**
 * Servers for alerts as a process on a host of the lab: `receivers-main.ts ADDRESS FILE`. It prints a line of JSON
 * with the settings that lead to it, then one for each message that came. While FILE is there, nobody is.
 */
const [, , address = '', switchFile = ''] = process.argv;
const say = (value: unknown) => void writeSync(1, `${JSON.stringify(value)}\n`);

const receivers = await startReceivers({ address });

const ofMail = ({ id, text }: Mail): Omit<Received, 'at'> => ({
  channel: 'mail',
  id,
  text: text.replaceAll('\r\n', '\n'),
  events: [],
});
const ofPost =
  (channel: 'webhook' | 'slack') =>
  ({ headers, body }: Post): Omit<Received, 'at'> => ({
    channel,
    // draft-ietf-httpapi-idempotency-key-header: a string in quotes.
    id: (headers['idempotency-key'] ?? '').replaceAll('"', ''),
    text: String(body.text),
    events: channel === 'webhook' ? (body.events as Received['events']) : [],
  });

let isDown = false;
const taken = { mail: 0, webhook: 0, slack: 0 };
setInterval(() => {
  const down = existsSync(switchFile);
  if (down !== isDown) receivers.setDown(down);
  isDown = down;
  const all = {
    mail: receivers.mails.map(ofMail),
    webhook: receivers.webhook.map(ofPost('webhook')),
    slack: receivers.slack.map(ofPost('slack')),
  };
  for (const channel of ['mail', 'webhook', 'slack'] as const) {
    for (const one of all[channel].slice(taken[channel])) say({ ...one, at: Date.now() });
    taken[channel] = all[channel].length;
  }
}, 50);

const { channels = [] } = receivers.settings();
say({ channels: channels.filter(({ type }) => type !== 'ntfy') });
