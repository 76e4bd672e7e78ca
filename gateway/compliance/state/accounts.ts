import { type Facts, once, readIfThere, settings } from '../facts.ts';

export type User = {
  name: string;
  password: string;
  uid: number;
  gid: number;
  home: string;
  shell: string;
};
export type Shadow = {
  name: string;
  hash: string;
  /** Days since 1970 of the last change; days of age; undefined where the field is empty. */
  changed: number | undefined;
  least: number | undefined;
  most: number | undefined;
  inactive: number | undefined;
};
export type Group = { name: string; gid: number; members: readonly string[] };

const rows = (text: string) => settings(text).map((line) => line.split(':'));

const numeric = (field: string | undefined): number | undefined =>
  field ? Number(field) : undefined;

/** passwd(5). @throws if a line is none of an account, or root is missing. */
export const users = once((facts): readonly User[] => {
  const all = rows(facts.tree.read('/etc/passwd')).map((fields) => {
    const [name = '', password = '', uid, gid, , home = '', shell = ''] = fields;
    if (fields.length !== 7 || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? ''))
      throw new Error(`/etc/passwd has a line that is no account: ${name}`);
    return { name, password, uid: Number(uid), gid: Number(gid), home, shell };
  });
  if (!all.some((user) => user.name === 'root')) throw new Error('/etc/passwd has no root');
  return all;
});

/** shadow(5). */
export const shadows = once((facts): readonly Shadow[] => {
  const all = rows(facts.tree.read('/etc/shadow')).map((fields) => {
    const [name = '', hash = '', changed, least, most, , inactive] = fields;
    if (fields.length !== 9) throw new Error(`/etc/shadow has a line that is no account: ${name}`);
    return {
      name,
      hash,
      changed: numeric(changed),
      least: numeric(least),
      most: numeric(most),
      inactive: numeric(inactive),
    };
  });
  if (!all.some((one) => one.name === 'root')) throw new Error('/etc/shadow has no root');
  return all;
});

/** group(5). */
export const groups = once((facts): readonly Group[] => {
  const all = rows(facts.tree.read('/etc/group')).map((fields) => {
    const [name = '', , gid, members = ''] = fields;
    if (fields.length !== 4 || !/^\d+$/.test(gid ?? ''))
      throw new Error(`/etc/group has a line that is no group: ${name}`);
    return { name, gid: Number(gid), members: members.split(',').filter(Boolean) };
  });
  if (!all.some((group) => group.name === 'root')) throw new Error('/etc/group has no root');
  return all;
});

export function groupId(facts: Facts, name: string): number | undefined {
  return groups(facts).find((group) => group.name === name)?.gid;
}

/** True for a password that can be given: crypt(5) hashes begin with `$`, old ones with a letter. */
export const hasPassword = (hash: string): boolean => hash === '' || /^[$\w./]/.test(hash);

/** Accounts whose password can be given; password ages mean nothing for others. */
export const withPassword = once((facts) =>
  shadows(facts).filter((one) => one.hash !== '' && hasPassword(one.hash)),
);

/** Shells that let one in: shells(5) without those that only say no. */
export const loginShells = once(
  (facts) =>
    new Set(
      settings(facts.tree.read('/etc/shells')).filter((path) => !/\/(nologin|false)$/.test(path)),
    ),
);

/** Accounts of people: a login shell, and a UID from UID_MIN on. */
export const people = once((facts) => {
  const least = Number(loginDefs(facts).get('UID_MIN') ?? 1000);
  return users(facts).filter(
    (user) => user.uid >= least && user.uid !== 65534 && loginShells(facts).has(user.shell),
  );
});

/** login.defs(5). */
export const loginDefs = once((facts): ReadonlyMap<string, string> => {
  const pairs = settings(facts.tree.read('/etc/login.defs')).map((line) => line.split(/\s+/));
  return new Map(pairs.map(([key = '', value = '']) => [key, value]));
});

/** What useradd gives new accounts: useradd(8). */
export const useraddDefaults = once((facts): ReadonlyMap<string, string> => {
  const lines = settings(readIfThere(facts, '/etc/default/useradd') ?? '');
  return new Map(lines.map((line) => line.split('=') as [string, string]));
});
