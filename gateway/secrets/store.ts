import { readdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as z from 'zod';
import { recipientPath } from '../../firstboot/steps/age-identity.ts';
import {
  at,
  makeFolder,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { jsonOf } from '../json.ts';
import { type SecretView, secretName } from './view.ts';

/**
 * The secrets of this device: one file each, whose value is encrypted with age to the identity that first
 * boot has made. A file is replaced as a whole, so a secret has its old value or its new one at any instant.
 */

export const secretsFolder = '/var/lib/pi-gateway/secrets';
const identityPath = recipientPath.replace('recipient.txt', 'identity.txt');

const secretRecord = z.strictObject({
  format: z.literal(1),
  name: secretName,
  made: z.enum(['given', 'generated', 'vault']),
  created_at: z.iso.datetime(),
  changed_at: z.iso.datetime(),
  version: z.number().int().min(1),
  /** The version that systemd has; another one if the power was cut between the two. */
  delivered: z.number().int().min(0),
  units: z.array(z.string()),
  vault: z.string().nullable(),
  /** An armored age file: age-encryption.org/v1. */
  value: z.string(),
});
export type SecretRecord = z.output<typeof secretRecord>;

const fileOf = (system: System, name: string) => at(system, `${secretsFolder}/${name}.json`);

/** Every secret, by name. @throws GatewayError for a file that is damaged, with its name. */
export async function listSecrets(system: System): Promise<SecretRecord[]> {
  const names = await readdir(at(system, secretsFolder)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const records: SecretRecord[] = [];
  // What a write has left that was cut off begins with a dot.
  for (const name of names.filter((one) => one.endsWith('.json') && !one.startsWith('.')).sort()) {
    const record = await findSecret(system, name.slice(0, -'.json'.length));
    if (record) records.push(record);
  }
  return records;
}

export async function findSecret(system: System, name: string): Promise<SecretRecord | undefined> {
  // A name is part of a path.
  const path = fileOf(system, secretName.parse(name));
  const text = await readIfThere(path);
  if (text === undefined) return undefined;
  const parsed = secretRecord.safeParse(jsonOf(text));
  if (parsed.success && parsed.data.name === name) return parsed.data;
  throw new GatewayError(
    `The file of the secret ${name} is damaged: ${path}`,
    'Restore it from a backup, or remove the file and set the secret anew',
  );
}

/** @throws GatewayError if there is none of the name. */
export async function needSecret(system: System, name: string): Promise<SecretRecord> {
  const record = await findSecret(system, name);
  if (record) return record;
  throw new GatewayError(
    `There is no secret ${name}`,
    'See which there are: sudo pi-gateway secret list',
    'missing',
  );
}

/** Replaces the secret's file. */
export async function writeSecret(system: System, record: SecretRecord): Promise<void> {
  const path = fileOf(system, record.name);
  await makeFolder(dirname(path), 0o700);
  await writeDurably(path, `${JSON.stringify(secretRecord.parse(record), null, 2)}\n`, 0o600);
}

export async function deleteSecret(system: System, name: string): Promise<void> {
  const path = fileOf(system, secretName.parse(name));
  await rm(path, { force: true });
  await syncDirectory(dirname(path));
}

/** The value as an armored age file for this device. */
export async function encryptValue(system: System, value: string): Promise<string> {
  const recipient = (await readIfThere(at(system, recipientPath)))?.trim();
  if (recipient === undefined || recipient === '') throw noIdentity();
  // Loaded only here: it takes a Pi a second.
  const { armor, Encrypter } = await import('age-encryption');
  const encrypter = new Encrypter();
  encrypter.addRecipient(recipient);
  return armor.encode(await bytesOf(await encrypter.encrypt(streamOf(Buffer.from(value)))));
}

/** @throws GatewayError if it is damaged, or encrypted for another device. */
export async function decryptValue(system: System, record: SecretRecord): Promise<string> {
  const identity = (await readIfThere(at(system, identityPath)))?.trim();
  if (identity === undefined || identity === '') throw noIdentity();
  const { armor, Decrypter } = await import('age-encryption');
  const decrypter = new Decrypter();
  try {
    decrypter.addIdentity(identity);
    const plain = await decrypter.decrypt(streamOf(armor.decode(record.value)));
    return Buffer.from(await bytesOf(plain)).toString('utf8');
  } catch {
    throw new GatewayError(
      `The secret ${record.name} cannot be decrypted: it is damaged, or was made on another device`,
      `Restore ${identityPath} from the backup that the secret came from, or set the secret anew`,
    );
  }
}

/**
 * Streams, as the library gathers bytes by fetch's Response: that needs WebAssembly, which programs on the device are
 * not let have.
 */
function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read())
    chunks.push(next.value);
  return Buffer.concat(chunks);
}

function noIdentity(): GatewayError {
  return new GatewayError(
    `This device has no key for secrets: ${identityPath} is missing`,
    'First boot makes it: sudo systemctl start pi-gateway-firstboot, then see sudo pi-gateway status',
  );
}

export function viewOf(record: SecretRecord): SecretView {
  const { name, made, created_at, changed_at, version, units, vault } = record;
  const delivered = record.delivered === version;
  return { name, made, created_at, changed_at, version, units, delivered, vault };
}
