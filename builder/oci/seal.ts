import { sign, verify } from 'node:crypto';
import { loadPublicKey, loadSigner } from '../trust/keys.ts';
import type { Seal } from './parcel.ts';

/**
 * Signatures of shared layers: Ed25519 (RFC 8032), by the same keys as releases (`keys new`; one without a
 * passphrase, since builds ask nobody).
 * @throws BuildError with code `usage` if a key cannot be read: a build must not go on without the check
 *   that was asked for.
 */
export async function openSeal(o: {
  signKey: string | null;
  verifyKey: string | null;
}): Promise<Seal> {
  const signer = o.signKey ? await loadSigner({ file: o.signKey }) : undefined;
  const known = o.verifyKey ? await loadPublicKey(o.verifyKey) : undefined;
  return {
    annotation: 'pi-gateway.signature',
    ...(signer
      ? {
          sign: (text: string) =>
            sign(null, Buffer.from(text), signer.privateKey).toString('base64'),
        }
      : {}),
    ...(known
      ? {
          verify: (text: string, signature: string) =>
            verify(null, Buffer.from(text), known.key, Buffer.from(signature, 'base64')),
        }
      : {}),
  };
}
