import { join } from 'node:path';
import { parseKeys } from '../settings.ts';
import { at, readIfThere, type System } from '../system.ts';

export type User = { name: string; uid: number; gid: number; home: string };

/** Accounts of passwd(5). */
export async function readUsers(system: System): Promise<User[]> {
  const text = (await readIfThere(at(system, '/etc/passwd'))) ?? '';
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length === 7)
    .map(([name = '', , uid, gid, , home]) => ({
      name,
      uid: Number(uid),
      gid: Number(gid),
      home: home || `/home/${name}`,
    }));
}

/** Hash and expiry date (days since 1970, or nothing) of an account in shadow(5). */
export async function readShadow(
  system: System,
  name: string,
): Promise<{ hash: string; expires: string } | undefined> {
  const text = (await readIfThere(at(system, '/etc/shadow'))) ?? '';
  const fields = text
    .split('\n')
    .map((line) => line.split(':'))
    .find(([entry]) => entry === name);
  return fields && { hash: fields[1] ?? '', expires: fields[7] ?? '' };
}

export function keysPath(system: System, user: User): string {
  return at(system, join(user.home, '.ssh/authorized_keys'));
}

/** Names of people's accounts (uid_min to uid_max of Debian's login.defs(5)) that a key lets in. */
export async function namesWithKey(system: System): Promise<string[]> {
  const names: string[] = [];
  for (const user of await readUsers(system)) {
    if (user.uid < 1000 || user.uid >= 60000) continue;
    const keys = await readIfThere(keysPath(system, user));
    if (keys && hasKey(keys)) names.push(user.name);
  }
  return names;
}

function hasKey(text: string): boolean {
  try {
    return parseKeys(text).length > 0;
  } catch {
    return false;
  }
}

/** Members of the group sudo whose account has not expired: group(5). */
export async function adminNames(system: System): Promise<string[]> {
  const groups = (await readIfThere(at(system, '/etc/group'))) ?? '';
  const line = groups.split('\n').find((entry) => entry.startsWith('sudo:')) ?? '';
  const names: string[] = [];
  for (const name of (line.split(':')[3] ?? '').split(',').filter(Boolean))
    if ((await readShadow(system, name))?.expires !== '1') names.push(name);
  return names;
}
