import { scrypt } from 'node:crypto';
import { promisify } from 'node:util';

/** scrypt (RFC 7914) with its options, as a promise. */
export const scryptAsync = promisify<
  string,
  Uint8Array,
  number,
  { N: number; r: number; p: number; maxmem: number },
  Buffer
>(scrypt);
