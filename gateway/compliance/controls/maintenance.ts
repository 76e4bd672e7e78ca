import { type Body, type Control, l1, none, notApplicable } from '../control.ts';
import type { Facts } from '../facts.ts';
import { access } from '../kinds.ts';
import { groups, people, shadows, users } from '../state/accounts.ts';
import { unusualFiles } from '../state/walk.ts';

const shadow = ['shadow'];

const worldWritable: Body = {
  title: 'Nothing on the root file system is writable by all, but for sticky directories',
  checks:
    'the walk over the root file system: no file with mode o+w; directories with o+w have the sticky bit',
  mend: 'chmod o-w the files, chmod a+t the directories',
  check: (facts) => {
    const all = unusualFiles(facts).filter((one) => one.mode & 0o002);
    return none(
      all
        .filter((one) => one.kind === 'file' || (one.kind === 'directory' && !(one.mode & 0o1000)))
        .map((one) => `${one.path}: ${one.mode.toString(8)}`),
      `${all.length} sticky directories, and sockets and devices`,
    );
  },
};

const ownerless: Body = {
  title: 'Every file has an owner and a group that exist',
  checks:
    'the walk over the root file system: every UID is in /etc/passwd, every GID in /etc/group',
  mend: 'chown root:root the files, or remove them',
  check: (facts) => {
    const uids = new Set(users(facts).map((user) => user.uid));
    const gids = new Set(groups(facts).map((group) => group.gid));
    return none(
      unusualFiles(facts)
        .filter((one) => !uids.has(one.uid) || !gids.has(one.gid))
        .map((one) => `${one.path}: ${one.uid}:${one.gid}`),
      'no file of an unknown owner',
    );
  },
};

/** Set-ID programs of Debian's packages that this image or its options bring, by package. */
const known = new Set([
  ...['chage', 'chfn', 'chsh', 'expiry', 'gpasswd', 'newgrp', 'passwd'], // passwd, login
  ...['mount', 'umount', 'su'], // mount, util-linux
  ...['sudo', 'ssh-agent', 'crontab', 'fusermount3', 'pkexec'],
  ...['newuidmap', 'newgidmap'], // uidmap, for rootless containers
  ...['unix_chkpwd', 'ssh-keysign', 'dbus-daemon-launch-helper', 'polkit-agent-helper-1'],
]);

const setId: Body = {
  title: 'There is no set-ID program but those that are known',
  checks: `the walk over the root file system: set-user-ID and set-group-ID files below /usr/bin, /usr/sbin, /usr/lib named ${[...known].join(', ')}, owned by root`,
  mend: 'chmod u-s,g-s the file, or remove its package',
  check: (facts) => {
    const files = unusualFiles(facts).filter((one) => one.kind === 'file' && one.mode & 0o6000);
    return none(
      files
        .filter(
          (one) =>
            one.uid !== 0 ||
            !/^\/usr\/(bin|sbin|lib)\//.test(one.path) ||
            !known.has(one.path.split('/').at(-1) ?? ''),
        )
        .map((one) => `${one.path}: ${one.mode.toString(8)}`),
      `${files.length} set-ID programs, all known`,
    );
  },
};

/** Names or numbers that come more than once. */
function repeated(values: readonly (string | number)[]): string[] {
  const seen = new Set<string | number>();
  return [...new Set(values.filter((value) => seen.size === seen.add(value).size))].map(String);
}

const unique = (
  what: string,
  file: string,
  values: (facts: Facts) => (string | number)[],
): Body => ({
  title: `No two have the same ${what}`,
  checks: `${what} in ${file} come once each`,
  mend: `Give one of them another ${what}`,
  check: (facts) => none(repeated(values(facts)), `${values(facts).length}, all different`),
});

const homes: Body = {
  title: "Homes are their owners' alone",
  checks:
    'the home of each account with a login shell and UID from UID_MIN on: there, owned by it, mode at most 0750',
  mend: 'chown USER the home, chmod 0750',
  check: (facts) => {
    const owners = people(facts);
    if (owners.length === 0) return notApplicable('nobody can log in');
    return none(
      owners.flatMap((user) => {
        const stat = facts.tree.stat(user.home);
        if (!stat) return [`${user.home} is not there`];
        return stat.uid !== user.uid || stat.mode & 0o027
          ? [`${user.home}: ${stat.mode.toString(8)}, owner ${stat.uid}`]
          : [];
      }),
      owners.map((user) => user.home).join(', '),
    );
  },
};

