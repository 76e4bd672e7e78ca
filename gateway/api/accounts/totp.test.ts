import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { base32, fromBase32, hotp, stepOfCode, totpUri } from './totp.ts';

const secret = Buffer.from('12345678901234567890');

test.each([
  [59, '94287082'],
  [1_111_111_109, '07081804'],
  [1_111_111_111, '14050471'],
  [1_234_567_890, '89005924'],
  [2_000_000_000, '69279037'],
  [20_000_000_000, '65353130'],
])('RFC 6238 appendix B: at %i s the code is %s', (time, code) => {
  expect(hotp(secret, Math.floor(time / 30), 8)).toBe(code);
});

test.each(
  [
    '755224',
    '287082',
    '359152',
    '969429',
    '338314',
    '254676',
    '287922',
    '162583',
    '399871',
    '520489',
  ].map((code, i) => [i, code] as const),
)('RFC 4226 appendix D: counter %i gives %s', (counter, code) => {
  expect(hotp(secret, counter)).toBe(code);
});

test.each([
  ['', ''],
  ['f', 'MY'],
  ['fo', 'MZXQ'],
  ['foo', 'MZXW6'],
  ['foob', 'MZXW6YQ'],
  ['fooba', 'MZXW6YTB'],
  ['foobar', 'MZXW6YTBOI'],
])('RFC 4648 §10: base32 of %j is %j', (text, encoded) => {
  expect(base32(Buffer.from(text))).toBe(encoded);
});

test('base32 gives back any bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      expect(fromBase32(base32(bytes))).toEqual(Buffer.from(bytes));
    }),
  );
});

test('a code of the step before or after is good, one further off is not, and none at or before the last used', () => {
  const now = 59_000;
  const at = (step: number) => hotp(secret, step);
  expect([0, 1, 2, 3].map((step) => stepOfCode(secret, at(step), now))).toEqual([
    0,
    1,
    2,
    undefined,
  ]);
  expect([0, 1, 2].map((step) => stepOfCode(secret, at(step), now, 1))).toEqual([
    undefined,
    undefined,
    2,
  ]);
  for (const code of ['', '12345', '1234567', 'abcdef', '١٢٣٤٥٦', ' 755224'])
    expect(stepOfCode(secret, code, now)).toBeUndefined();
});

test('the address for apps escapes what is in names', () => {
  expect(totpUri(secret, 'ada', 'Pi Gateway & co')).toBe(
    'otpauth://totp/Pi%20Gateway%20%26%20co:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Pi%20Gateway%20%26%20co',
  );
});
