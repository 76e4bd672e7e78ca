import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';

/** DER before the 32 bytes of an X25519 private key in PKCS #8: RFC 8410 §7. */
const privatePrefix = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** A private key as wg(8) writes it: base64 of 32 bytes. */
export function newPrivateKey(): string {
  const { privateKey } = generateKeyPairSync('x25519');
  return privateKey
    .export({ type: 'pkcs8', format: 'der' })
    .subarray(privatePrefix.length)
    .toString('base64');
}

/** What `wg pubkey` gives; undefined if the text is no private key. */
export function publicKeyOf(privateKey: string): string | undefined {
  if (!isKey(privateKey)) return undefined;
  const der = Buffer.concat([privatePrefix, Buffer.from(privateKey, 'base64')]);
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  return key.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64');
}

/** True for base64 of 32 bytes, not all zero: wg(8). */
export function isKey(text: string): boolean {
  if (!/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text)) return false;
  return Buffer.from(text, 'base64').some((byte) => byte !== 0);
}
