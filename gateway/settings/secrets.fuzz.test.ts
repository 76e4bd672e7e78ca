import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Document, visit } from 'yaml';
import { changesOf, textDiff } from './diff.ts';
import { parseDeviceSettings } from './read.ts';
import { redactedText, restoreSecrets } from './secrets.ts';

/** Settings with secrets of every kind of text, written in every way that YAML has. */

const printable = (least: number) =>
  fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
    minLength: least,
    maxLength: 40,
  });
const dense = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 16,
  maxLength: 40,
});

const channel = fc.oneof(
  fc.record({
    type: fc.constant('mail'),
    host: fc.constantFrom('smtp.example.org', 'mail.example.net'),
    user: fc.constant('ann'),
    password: printable(8),
    from: fc.constant('ann@example.org'),
    to: fc.constant(['ann@example.org']),
  }),
  fc.record({
    type: fc.constant('webhook'),
    url: fc
      .stringMatching(/^[a-z0-9]{8,20}$/)
      .map((path) => `https://example.org/${path}?t=${path}`),
    secret: dense,
  }),
);

const styles = ['PLAIN', 'QUOTE_DOUBLE', 'QUOTE_SINGLE', 'BLOCK_FOLDED', 'BLOCK_LITERAL'] as const;

/** The settings as one of many who write YAML would. */
const written = fc
  .record({
    channels: fc.array(channel, { minLength: 1, maxLength: 4 }),
    styles: fc.infiniteStream(fc.constantFrom(...styles)),
    flow: fc.infiniteStream(fc.boolean()),
    comment: fc.boolean(),
  })
  .map(({ channels, styles: style, flow, comment }) => {
    const named = channels.map((one, index) => ({ ...one, name: `channel-${index}` }));
    const document = new Document({ alerts: { channels: named } });
    visit(document, {
      Scalar: (key, node) => {
        if (key !== 'key' && typeof node.value === 'string') node.type = style.next().value;
        return undefined;
      },
      Map: (_, node) => {
        node.flow = flow.next().value;
        return undefined;
      },
    });
    if (comment) document.comment = ` was: ${secretsOf(named).join(' ')}`;
    return { text: document.toString(), secrets: secretsOf(named) };
  });

function secretsOf(channels: readonly object[]): string[] {
  return channels.flatMap((one) =>
    ['password', 'secret', 'url'].flatMap((key) => {
      const value: unknown = (one as Record<string, unknown>)[key];
      return typeof value === 'string' ? [value] : [];
    }),
  );
}

test('no secret is shown, however it is written, and each comes back as it was', () => {
  let valid = 0;
  fc.assert(
    fc.property(written, ({ text, secrets }) => {
      const before = parseDeviceSettings(text);
      if (before.problems.length > 0) return;
      valid += 1;
      const shown = redactedText(text);
      for (const secret of secrets) expect(shown).not.toContain(secret);
      const back = restoreSecrets(shown, text);
      expect(changesOf(before.written, parseDeviceSettings(back).written)).toEqual([]);
      const diff = textDiff('', text);
      for (const secret of secrets) expect(diff).not.toContain(secret);
    }),
    { numRuns: 1000, seed: 20_260_102 },
  );
  expect(valid).toBeGreaterThan(250);
});

test('whatever is sent as settings, nothing but a refusal comes of it', () => {
  const current = 'alerts: {channels: [{type: ntfy, topic: attic-7hk2m9q4}]}\n';
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc
      .array(
        fc.constantFrom(
          ...['alerts', 'channels', ':', ' ', '\n', '- ', '{', '}', '[', ']', ',', '"', "'", '#'],
          ...['&a', '*a', '!!js', '<<', '|', '>', '(secret unchanged)', 'topic', 'type: ntfy', '%'],
        ),
        { maxLength: 40 },
      )
      .map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(text, (sent) => {
      parseDeviceSettings(sent);
      redactedText(sent);
      textDiff(current, sent);
      try {
        const whole = restoreSecrets(sent, current);
        if (!sent.includes('(secret unchanged)')) expect(whole).toBe(sent);
      } catch (error) {
        expect(String(error)).toMatch(/^GatewayError: .* is '\(secret unchanged\)', but/);
      }
    }),
    { numRuns: 3000, seed: 20_260_102 },
  );
});
