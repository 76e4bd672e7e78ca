import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { base32 } from './totp.ts';

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** 256 random bits. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** Public name of a session or token, which says nothing of its secret. */
export function newId(): string {
  return randomBytes(9).toString('base64url');
}

/**
 * Of a session's secret: what its changes carry besides the cookie. Made of the secret, so it is bound to
 * the session and needs no place to be kept.
 */
export function csrfOf(secret: string): string {
  return sha256(`csrf ${secret}`);
}

export function same(a: string, b: string): boolean {
  // Digests have one length, whatever was given.
  return timingSafeEqual(
    createHash('sha256').update(a).digest(),
    createHash('sha256').update(b).digest(),
  );
}

const tokenForm = /^pgw_([A-Za-z0-9_-]{43})([A-Za-z0-9_-]{6})$/;

/**
 * The prefix tells scanners of leaked secrets what it is; the checksum tells them and us apart from what
 * only looks like it, without asking for it.
 */
export function newToken(): string {
  const secret = newSecret();
  return `pgw_${secret}${sha256(secret).slice(0, 6)}`;
}

export function isToken(text: string): boolean {
  const [, secret = '', sum] = tokenForm.exec(text) ?? [];
  return sum !== undefined && sha256(secret).slice(0, 6) === sum;
}

/** 50 random bits as abcde-fghij: one guess more than the throttle lets anybody make in a lifetime. */
export function newRecoveryCode(): string {
  const text = base32(randomBytes(7)).toLowerCase().slice(0, 10);
  return `${text.slice(0, 5)}-${text.slice(5)}`;
}

/** As typed: capitals, missing hyphens and spaces are forgiven. */
export function plainRecoveryCode(text: string): string {
  const bare = text.toLowerCase().replace(/[\s-]/g, '');
  return `${bare.slice(0, 5)}-${bare.slice(5)}`;
}
