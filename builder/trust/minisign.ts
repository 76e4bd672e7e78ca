import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/**
 * Signatures in the format of minisign(1): Ed25519 (RFC 8032) over the file's BLAKE2b-512, with a comment that is
 * signed, too. Nothing but node:crypto, so that the device's programs can have it in them.
 */

export type PublicKey = { id: Buffer; key: KeyObject };

/** What a key pair signs with; where the key is kept is the caller's business. */
export type Signer = { id: Buffer; privateKey: KeyObject };

/** A file or text that is no key or signature, or whose signature does not hold. */
export class SignatureError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SignatureError';
  }
}

/** RFC 8410: what stands before the 32 bytes of a public key in DER. */
const spki = Buffer.from('302a300506032b6570032100', 'hex');

/** `Ed`: over the bytes themselves; `ED`: over their BLAKE2b-512. */
const algorithms = { Ed: false, ED: true } as const;

function decoded(line: string | undefined, length: number, what: string): Buffer {
  const text = line ?? '';
  const bytes = Buffer.from(text, 'base64');
  // Buffer takes what is no base64, too; there must be one text only for the bytes.
  if (bytes.length !== length || bytes.toString('base64') !== text)
    throw new SignatureError(`This is no ${what} of minisign`);
  return bytes;
}

/** Reads a public key: minisign's file of two lines, or its second line alone. */
export function parsePublicKey(text: string): PublicKey {
  const lines = text.trim().split(/\r?\n/);
  const bytes = decoded(lines.at(-1), 42, 'public key');
  if (lines.length > 2 || bytes.subarray(0, 2).toString() !== 'Ed')
    throw new SignatureError('This is no public key of minisign');
  return {
    id: bytes.subarray(2, 10),
    key: createPublicKey({
      key: Buffer.concat([spki, bytes.subarray(10)]),
      format: 'der',
      type: 'spki',
    }),
  };
}

/** As minisign shows a key's number. */
export const keyName = (id: Buffer): string =>
  Buffer.from(id).reverse().toString('hex').toUpperCase();

export function formatPublicKey({ id, privateKey }: Signer): string {
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const bytes = Buffer.concat([Buffer.from('Ed'), id, der.subarray(spki.length)]);
  return `untrusted comment: minisign public key ${keyName(id)}\n${bytes.toString('base64')}\n`;
}

const hashed = (content: Uint8Array) => createHash('blake2b512').update(content).digest();

/** Signs as `minisign -S` does. @param comment one line, which is signed, too. */
export function signFile(content: Uint8Array, { id, privateKey }: Signer, comment: string): string {
  const signature = sign(null, hashed(content), privateKey);
  const global = sign(null, Buffer.concat([signature, Buffer.from(comment)]), privateKey);
  const bytes = Buffer.concat([Buffer.from('ED'), id, signature]);
  return [
    'untrusted comment: signature from minisign secret key',
    bytes.toString('base64'),
    `trusted comment: ${comment}`,
    global.toString('base64'),
    '',
  ].join('\n');
}

/**
 * Verifies a file with its `.minisig`, both signatures of it.
 * @returns the trusted comment.
 * @throws SignatureError unless one of the keys has made it.
 */
export function verifyFile(
  content: Uint8Array,
  signature: string,
  keys: readonly PublicKey[],
): string {
  const [head = '', line, comment = '', global, ...rest] = signature.split(/\r?\n/);
  if (
    !head.startsWith('untrusted comment: ') ||
    !comment.startsWith('trusted comment: ') ||
    rest.join('') !== ''
  )
    throw new SignatureError('This is no signature of minisign');
  const bytes = decoded(line, 74, 'signature');
  const algorithm = bytes.subarray(0, 2).toString('latin1');
  if (algorithm !== 'Ed' && algorithm !== 'ED')
    throw new SignatureError('The signature is of an unknown kind');
  const id = bytes.subarray(2, 10);
  const known = keys.find((one) => one.id.equals(id));
  if (!known)
    throw new SignatureError(
      `It is signed by the key ${keyName(id)}, which is none of those trusted`,
    );
  const own = bytes.subarray(10);
  const text = comment.slice('trusted comment: '.length);
  if (
    !verify(null, algorithms[algorithm] ? hashed(content) : content, known.key, own) ||
    !verify(
      null,
      Buffer.concat([own, Buffer.from(text)]),
      known.key,
      decoded(global, 64, 'signature'),
    )
  )
    throw new SignatureError('The signature does not hold: this is not what was signed');
  return text;
}
