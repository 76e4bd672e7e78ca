import { createHmac, timingSafeEqual } from 'node:crypto';

/** RFC 4648 §6. */
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** RFC 6238 §4.1: steps of 30 s; authenticator apps know no other, nor other digests than SHA-1. */
const step = 30;

/** Steps that a phone's clock may be off to either side: RFC 6238 §5.2 recommends one. */
const drift = 1;

export function base32(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      text += alphabet[(value >>> (bits - 5)) & 31];
      bits -= 5;
    }
    value &= 255;
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text;
}

export function fromBase32(text: string): Buffer {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const letter of text) {
    const digit = alphabet.indexOf(letter);
    if (digit < 0) throw new Error('This is not base32');
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bytes.push((value >>> (bits - 8)) & 255);
      bits -= 8;
    }
  }
  return Buffer.from(bytes);
}

/** RFC 4226 §5.3. */
export function hotp(secret: Uint8Array, counter: number, digits = 6): string {
  const message = Buffer.alloc(8);
  message.writeBigUInt64BE(BigInt(counter));
  const digest = createHmac('sha1', secret).update(message).digest();
  const offset = (digest[digest.length - 1] ?? 0) & 15;
  const number = digest.readUInt32BE(offset) & 0x7fffffff;
  return String(number % 10 ** digits).padStart(digits, '0');
}

/**
 * The time step that the code is of, if it is good now.
 * @param after the last step that was used: a code is good once (RFC 6238 §5.2), and so is none before it.
 */
export function stepOfCode(
  secret: Uint8Array,
  code: string,
  now: number,
  after = Number.NEGATIVE_INFINITY,
): number | undefined {
  if (!/^\d{6}$/.test(code)) return undefined;
  const current = Math.floor(now / 1000 / step);
  let found: number | undefined;
  for (let at = current - drift; at <= current + drift; at += 1) {
    const same = timingSafeEqual(Buffer.from(hotp(secret, at)), Buffer.from(code));
    if (same && at > after) found = at;
  }
  return found;
}

/** Key URI of Google Authenticator's wiki, which all apps read. */
export function totpUri(secret: Uint8Array, account: string, device: string): string {
  const label = `${encodeURIComponent(device)}:${encodeURIComponent(account)}`;
  return `otpauth://totp/${label}?secret=${base32(secret)}&issuer=${encodeURIComponent(device)}`;
}
