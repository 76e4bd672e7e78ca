import { rm } from 'node:fs/promises';
import {
  at,
  makeFolder,
  type System,
  syncDirectory,
  writeDurably,
} from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';

/**
 * Secrets as systemd's services get them: encrypted by systemd-creds(1) with the host's own key, in the
 * folder where `LoadCredentialEncrypted=NAME` looks for them (systemd.exec(5)). systemd decrypts a secret when
 * a service starts that asks for it, into memory that only this service sees; nothing runs at boot for it.
 */

const folder = '/etc/credstore.encrypted';

/** The key is the host's own file, which only root reads; a Pi has no TPM. */
const key = '--with-key=host';

const pathOf = (name: string) => `${folder}/${name}`;

/** @throws GatewayError with what systemd-creds says. */
export async function deliverCredential(
  system: System,
  name: string,
  value: string,
): Promise<void> {
  let encrypted: string;
  try {
    encrypted = await system.run('systemd-creds', ['encrypt', key, `--name=${name}`, '-', '-'], {
      input: value,
    });
  } catch (cause) {
    throw new GatewayError(
      `systemd-creds does not encrypt the secret ${name}: ${cause instanceof Error ? cause.message : String(cause)}`,
      'The secret itself is kept. See whether the host has its key: sudo systemctl start pi-gateway-secrets-key; then: sudo pi-gateway secret deliver',
    );
  }
  await makeFolder(at(system, folder), 0o700);
  await writeDurably(at(system, pathOf(name)), encrypted, 0o600);
}

export async function withdrawCredential(system: System, name: string): Promise<void> {
  await makeFolder(at(system, folder), 0o700);
  await rm(at(system, pathOf(name)), { force: true });
  await syncDirectory(at(system, folder));
}