const dotFiles: Body = {
  title: "Start files in homes are their owners' alone",
  checks:
    'files in homes whose names begin with a dot: no .forward, .rhosts, .shosts; .netrc and .bash_history at most 0600; others at most 0644 (not writable by others, not executable); owner and group those of the account',
  mend: 'rm .forward .rhosts; chmod go-w, chown USER the files',
  check: (facts) => {
    const owners = people(facts);
    if (owners.length === 0) return notApplicable('nobody can log in');
    let seen = 0;
    const wrong = owners.flatMap((user) =>
      facts.tree
        .list(user.home)
        .filter((name) => name.startsWith('.'))
        .flatMap((name) => {
          const path = `${user.home}/${name}`;
          const stat = facts.tree.stat(path);
          if (stat?.kind !== 'file') return [];
          seen++;
          if (/^\.(forward|rhosts|shosts)$/.test(name)) return [`${path} is there`];
          const most = /^\.(netrc|bash_history)$/.test(name) ? 0o600 : 0o644;
          return stat.mode & ~most || stat.uid !== user.uid || stat.gid !== user.gid
            ? [`${path}: ${stat.mode.toString(8)} ${stat.uid}:${stat.gid}`]
            : [];
        }),
    );
    return none(wrong, `${seen} files of ${owners.map((user) => user.name).join(', ')}`);
  },
};

/** Chapter 7: system maintenance. */
export const maintenance: readonly Control[] = [
  l1('7.1.1', access(['/etc/passwd'], { mode: 0o644 })),
  l1('7.1.2', access(['/etc/passwd-'], { mode: 0o644, optional: true })),
  l1('7.1.3', access(['/etc/group'], { mode: 0o644 })),
  l1('7.1.4', access(['/etc/group-'], { mode: 0o644, optional: true })),
  l1(
    '7.1.5',
    access(['/etc/shadow'], { mode: 0o640, groups: shadow }, 'Only root reads /etc/shadow'),
  ),
  l1(
    '7.1.6',
    access(
      ['/etc/shadow-'],
      { mode: 0o640, groups: shadow, optional: true },
      'Only root reads /etc/shadow-',
    ),
  ),
  l1(
    '7.1.7',
    access(['/etc/gshadow'], { mode: 0o640, groups: shadow }, 'Only root reads /etc/gshadow'),
  ),
  l1(
    '7.1.8',
    access(
      ['/etc/gshadow-'],
      { mode: 0o640, groups: shadow, optional: true },
      'Only root reads /etc/gshadow-',
    ),
  ),
  l1('7.1.9', access(['/etc/shells'], { mode: 0o644 })),
  l1(
    '7.1.10',
    access(
      ['/etc/security/opasswd', '/etc/security/opasswd.old'],
      { mode: 0o600, optional: true },
      'Only root reads old passwords',
    ),
  ),
  l1('7.1.11', worldWritable),
  l1('7.1.12', ownerless),
  l1('7.1.13', setId),
  l1('7.2.1', {
    title: 'No password is in /etc/passwd',
    checks: 'second field of /etc/passwd is x',
    mend: 'pwconv',
    check: (facts) =>
      none(
        users(facts)
          .filter((user) => user.password !== 'x')
          .map((user) => user.name),
        `${users(facts).length} accounts`,
      ),
  }),
  l1('7.2.2', {
    title: 'No password is empty',
    checks: 'second field of /etc/shadow is not empty',
    mend: 'passwd -l USER',
    check: (facts) =>
      none(
        shadows(facts)
          .filter((one) => one.hash === '')
          .map((one) => one.name),
        `${shadows(facts).length} accounts`,
      ),
  }),
  l1('7.2.3', {
    title: "Every account's group exists",
    checks: 'fourth field of /etc/passwd is in /etc/group',
    mend: 'Make the group, or: usermod -g another',
    check: (facts) => {
      const gids = new Set(groups(facts).map((group) => group.gid));
      return none(
        users(facts)
          .filter((user) => !gids.has(user.gid))
          .map((user) => `${user.name}: ${user.gid}`),
        `${users(facts).length} accounts`,
      );
    },
  }),
  l1('7.2.4', {
    title: 'Nobody is in the group shadow',
    checks: 'members of shadow in /etc/group, and accounts whose group it is',
    mend: 'gpasswd -d USER shadow',
    check: (facts) => {
      const group = groups(facts).find((one) => one.name === 'shadow');
      if (!group) return notApplicable('there is no group shadow');
      return none(
        [
          ...group.members,
          ...users(facts)
            .filter((user) => user.gid === group.gid)
            .map((user) => user.name),
        ],
        'shadow has no members',
      );
    },
  }),
  l1(
    '7.2.5',
    unique('UID', '/etc/passwd', (facts) => users(facts).map((user) => user.uid)),
  ),
  l1(
    '7.2.6',
    unique('GID', '/etc/group', (facts) => groups(facts).map((group) => group.gid)),
  ),
  l1(
    '7.2.7',
    unique('user name', '/etc/passwd', (facts) => users(facts).map((user) => user.name)),
  ),
  l1(
    '7.2.8',
    unique('group name', '/etc/group', (facts) => groups(facts).map((group) => group.name)),
  ),
  l1('7.2.9', homes),
  l1('7.2.10', dotFiles),
];
