import { stringify } from 'yaml';
import { keysPath, readUsers } from '../../firstboot/steps/accounts.ts';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { readHostname } from '../image-facts.ts';
import type { RestoreWish } from './restore/request.ts';
import type { Target } from './settings.ts';
import { nameOf } from './settings.ts';
import { sshSeed } from './ssh-key.ts';
import { locationOf, passwordPath } from './target.ts';

/** What a restore needs that the lost card had: a request for each target, as gateway-device.yaml takes it. */
export async function restoreWishes(
  system: System,
  targets: readonly Target[],
): Promise<{ name: string; location: string; wish: RestoreWish }[]> {
  const password = (await readIfThere(at(system, passwordPath)))?.trim();
  if (!password)
    throw new GatewayError(
      `There is no password for backups in ${passwordPath}`,
      'First boot makes it: sudo systemctl start pi-gateway-firstboot; see gateway-status.txt on the boot partition',
    );
  const all = [];
  for (const one of targets) {
    const target = await portable(system, one);
    const wish: RestoreWish = {
      password,
      target,
      ...(target.type === 'sftp' ? { ssh_key: await sshSeed(system) } : {}),
    };
    all.push({ name: nameOf(one), location: locationOf(one), wish });
  }
  return all;
}

/** A disk that something else mounts here, as a fresh gateway finds it: by the UUID of its file system. */
async function portable(system: System, target: Target): Promise<Target> {
  if (target.type !== 'disk' || target.mount === undefined) return target;
  const uuid = await system.run('findmnt', ['-no', 'UUID', target.mount]).catch(() => '');
  const { mount, ...rest } = target;
  return /^[0-9A-Fa-f-]{9,40}$/.test(uuid.trim()) ? { ...rest, uuid: uuid.trim() } : target;
}

/**
 * The recovery sheet: a gateway-device.yaml that makes a fresh card this gateway again. It opens every backup, so it
 * is for a password manager or paper, and not for the gateway's own disk.
 */
export async function recoverySheet(system: System, targets: readonly Target[]): Promise<string> {
  const [first, ...others] = await restoreWishes(system, targets);
  if (!first)
    throw new GatewayError(
      'There is no target for backups yet, so there is nothing to recover from',
      'Set one: sudo pi-gateway config edit (docs/backups.md)',
      'missing',
    );
  const host = await readHostname(system);
  const keys = await adminKeys(system);
  const yaml = (value: unknown) => stringify(value, { lineWidth: 0 }).trimEnd();
  const commented = (text: string) => text.split('\n').map((line) => `# ${line}`);
  return [
    `# Recovery sheet of the Pi Gateway '${host}', made ${new Date().toISOString().slice(0, 10)}.`,
    '# Who has it can read every backup. Keep it in a password manager or on paper, and not on the gateway.',
    '#',
    '# To get the gateway back after its card is lost: flash a card, copy this file to its boot partition as',
    '# gateway-device.yaml, start. It fetches the last backup that is whole, and restarts as what it was.',
    '# gateway-status.txt on the boot partition says how it went; the file itself is wiped from there.',
    '',
    yaml({ hostname: host }),
    ...(keys.length === 0
      ? []
      : [
          '# Lets in until the backup is in place.',
          yaml({ admin: { ssh_authorized_keys: keys } }),
        ]),
    '',
    `# ${first.name}: ${first.location}`,
    yaml({ restore: first.wish }),
    ...others.flatMap((one) => [
      '',
      `# In place of the section above, ${one.name}: ${one.location}`,
      ...commented(yaml({ restore: one.wish })),
    ]),
    '',
    '# By hand, with restic on any computer: the password is the one above; the repository is where the target',
    '# says. docs/backups.md has the command for each kind.',
    '',
  ].join('\n');
}

/** Public keys that let people in now. */
async function adminKeys(system: System): Promise<string[]> {
  const keys = new Set<string>();
  for (const user of await readUsers(system)) {
    if (user.uid < 1000 || user.uid >= 60_000) continue;
    // The helper's own sandbox hides homes: then the sheet is without keys, and says how to add one.
    const text = await readIfThere(keysPath(system, user)).catch(() => undefined);
    for (const line of (text ?? '').split('\n'))
      if (/^(ssh|ecdsa|sk)-/.test(line.trim())) keys.add(line.trim());
  }
  return [...keys];
}
