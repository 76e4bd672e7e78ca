import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import type { Seal } from './parcel.ts';

/**
 * Signatures of shared layers: Ed25519 (RFC 8032), keys as `openssl genpkey -algorithm ed25519` and
 * `openssl pkey -pubout` write them (PEM, RFC 8410).
 * @throws BuildError with code `usage` if a key cannot be read: a build must not go on without the check
 *   that was asked for.
 */
export async function openSeal(o: {
  signKey: string | null;
  verifyKey: string | null;
}): Promise<Seal> {
  const secret = o.signKey ? await readKey(o.signKey, createPrivateKey) : undefined;
  const known = o.verifyKey ? await readKey(o.verifyKey, createPublicKey) : undefined;
  return {
    annotation: 'pi-gateway.signature',
    ...(secret
      ? { sign: (text: string) => sign(null, Buffer.from(text), secret).toString('base64') }
      : {}),
    ...(known
      ? {
          verify: (text: string, signature: string) =>
            verify(null, Buffer.from(text), known, Buffer.from(signature, 'base64')),
        }
      : {}),
  };
}

async function readKey(path: string, parse: (pem: Buffer) => KeyObject): Promise<KeyObject> {
  try {
    const key = parse(await readFile(path));
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`it is of ${key.asymmetricKeyType}`);
    return key;
  } catch (cause) {
    throw new BuildError({
      what: `The key for shared layers cannot be used: ${messageOf(cause)}`,
      where: path,
      fix: 'Make one: openssl genpkey -algorithm ed25519 -out layers.key && openssl pkey -in layers.key -pubout -out layers.pub',
      code: exitCode.usage,
      cause,
    });
  }
}
