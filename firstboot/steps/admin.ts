import { chmod, chown, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { imageFacts } from '../image.ts';
import { folder } from '../run.ts';
import { readSettings } from '../settings.ts';
import { OwnerError, type Step } from '../step.ts';
import {
  at,
  makeFolder,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../system.ts';
import { keysPath, namesWithKey, readShadow, readUsers, type User } from './accounts.ts';

/** After the image's own 10-gateway-admin, as the last rule that fits counts: sudoers(5). */
const sudoersPath = '/etc/sudoers.d/15-gateway-owner';

type Wanted = {
  name: string;
  keys: readonly string[];
  hash: string | undefined;
  /** The image's own admin, if it is another one. */
  other: string | undefined;
};

/** Lets the admin in by key. No key is no failure of the device: it stays closed and says what to do. */
export const admin: Step = {
  name: 'admin',
  needs: ['settings'],
  check: async (system) => {
    const wanted = await wantedAdmin(system);
    const user = await findUser(system, wanted.name);
    if (wanted.keys.length === 0 && (await namesWithKey(system)).length === 0) return false;
    if (!user) return wanted.keys.length === 0 && wanted.hash === undefined;
    return (
      (await hasKeys(system, user, wanted.keys)) &&
      (await hasSudo(system, wanted)) &&
      (await hasPassword(system, wanted)) &&
      !(await isClosed(system, wanted.name)) &&
      (wanted.other === undefined || (await isClosedOrUsed(system, wanted.other)))
    );
  },
  apply: async (system) => {
    const wanted = await wantedAdmin(system);
    if (wanted.keys.length === 0 && (await namesWithKey(system)).length === 0)
      throw new OwnerError(
        'No SSH key of an admin was given, so nobody can log in',
        'Put gateway-device.yaml (see gateway-device.yaml.example) or authorized_keys with your public key on the boot partition and start again',
      );
    if (!(await findUser(system, wanted.name))) await makeUser(system, wanted.name);
    const user = await findUser(system, wanted.name);
    if (!user) throw new Error(`the user ${wanted.name} was not made`);
    if (await isClosed(system, wanted.name))
      await system.run('usermod', ['--expiredate', '', wanted.name]);
    if (!(await hasSudo(system, wanted))) await writeSudoers(system, wanted);
    // On standard input: what stands in arguments everybody on the machine can read.
    if (!(await hasPassword(system, wanted)))
      await system.run('chpasswd', ['--encrypted'], { input: `${wanted.name}:${wanted.hash}\n` });
    if (!(await hasKeys(system, user, wanted.keys))) await addKeys(system, user, wanted.keys);
    if (wanted.other !== undefined && !(await isClosedOrUsed(system, wanted.other)))
      await system.run('usermod', ['--expiredate', '1', wanted.other]);
  },
};

async function wantedAdmin(system: System): Promise<Wanted> {
  const settings = await readSettings(system);
  const image = (await imageFacts(system)).admin;
  const name = settings.admin?.name ?? image;
  return {
    name,
    keys: settings.admin?.ssh_authorized_keys ?? [],
    hash: settings.admin?.password_hash,
    other: name !== image && (await findUser(system, image)) ? image : undefined,
  };
}

async function findUser(system: System, name: string): Promise<User | undefined> {
  return (await readUsers(system)).find((user) => user.name === name);
}

async function makeUser(system: System, name: string): Promise<void> {
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
    name,
  ]);
}

async function hasKeys(system: System, user: User, keys: readonly string[]): Promise<boolean> {
  const present = new Set(((await readIfThere(keysPath(system, user))) ?? '').split('\n'));
  return keys.every((key) => present.has(key.trim()));
}

async function addKeys(system: System, user: User, keys: readonly string[]): Promise<void> {
  const path = keysPath(system, user);
  const present = ((await readIfThere(path)) ?? '').split('\n');
  const sshFolder = join(path, '..');
  await mkdir(sshFolder, { recursive: true, mode: 0o700 });
  await chmod(sshFolder, 0o700);
  await chown(sshFolder, user.uid, user.gid);
  const all = [...new Set([...present, ...keys.map((key) => key.trim())])].filter(
    (line) => line !== '',
  );
  await writeDurably(path, `${all.join('\n')}\n`, 0o600, user);
}

/**
 * The image's own file names its admin alone. Who has a password is asked for it; who has none cannot be,
 * and the key that let them in is the proof.
 */
function sudoers(wanted: Wanted): string | undefined {
  if (wanted.hash !== undefined) return `${wanted.name} ALL=(ALL:ALL) PASSWD: ALL\n`;
  return wanted.other === undefined ? undefined : `${wanted.name} ALL=(ALL:ALL) NOPASSWD: ALL\n`;
}

async function hasSudo(system: System, wanted: Wanted): Promise<boolean> {
  return (await readIfThere(at(system, sudoersPath))) === sudoers(wanted);
}

/** sudo refuses all its work over one file that does not parse, so it is tried elsewhere first. */
async function writeSudoers(system: System, wanted: Wanted): Promise<void> {
  const text = sudoers(wanted);
  if (text === undefined) {
    await rm(at(system, sudoersPath), { force: true });
    await syncDirectory(at(system, '/etc/sudoers.d'));
    return;
  }
  const trial = at(system, `${folder}/sudoers`);
  await writeDurably(trial, text, 0o440);
  await system.run('visudo', ['--check', '--file', trial]);
  await rm(trial);
  await makeFolder(at(system, '/etc/sudoers.d'), 0o700);
  await writeDurably(at(system, sudoersPath), text, 0o440);
}

async function hasPassword(system: System, { name, hash }: Wanted): Promise<boolean> {
  return hash === undefined || (await readShadow(system, name))?.hash === hash;
}

/** True if the account has expired, as only this step lets it. */
async function isClosed(system: System, name: string): Promise<boolean> {
  return (await readShadow(system, name))?.expires === '1';
}

async function isClosedOrUsed(system: System, name: string): Promise<boolean> {
  return (await isClosed(system, name)) || (await namesWithKey(system)).includes(name);
}
