import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { secretsOf } from './secrets.ts';
import { alertSettings } from './settings.ts';

const problem = (value: unknown): string => {
  const parsed = alertSettings.safeParse(value);
  if (parsed.success) return '';
  const [issue] = parsed.error.issues;
  return `${issue?.path.join('.')}: ${issue?.message}`;
};
const channel = (one: object) => ({ channels: [one] });
const mail = {
  type: 'mail',
  host: 'smtp.example.org',
  from: 'gateway@example.org',
  to: ['you@example.org'],
};
const topic = 'attic-7hk2m9q4';

describe('settings', () => {
  test('need not be there', () => {
    expect(alertSettings.parse(undefined)).toMatchObject({
      channels: [],
      hooks: true,
      remind_hours: 0,
    });
    expect(problem(channel({ type: 'ntfy', topic }))).toBe('');
    expect(problem(channel(mail))).toBe('');
  });

  test.each([
    [
      channel({ type: 'fax' }),
      /^channels\.0\.type: must have a type: mail, webhook, slack or ntfy/,
    ],
    [channel({ ...mail, user: 'ada' }), /^channels\.0\.password: is missing: user and password/],
    [channel({ ...mail, tls: 'none' }), /^channels\.0\.tls: must be starttls or implicit/],
    [channel({ ...mail, to: [] }), /must name at least one address/],
    [channel({ ...mail, to: ['you@example.org\r\nBcc: x@y'] }), /must be an e-mail address/],
    [channel({ ...mail, from: 'a <b@c.org>' }), /must be an e-mail address/],
    [channel({ type: 'ntfy', topic: 'a b' }), /must be a topic/],
    [channel({ type: 'ntfy', topic, min_severity: 'bad' }), /must be info, warning or critical/],
    [
      channel({ type: 'webhook', url: 'http://192.168.1.9/x' }),
      /must begin with https.*allow_http/,
    ],
    [
      channel({ type: 'webhook', url: 'http://9.9.9.9/x', allow_http: true }),
      /must begin with https.*this is a public one/,
    ],
    [channel({ type: 'webhook', url: 'ftp://x.org/' }), /must be a URL/],
    [channel({ type: 'webhook', url: 'https://u:p@x.org/' }), /without user, password and #/],
    [channel({ type: 'webhook', url: 'https://x.org/', secret: 'short' }), /too short/],
    [{ channels: [mail, mail] }, /'mail' is there already/],
    [channel({ ...mail, name: 'hooks' }), /always there/],
    [{ quiet_hours: { from: '22:00', to: '22:00' } }, /another time than from/],
    [{ quiet_hours: { from: '10pm', to: '07:00' } }, /must be a time of day, e\.g\. '22:00'/],
    [{ quiet_hours: { from: 1320, to: '07:00' } }, /in quotes/],
    [{ quiet_hours: { from: '22:00', to: '07:00', time_zone: 'Mars' } }, /time zone/],
    [{ heartbeat: { url: 'http://hc-ping.com/x' } }, /must begin with https/],
  ])('that are wrong are told with what is right: %j', (value, message) => {
    expect(problem(value)).toMatch(message);
  });

  test.each([
    channel({ type: 'webhook', url: 'http://192.168.1.9/x', allow_http: true }),
    channel({ type: 'webhook', url: 'http://[fd00::9]:8080/x', allow_http: true }),
    channel({ type: 'ntfy', topic, server: 'http://ntfy.lan', allow_http: true }),
  ])('take http:// to private addresses, if the owner says so: %j', (value) => {
    expect(problem(value)).toBe('');
  });

  test('that are wrong are told without a secret', () => {
    const secret = 's3cr3t-value';
    for (const value of [
      channel({ type: 'webhook', url: `https://x.org/${secret} ` }),
      channel({ type: 'slack', url: `${secret}` }),
      channel({ type: 'ntfy', topic: `${secret} x`, token: `${secret} ` }),
      channel({ ...mail, user: 'a', password: `${secret}\n` }),
      { heartbeat: { url: `gopher://${secret}` } },
    ]) {
      const parsed = alertSettings.safeParse(value);
      expect(parsed.success).toBe(false);
      expect(JSON.stringify(parsed.error?.issues)).not.toContain(secret);
    }
  });

  test('that let one send are marked as secrets, each of them', () => {
    const schema = JSON.stringify(z.toJSONSchema(alertSettings, { io: 'input' }));
    // password; url and secret of a webhook; url; topic and token; url and fail_url of the heartbeat.
    expect(schema.match(/"secret":true/g)).toHaveLength(8);
  });

  test('tell all their secrets, for redaction', () => {
    const found = secretsOf(
      alertSettings.parse({
        channels: [
          { ...mail, user: 'ada', password: 'pa55word' },
          { type: 'slack', url: 'https://hooks.slack.com/services/T0/B0/XoXbXoXbXoXb' },
          { type: 'ntfy', topic, token: 'tk_0123' },
        ],
        heartbeat: { url: 'https://hc-ping.com/c0ffee00-1111' },
      }),
    );
    expect(found).toEqual(
      expect.arrayContaining([
        ...['pa55word', 'XoXbXoXbXoXb', topic, 'tk_0123', 'c0ffee00-1111'],
        '/services/T0/B0/XoXbXoXbXoXb',
      ]),
    );
    expect(found).not.toContain('services');
  });
});
