import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { bech32 } from '@scure/base';
import type { Step } from '../step.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../system.ts';

const folder = '/etc/pi-gateway/age';
const prefix = 'AGE-SECRET-KEY-';
const identityPath = `${folder}/identity.txt`;
export const recipientPath = `${folder}/recipient.txt`;

/** The key of the secrets store: age-encryption.org/v1, X25519. What is encrypted to it only this device reads. */
export const ageIdentity: Step = {
  name: 'age-identity',
  needs: ['entropy'],
  check: async (system) => {
    const recipient = await recipientOf(system);
    return (
      recipient !== undefined && (await readIfThere(at(system, recipientPath))) === `${recipient}\n`
    );
  },
  apply: async (system) => {
    await makeFolder(at(system, folder), 0o700);
    if ((await recipientOf(system)) === undefined)
      await writeDurably(at(system, identityPath), `${newIdentity()}\n`, 0o600);
    await writeDurably(at(system, recipientPath), `${await recipientOf(system)}\n`, 0o600);
  },
};

/** The public half of the identity that is there; undefined if none is, or it does not parse. */
async function recipientOf(system: System): Promise<string | undefined> {
  const identity = (await readIfThere(at(system, identityPath)))?.trim();
  if (!identity?.startsWith(prefix)) return undefined;
  try {
    // As DER a private key has these bytes before its own: RFC 8410 §7.
    const { bytes } = bech32.decodeToBytes(identity);
    const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), bytes]);
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    return bech32.encodeFromBytes('age', rawKey(createPublicKey(key), 'spki'));
  } catch {
    return undefined;
  }
}

/** Bech32 of an X25519 key, as age-encryption.org/v1 has it. Not by its own package: that takes a Pi a second to load. */
function newIdentity(): string {
  const { privateKey } = generateKeyPairSync('x25519');
  return bech32.encodeFromBytes(prefix, rawKey(privateKey, 'pkcs8')).toUpperCase();
}

/** The key's own 32 bytes are the last of its DER. */
function rawKey(key: KeyObject, type: 'pkcs8' | 'spki'): Uint8Array {
  return key.export({ format: 'der', type }).subarray(-32);
}
