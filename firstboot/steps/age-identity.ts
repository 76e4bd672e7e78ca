import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import type { Step } from '../step.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../system.ts';

const folder = '/etc/pi-gateway/age';
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
      await writeDurably(at(system, identityPath), `${await generateX25519Identity()}\n`, 0o600);
    await writeDurably(at(system, recipientPath), `${await recipientOf(system)}\n`, 0o600);
  },
};

/** The public half of the identity that is there; undefined if none is, or it does not parse. */
async function recipientOf(system: System): Promise<string | undefined> {
  const identity = (await readIfThere(at(system, identityPath)))?.trim();
  if (!identity) return undefined;
  return await identityToRecipient(identity).catch(() => undefined);
}
