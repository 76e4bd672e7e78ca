import { stat } from 'node:fs/promises';
import { at, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { deliverCredential, withdrawCredential } from './credential.ts';
import { newPassword } from './password.ts';
import {
  decryptValue,
  deleteSecret,
  encryptValue,
  findSecret,
  listSecrets,
  needSecret,
  type SecretRecord,
  viewOf,
  writeSecret,
} from './store.ts';
import type { SecretChange } from './view.ts';

/** In the image where stage `secrets` is. */
const stageMark = '/usr/lib/systemd/system/pi-gateway-secrets-key.service';

/** Milliseconds: systemd gives a service 90 s to stop (DefaultTimeoutStopSec=) and then kills it. */
const restartTimeout = 110_000;

export async function isAvailable(system: System): Promise<boolean> {
  return await stat(at(system, stageMark)).then(
    () => true,
    () => false,
  );
}

/** @throws GatewayError if the image was built without the stage. */
export async function requireStage(system: System): Promise<void> {
  if (await isAvailable(system)) return;
  throw new GatewayError(
    'This image was built without the secrets store',
    'Turn it on in gateway.yaml and build the image anew: stages: {secrets: {}}',
    'missing',
  );
}

export type NewSecret = {
  name: string;
  /** None: a password is made. */
  value?: string | undefined;
  made: SecretRecord['made'];
  units?: readonly string[] | undefined;
  vault?: string | undefined;
};

/**
 * Makes a secret, or gives one that is there another value. It is in the store before systemd has it: what a
 * power cut comes between, {@link deliverSecrets} mends.
 */
export async function setSecret(system: System, wanted: NewSecret): Promise<SecretRecord> {
  await requireStage(system);
  const before = await findSecret(system, wanted.name);
  const now = new Date().toISOString();
  const value = wanted.value ?? newPassword();
  const record: SecretRecord = {
    format: 1,
    name: wanted.name,
    made: wanted.made,
    created_at: before?.created_at ?? now,
    changed_at: now,
    version: (before?.version ?? 0) + 1,
    delivered: before?.delivered ?? 0,
    units: [...new Set(wanted.units ?? before?.units ?? [])],
    vault: wanted.vault ?? (wanted.made === 'vault' ? (before?.vault ?? null) : null),
    value: await encryptValue(system, value),
  };
  await writeSecret(system, record);
  return await deliver(system, record, value);
}

/**
 * Another value, and the units that use it are restarted. If one does not come up with it, the value of before
 * returns and the units are restarted once more.
 * @param value none: a password is made.
 */
export async function rotateSecret(
  system: System,
  name: string,
  value?: string,
  made: SecretRecord['made'] = value === undefined ? 'generated' : 'given',
): Promise<SecretChange> {
  const before = await needSecret(system, name);
  const record = await setSecret(system, { name, value, made, units: before.units });
  const problem = await restartUnits(system, record.units);
  if (problem === undefined) return { secret: viewOf(record), restarted: record.units };
  await setSecret(system, {
    name,
    value: await decryptValue(system, before),
    made: before.made,
    vault: before.vault ?? undefined,
    units: before.units,
  });
  const again = await restartUnits(system, before.units);
  throw new GatewayError(
    `${problem}. The value of before is back${again === undefined ? ', and its units run' : `; but ${again}`}`,
    `See why: sudo pi-gateway logs. Does the other side know the new value of ${name} already?`,
  );
}

/** @throws GatewayError while units are said to need it, unless `force`. */
export async function removeSecret(system: System, name: string, force: boolean): Promise<void> {
  await requireStage(system);
  const record = await needSecret(system, name);
  if (record.units.length > 0 && !force)
    throw new GatewayError(
      `${name} is used by ${record.units.join(', ')}`,
      `They would not start any more. If that is meant: sudo pi-gateway secret remove ${name} --force`,
      'conflict',
    );
  // First what services could still get; a cut between the two is mended by asking again.
  await withdrawCredential(system, name);
  await deleteSecret(system, name);
}

/**
 * Gives systemd what it does not have, or all anew: after a restore onto another card, whose host key is
 * another one. @returns the names.
 */
export async function deliverSecrets(system: System, all: boolean): Promise<string[]> {
  await requireStage(system);
  const behind = (await listSecrets(system)).filter((one) => all || one.delivered !== one.version);
  for (const record of behind) await deliver(system, record, await decryptValue(system, record));
  return behind.map(({ name }) => name);
}

async function deliver(system: System, record: SecretRecord, value: string): Promise<SecretRecord> {
  await deliverCredential(system, record.name, value);
  const delivered = { ...record, delivered: record.version };
  await writeSecret(system, delivered);
  return delivered;
}

/** Those that run are restarted. @returns what went wrong, if anything did. */
async function restartUnits(system: System, units: readonly string[]): Promise<string | undefined> {
  for (const unit of units) {
    try {
      await system.run('systemctl', ['try-restart', '--', unit], { timeout: restartTimeout });
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      return `${unit} does not come up with the new value: ${text.split('\n')[0]}`;
    }
  }
  return undefined;
}
