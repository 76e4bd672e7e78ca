import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hookLine } from './channels/hooks.ts';
import { compose, encodedWords } from './channels/mail.ts';
import { signature } from './channels/webhook.ts';
import type { AlertEvent } from './engine.ts';
import { type Message, render } from './message.ts';

const at = Date.UTC(2026, 0, 2, 3, 4, 5);

const event = (more: Partial<AlertEvent> = {}): AlertEvent => ({
  kind: 'fired',
  alert: 'a1',
  source: 'check:uplink',
  severity: 'critical',
  text: 'The uplink is down',
  firedAt: at,
  at,
  ...more,
});

const message = (events: AlertEvent[], more: Partial<Message> = {}): Message => ({
  id: 'm1',
  at,
  events,
  dropped: 0,
  summary: false,
  ...more,
});

const words = (events: AlertEvent[], more?: Partial<Message>) =>
  render(message(events, more), 'attic', 'Europe/Berlin');

describe('the words of a message', () => {
  test('say what, how bad, and since when by the clock on the wall', () => {
    expect(words([event()])).toEqual({
      title: '[attic] Critical: The uplink is down',
      text: 'Critical: The uplink is down\n  since 2026-01-02 04:04:05\n\n',
      severity: 'critical',
      over: false,
    });
  });

  test('of what is over say how long it was', () => {
    const rendered = words([
      event({ kind: 'resolved', text: 'The uplink is up', at: at + 12 * 60_000 }),
    ]);
    expect(rendered.title).toBe('[attic] Over: The uplink is up');
    expect(rendered.text).toContain('since 2026-01-02 04:04:05, it lasted 12 min');
    expect(rendered.over).toBe(true);
  });

  test('of what began and ended in one message are one item', () => {
    const rendered = words([
      event(),
      event({ kind: 'resolved', text: 'The uplink is up', at: at + 30_000 }),
    ]);
    expect(rendered.title).toBe('[attic] Over: The uplink is up');
    expect(rendered.text).toContain('it was: The uplink is down');
  });

  test('of many are the worst first, and not all of them', () => {
    const many = Array.from({ length: 1000 }, (_, n) =>
      event({ alert: `a${n}`, text: `check ${n}`, severity: n === 700 ? 'critical' : 'warning' }),
    );
    const rendered = words(many, { dropped: 5 });
    expect(rendered.title).toBe('[attic] 1005 alerts (1 critical): check 700');
    expect(rendered.text.split('\n')[0]).toBe('Critical: check 700');
    expect(rendered.text).toContain('And 980 more');
    expect(rendered.text).toContain('5 further messages were dropped');
    expect(rendered.text.length).toBeLessThan(3000);
  });

  test('after quiet hours say that they sum up', () => {
    expect(words([event()], { summary: true }).text).toMatch(/^What quiet hours held back:/);
  });
});

/** Text that means to be more than text. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constantFrom(
    'x\r\nBcc: evil@example.net',
    'x\r\n\r\n.\r\nMAIL FROM:<a@b>',
    '=?utf-8?B?QmNjOiBldmls?=',
    '\u2028Bcc: x\u0085Bcc: y',
    '\ud800 lone',
    '"}\n{"event":"fired"',
  ),
);

describe('whatever an alert says', () => {
  const from = 'gateway@example.org';
  const allowed =
    /^(From|To|Subject|Date|Message-ID|References|Importance|X-Priority|Auto-Submitted|MIME-Version|Content-Type|Content-Transfer-Encoding): /;

  test('no header of a mail comes of it, and no line ends the mail', () => {
    fc.assert(
      fc.property(hostile, hostile, (text, host) => {
        const one = message([event({ text })]);
        const mail = compose({ from, to: ['a@b.org', 'c@d.org'] }, one, render(one, host), host);
        const [head = '', body = '', ...more] = mail.split('\r\n\r\n');
        expect(more).toEqual([]);
        expect(mail.replaceAll('\r\n', '')).toMatch(/^[\x20-\x7e]*$/);
        for (const line of mail.split('\r\n')) expect(line.length).toBeLessThanOrEqual(78);
        const headers = head.replaceAll('\r\n ', ' ').split('\r\n');
        for (const header of headers) expect(header).toMatch(allowed);
        expect(new Set(headers.map((line) => line.split(':')[0])).size).toBe(headers.length);
        expect(body).toMatch(/^[A-Za-z0-9+/=\r\n]*$/);
      }),
    );
  });

  test('a subject comes out of its encoding as it went in', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        const encoded = encodedWords(text);
        const parts = encoded.split('\r\n ').map((word) => /^=\?utf-8\?B\?(.*)\?=$/.exec(word));
        for (const part of parts)
          expect((part?.[0] ?? 'x'.repeat(99)).length).toBeLessThanOrEqual(75);
        const back = parts
          .map((part) => Buffer.from(part?.[1] ?? '', 'base64').toString())
          .join('');
        // Blanks and what is no text are one blank each.
        const bare = (so: string) => so.replace(/[\s\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '');
        expect(bare(back)).toBe(bare(text));
      }),
    );
  });

  test('a hook gets one line of JSON', () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const line = hookLine('fired', { source: text, text, at }, 'attic');
        expect(line.split('\n')).toHaveLength(2);
        expect(Object.keys(JSON.parse(line) as object)).toEqual([
          ...['event', 'alert', 'text', 'host', 'time'],
        ]);
      }),
    );
  });
});

test('a hook gets the format of /etc/pi-gateway/alerts.d/README', () => {
  const text = 'The temperature in °C is at 85 (limit 80)';
  expect(hookLine('fired', { source: 'temperature', text, at }, 'pi-gateway')).toBe(
    '{"event":"fired","alert":"temperature","text":"The temperature in °C is at 85 (limit 80)","host":"pi-gateway","time":"2026-01-02T03:04:05Z"}\n',
  );
});

test("a webhook's signature is that of standardwebhooks.com", () => {
  // The example of the specification's libraries (standard-webhooks, libraries/javascript).
  expect(
    signature(
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      '1614265330',
      '{"test": 2432232314}',
    ),
  ).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
});
