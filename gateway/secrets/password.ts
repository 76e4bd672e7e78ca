import { randomInt } from 'node:crypto';

/** Without characters that look alike (0 O o 1 l I): it may be typed from a screen. */
const alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789';

/** 24 of 56 characters: 139 bits. In groups of six, as people read them. */
export function newPassword(groups = 4): string {
  const group = () =>
    Array.from({ length: 6 }, () => alphabet[randomInt(alphabet.length)]).join('');
  return Array.from({ length: groups }, group).join('-');
}
