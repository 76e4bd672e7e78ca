import { chmod, chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseKeys, readSettings } from '../settings.ts';
import { OwnerError, type Step } from '../step.ts';
import { at, readIfThere, type System, writeDurably } from '../system.ts';

/** The image's own facts that the steps need; written by the stage. */
type Defaults = { admin: string };

async function defaults(system: System): Promise<Defaults> {
  const text = await readIfThere(at(system, '/usr/share/pi-gateway/firstboot.json'));
  return text === undefined ? { admin: 'gateway' } : (JSON.parse(text) as Defaults);
}

export const hostName: Step = {
  name: 'hostname',
  check: async (system) => {
    const wanted = (await readSettings(system)).hostname;
    const now = (await readIfThere(at(system, '/etc/hostname')))?.trim();
    return wanted === undefined || wanted === now;
  },
  apply: async (system) => {
    const wanted = (await readSettings(system)).hostname;
    if (!wanted) return;
    const hosts = (await readIfThere(at(system, '/etc/hosts'))) ?? '127.0.0.1 localhost\n';
    const others = hosts.split('\n').filter((line) => line !== '' && !line.startsWith('127.0.1.1'));
    await writeDurably(
      at(system, '/etc/hosts'),
      `${[...others, `127.0.1.1 ${wanted}`].join('\n')}\n`,
    );
    await writeDurably(at(system, '/etc/hostname'), `${wanted}\n`);
    // Asks systemd-hostnamed, which may name the machine: this service may not.
    await system.run('hostnamectl', ['--static', 'hostname', wanted]);
  },
};

/** Lets the admin in by key. No key is no failure of the device: it stays closed and says what to do. */
export const admin: Step = {
  name: 'admin',
  check: async (system) => {
    const { keys, user } = await wantedAdmin(system);
    if (keys.length === 0) return await someoneHasKey(system);
    if (!user) return false;
    const present = (await readIfThere(keysPath(system, user))) ?? '';
    const lines = new Set(present.split('\n'));
    return keys.every((key) => lines.has(key));
  },
  apply: async (system) => {
    const wanted = await wantedAdmin(system);
    if (wanted.keys.length === 0)
      throw new OwnerError(
        'No SSH key of an admin was given, so nobody can log in',
        'Put gateway-device.yaml (see gateway-device.yaml.example) or authorized_keys with your public key on the boot partition and start again',
      );
    if (!wanted.user)
      await system.run('useradd', [
        '--create-home',
        '--shell',
        '/bin/bash',
        '--groups',
        'sudo,adm,systemd-journal',
        // No password, and so none that could grow old: an expired one would refuse the key, too.
        '--password',
        '*',
        '--inactive',
        '-1',
        '--key',
        'PASS_MAX_DAYS=-1',
        wanted.name,
      ]);
    const user = wanted.user ?? (await findUser(system, wanted.name));
    if (!user) throw new Error(`the user ${wanted.name} was not made`);
    const present = (await readIfThere(keysPath(system, user))) ?? '';
    const folder = join(keysPath(system, user), '..');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
    await chown(folder, user.uid, user.gid);
    const all = [...new Set([...present.split('\n'), ...wanted.keys])].filter(
      (line) => line !== '',
    );
    await writeDurably(keysPath(system, user), `${all.join('\n')}\n`, 0o600, user);
  },
};

/** True if a login has a key already, by Raspberry Pi Imager's customisation or by an earlier boot. */
async function someoneHasKey(system: System): Promise<boolean> {
  const passwd = (await readIfThere(at(system, '/etc/passwd'))) ?? '';
  for (const line of passwd.split('\n')) {
    const [name = '', , uid] = line.split(':');
    if (Number(uid) < 1000 || Number(uid) >= 60000) continue;
    const user = await findUser(system, name);
    const keys = user && (await readIfThere(keysPath(system, user)));
    if (keys && hasKey(keys)) return true;
  }
  return false;
}

function hasKey(text: string): boolean {
  try {
    return parseKeys(text).length > 0;
  } catch {
    return false;
  }
}

type User = { uid: number; gid: number; home: string };

async function wantedAdmin(
  system: System,
): Promise<{ name: string; keys: readonly string[]; user: User | undefined }> {
  const settings = await readSettings(system);
  const name = settings.admin?.name ?? (await defaults(system)).admin;
  return {
    name,
    keys: settings.admin?.ssh_authorized_keys ?? [],
    user: await findUser(system, name),
  };
}

function keysPath(system: System, user: User): string {
  return at(system, join(user.home, '.ssh/authorized_keys'));
}

async function findUser(system: System, name: string): Promise<User | undefined> {
  const passwd = (await readIfThere(at(system, '/etc/passwd'))) ?? '';
  const fields = passwd
    .split('\n')
    .map((line) => line.split(':'))
    .find(([entry]) => entry === name);
  if (!fields) return undefined;
  return { uid: Number(fields[2]), gid: Number(fields[3]), home: fields[5] ?? `/home/${name}` };
}
