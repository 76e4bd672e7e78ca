/**
 * Accounts of a backup on a newer image: people are as they were, and the system's own accounts stay the image's, as
 * its packages have other ids. passwd(5), shadow(5), group(5), gshadow(5), subuid(5).
 */

export const accountFiles = [
  '/etc/passwd',
  '/etc/shadow',
  '/etc/group',
  '/etc/gshadow',
  '/etc/subuid',
  '/etc/subgid',
] as const;
export type AccountFile = (typeof accountFiles)[number];
export type Accounts = Readonly<Partial<Record<AccountFile, string>>>;

type Line = string[];

const linesOf = (text = ''): Line[] =>
  text.split('\n').flatMap((line) => (line === '' ? [] : [line.split(':')]));

const textOf = (lines: readonly Line[]) => lines.map((line) => `${line.join(':')}\n`).join('');

/** UID_MIN to UID_MAX of Debian's login.defs(5); groups have the same. */
const isPerson = ([, , id = '']: Line) => Number(id) >= 1000 && Number(id) < 60_000;

const nameOf = ([name = '']: Line) => name;

/** The files as they are to be; only those that the backup has. */
export function mergeAccounts(old: Accounts, now: Accounts): Accounts {
  const oldPeople = linesOf(old['/etc/passwd']).filter(isPerson);
  const people = new Set(oldPeople.map(nameOf));
  const gone = new Set(linesOf(now['/etc/passwd']).filter(isPerson).map(nameOf));
  /** People, in the old files or the new ones. */
  const isPeople = (name: string) => people.has(name) || gone.has(name);
  const oldGroups = linesOf(old['/etc/group']);
  const ownGroups = new Set(oldGroups.filter(isPerson).map(nameOf));
  const newGroups = new Set(linesOf(now['/etc/group']).filter(isPerson).map(nameOf));

  const byName = (
    file: AccountFile,
    isOld: (name: string) => boolean,
    isDropped: (name: string) => boolean,
  ) => [
    ...linesOf(now[file]).filter((line) => !isOld(nameOf(line)) && !isDropped(nameOf(line))),
    ...linesOf(old[file]).filter((line) => isOld(nameOf(line))),
  ];
  /** Members of a system group: the image's own accounts, and people as they were. */
  const members = (file: AccountFile, place: number) => (line: Line) => {
    const before = linesOf(old[file]).find((one) => nameOf(one) === nameOf(line));
    if (!before || ownGroups.has(nameOf(line))) return line;
    const list = (one: Line) => (one[place] ?? '').split(',').filter(Boolean);
    const all = [
      ...list(line).filter((name) => !isPeople(name)),
      ...list(before).filter((name) => people.has(name)),
    ];
    return line.map((field, index) => (index === place ? all.join(',') : field));
  };
  const isGroup = (name: string) => ownGroups.has(name);
  const isLostGroup = (name: string) => newGroups.has(name) && !ownGroups.has(name);
  const isPersonName = (name: string) => people.has(name);
  const isLost = (name: string) => gone.has(name) && !people.has(name);

  const merged: Record<AccountFile, Line[]> = {
    '/etc/passwd': byName('/etc/passwd', isPersonName, isLost),
    // With root's own password, if it had one.
    '/etc/shadow': byName('/etc/shadow', (name) => people.has(name) || name === 'root', isLost),
    '/etc/group': byName('/etc/group', isGroup, isLostGroup).map(members('/etc/group', 3)),
    '/etc/gshadow': byName('/etc/gshadow', isGroup, isLostGroup).map(members('/etc/gshadow', 3)),
    '/etc/subuid': byName('/etc/subuid', isPersonName, isLost),
    '/etc/subgid': byName('/etc/subgid', isPersonName, isLost),
  };
  return Object.fromEntries(
    accountFiles.flatMap((file) => (old[file] === undefined ? [] : [[file, textOf(merged[file])]])),
  );
}

/** Which number an owner of the backup has now: by the name, as numbers of system accounts differ between images. */
export function idMap(old: string | undefined, now: string | undefined): (id: number) => number {
  const names = new Map(linesOf(old).map(([name = '', , id]) => [Number(id), name]));
  const ids = new Map(linesOf(now).map(([name = '', , id]) => [name, Number(id)]));
  return (id) => ids.get(names.get(id) ?? '') ?? id;
}
