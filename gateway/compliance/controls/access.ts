import { type Body, type Control, fail, judge, l1, l2, none, pass } from '../control.ts';
import { type Facts, readIfThere, settings } from '../facts.ts';
import {
  access,
  accessIn,
  between,
  packageInstalled,
  pamEnabled,
  pamValue,
  shellStartFiles,
  sshd,
  sshdIs,
  sshdWithout,
} from '../kinds.ts';
import {
  groups,
  hasPassword,
  loginDefs,
  loginShells,
  type Shadow,
  shadows,
  useraddDefaults,
  users,
  withPassword,
} from '../state/accounts.ts';
import { faillock, pamModule, pwhistory, pwquality } from '../state/pam.ts';
import { sshdOption } from '../state/sshd.ts';
import { sudoDefaults, sudoers } from '../state/sudo.ts';

/** sshd_config(5) time formats in seconds. */
function seconds(value: string): number {
  const units: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
  if (!/^(\d+[smhdw]?)+$/i.test(value)) return Number.NaN;
  return [...value.toLowerCase().matchAll(/(\d+)([smhdw]?)/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (units[unit || 's'] ?? 1),
    0,
  );
}

const number = (least: number, most: number) => (value: string) => between(least, most)(value);

const hostKeys: Body = accessIn(
  ['/etc/ssh'],
  /^ssh_host_.*_key$/,
  { mode: 0o600 },
  "Only root reads sshd's keys",
);

const allowed: Body = {
  title: 'Only users who are named get in by SSH',
  checks: 'one of AllowUsers, AllowGroups, DenyUsers, DenyGroups of `sshd -T` is set',
  mend: 'In /etc/ssh/sshd_config.d: AllowGroups sudo',
  check: (facts) => {
    const set = ['allowusers', 'allowgroups', 'denyusers', 'denygroups'].flatMap((name) => {
      const value = sshdOption(facts, name);
      return value ? [`${name} ${value}`] : [];
    });
    return judge(set.length > 0, set.join('; ') || 'no list of users or groups');
  },
};

const sshBanner: Body = {
  title: 'sshd shows a warning before login',
  checks: 'Banner of `sshd -T` is a file that is there and tells nothing of the system',
  mend: 'In /etc/ssh/sshd_config.d: Banner /etc/issue.net',
  check: (facts) => {
    const path = sshdOption(facts, 'Banner');
    if (!path || path === 'none') return fail('Banner none');
    const text = readIfThere(facts, path)?.trim();
    if (!text) return fail(`${path} says nothing`);
    return judge(!/\\[mrsv]|debian/i.test(text), `${path}: ${text.split('\n')[0]}`);
  },
};

const alive: Body = {
  title: 'Dead SSH sessions end',
  checks: 'ClientAliveInterval and ClientAliveCountMax of `sshd -T` are greater than 0',
  mend: 'In /etc/ssh/sshd_config.d: ClientAliveInterval 15, ClientAliveCountMax 3',
  check: (facts) => {
    const values = ['ClientAliveInterval', 'ClientAliveCountMax'].map(
      (name) => [name, sshdOption(facts, name) ?? '0'] as const,
    );
    return judge(
      values.every(([, value]) => seconds(value) > 0),
      values.map((pair) => pair.join(' ')).join('; '),
    );
  },
};

/** As the benchmark lists them, with what ssh-audit calls weak. */
const weakCiphers = [
  '3des-cbc',
  'aes128-cbc',
  'aes192-cbc',
  'aes256-cbc',
  'rijndael-cbc@lysator.liu.se',
];
const weakKex = [
  'diffie-hellman-group1-sha1',
  'diffie-hellman-group14-sha1',
  'diffie-hellman-group-exchange-sha1',
];
const weakMacs = [
  'hmac-md5',
  'hmac-md5-96',
  'hmac-ripemd160',
  'hmac-sha1',
  'hmac-sha1-96',
  'umac-64@openssh.com',
  'hmac-md5-etm@openssh.com',
  'hmac-md5-96-etm@openssh.com',
  'hmac-ripemd160-etm@openssh.com',
  'hmac-sha1-etm@openssh.com',
  'hmac-sha1-96-etm@openssh.com',
  'umac-64-etm@openssh.com',
];
const postQuantum = [
  'mlkem768x25519-sha256',
  'sntrup761x25519-sha512',
  'sntrup761x25519-sha512@openssh.com',
];

/** 10:30:60 or stricter, each part. */
function strictStartups(value: string): boolean {
  const parts = value.split(':');
  const most = [10, 30, 60];
  return parts.length === 3 && parts.every((part, at) => number(1, most[at] ?? 0)(part));
}

const sudoSetting = (
  key: string,
  wanted: string,
  right: (value: string | undefined) => boolean,
  title: string,
  mend: string,
): Body => ({
  title,
  checks: `Defaults ${key} in /etc/sudoers and what it includes: ${wanted}`,
  mend: `In /etc/sudoers.d: ${mend}`,
  check: (facts) => {
    const value = sudoDefaults(facts).get(key);
    return judge(right(value), `${key} ${value === undefined ? 'is not set' : `= ${value}`}`);
  },
});

/** Accounts that a sudoers user specification is for: a name, `%group`, or ALL. */
function accountsOf(facts: Facts, who: string): string[] {
  if (who === 'ALL') return users(facts).map((user) => user.name);
  if (!who.startsWith('%')) return [who];
  const group = groups(facts).find((one) => one.name === who.slice(1));
  if (!group) return [];
  const primary = users(facts).filter((user) => user.gid === group.gid);
  return [...group.members, ...primary.map((user) => user.name)];
}

/** In the benchmark: no NOPASSWD at all. */
const noPassword: Body = {
  title: 'sudo asks for the password of everybody who has one',
  checks:
    'NOPASSWD in sudoers only for accounts whose field in /etc/shadow is no password (`!` or `*`), so that their SSH key is the only way in',
  mend: 'Lock the password (passwd -l USER), or take NOPASSWD from the line',
  check: (facts) => {
    const lines = sudoers(facts).filter((line) => /\bNOPASSWD\b/.test(line));
    const wrong = lines.flatMap((line) =>
      (line.split(/\s+/)[0] ?? '').split(',').flatMap((who) => {
        // Aliases, +netgroups and #uids are not looked up: that is no reason to trust them.
        if (!/^(ALL|%?[a-z_][\w-]*)$/.test(who)) return [`${who} cannot be looked up`];
        return accountsOf(facts, who)
          .filter((name) => {
            const one = shadows(facts).find((shadow) => shadow.name === name);
            return !one || hasPassword(one.hash);
          })
          .map((name) => `${name} has a password and NOPASSWD`);
      }),
    );
    return none(
      wrong,
      lines.length ? `locked, so by key only: ${lines.join('; ')}` : 'no NOPASSWD',
    );
  },
};

const reauthenticate: Body = {
  title: 'sudo does not trust without asking',
  checks: 'no `!authenticate` in /etc/sudoers and what it includes',
  mend: "Take '!authenticate' out of the sudoers files",
  check: (facts) =>
    none(
      sudoers(facts).filter((line) => /!authenticate\b/.test(line)),
      `${sudoers(facts).length} lines, no !authenticate`,
    ),
};

const su: Body = {
  title: 'su is for a group without members',
  checks:
    '/etc/pam.d/su has `auth required pam_wheel.so use_uid group=GROUP`, and GROUP has no members',
  mend: "addgroup --system sugroup; in /etc/pam.d/su: 'auth required pam_wheel.so use_uid group=sugroup'",
  check: (facts) => {
    const line = pamModule(facts, 'su', 'auth', 'pam_wheel.so').find(
      (one) => /^auth\s+(required|requisite)\s/.test(one.text) && one.args.includes('use_uid'),
    );
    const name = line?.args.find((arg) => arg.startsWith('group='))?.slice('group='.length);
    if (!name) return fail('no required pam_wheel.so with use_uid and group= in /etc/pam.d/su');
    const group = groups(facts).find((one) => one.name === name);
    if (!group) return fail(`there is no group ${name}`);
    return none(
      group.members.map((member) => `${member} is in ${name}`),
      `group ${name} has no members`,
    );
  },
};

const auth = ['common-auth', 'auth'] as const;
const password = ['common-password', 'password'] as const;

const lockout = (
  key: string,
  wanted: string,
  right: (value: string | undefined) => boolean,
  mend: string,
  title: string,
) =>
  pamValue({
    title,
    key,
    wanted,
    right,
    mend,
    module: 'pam_faillock.so',
    stack: auth,
    file: faillock,
    path: '/etc/security/faillock.conf',
  });
const quality = (
  key: string,
  wanted: string,
  right: (value: string | undefined) => boolean,
  mend: string,
  title: string,
) =>
  pamValue({
    title,
    key,
    wanted,
    right,
    mend,
    module: 'pam_pwquality.so',
    stack: password,
    file: pwquality,
    path: '/etc/security/pwquality.conf',
  });
const history = (
  key: string,
  wanted: string,
  right: (value: string | undefined) => boolean,
  mend: string,
  title: string,
) =>
  pamValue({
    title,
    key,
    wanted,
    right,
    mend,
    module: 'pam_pwhistory.so',
    stack: password,
    file: pwhistory,
    path: '/etc/security/pwhistory.conf',
  });

const present = (value: string | undefined) => value !== undefined;

const rootLockout: Body = {
  ...lockout(
    'even_deny_root',
    'even_deny_root, or root_unlock_time of 60 or more',
    present,
    'even_deny_root, root_unlock_time = 60',
    'root is locked out like others',
  ),
  check: (facts) => {
    const lines = pamModule(facts, ...auth, 'pam_faillock.so');
    if (lines.length === 0) return fail('pam_faillock.so is not in common-auth');
    const set = new Map(faillock(facts));
    for (const arg of lines.flatMap((line) => line.args)) {
      const [key = '', value = ''] = arg.split('=', 2);
      set.set(key, value);
    }
    const time = set.get('root_unlock_time');
    return judge(
      (set.has('even_deny_root') || time !== undefined) &&
        (time === undefined || between(60, Number.MAX_SAFE_INTEGER)(time)),
      `even_deny_root ${set.has('even_deny_root') ? 'set' : 'not set'}; root_unlock_time ${time ?? 'not set'}`,
    );
  },
};

const complexity: Body = {
  title: 'Passwords mix kinds of characters',
  checks:
    'minclass of 3 or more, or dcredit, ucredit, lcredit, ocredit below 0, in pwquality.conf or on the line',
  mend: 'In /etc/security/pwquality.conf: minclass = 3',
  check: (facts) => {
    const lines = pamModule(facts, ...password, 'pam_pwquality.so');
    if (lines.length === 0) return fail('pam_pwquality.so is not in common-password');
    const set = pwquality(facts);
    const credits = ['dcredit', 'ucredit', 'lcredit', 'ocredit'].filter(
      (key) => Number(set.get(key) ?? 0) < 0,
    );
    return judge(
      Number(set.get('minclass') ?? 0) >= 3 || credits.length >= 3,
      `minclass ${set.get('minclass') ?? 'not set'}; below 0: ${credits.join(', ') || 'none'}`,
    );
  },
};

/** A password module's arguments in common-password. */
function unixArgs(
  title: string,
  checks: string,
  mend: string,
  right: (args: readonly string[]) => boolean,
): Body {
  return {
    title,
    checks: `pam_unix.so in /etc/pam.d/common-*: ${checks}`,
    mend: `${mend} in /usr/share/pam-configs/unix; pam-auth-update`,
    check: (facts) => {
      const lines = ['password', 'auth', 'account', 'session'].flatMap((type) =>
        pamModule(facts, `common-${type}`, type, 'pam_unix.so'),
      );
      const main = lines.filter((line) => line.type === 'password');
      if (main.length === 0) return fail('pam_unix.so is not in common-password');
      const wrong = (checks.startsWith('no ') ? lines : main).filter((line) => !right(line.args));
      return none(
        wrong.map((line) => line.text),
        main.map((line) => line.text).join('; '),
      );
    },
  };
}

const useAuthtok: Body = unixArgs(
  'pam_unix takes the password that was judged before',
  'use_authtok on the password line',
  'use_authtok',
  (args) => args.includes('use_authtok'),
);

/** A value of login.defs(5), and the same of every account that has a password. */
function passwordAge(o: {
  key: string;
  field: 'most' | 'least';
  wanted: string;
  right: (value: number | undefined) => boolean;
  mend: string;
  title: string;
}): Body {
  return {
    title: o.title,
    checks: `${o.key} in /etc/login.defs, and the same field of /etc/shadow of each account with a password: ${o.wanted}`,
    mend: `In /etc/login.defs: ${o.key} ${o.mend}; chage for accounts that are there`,
    check: (facts) => {
      const value = loginDefs(facts).get(o.key);
      const wrong = withPassword(facts).filter((one) => !o.right(one[o.field]));
      return none(
        [
          ...(value !== undefined && o.right(Number(value))
            ? []
            : [`${o.key} ${value ?? 'not set'}`]),
          ...wrong.map((one) => `${one.name}: ${one[o.field] ?? 'none'}`),
        ],
        `${o.key} ${value}; ${withPassword(facts).length} accounts with a password`,
      );
    },
  };
}

const inactive: Body = {
  title: 'Accounts whose password is out of date are locked',
  checks:
    'INACTIVE in /etc/default/useradd, and the field of each account with a password: 0 to 45 days',
  mend: 'useradd -D -f 45; chage --inactive 45 USER',
  check: (facts) => {
    const value = useraddDefaults(facts).get('INACTIVE');
    const late = (one: Shadow) =>
      one.inactive === undefined || one.inactive < 0 || one.inactive > 45;
    return none(
      [
        ...(between(0, 45)(value) ? [] : [`INACTIVE ${value ?? 'not set'}`]),
        ...withPassword(facts)
          .filter(late)
          .map((one) => `${one.name}: ${one.inactive ?? 'never'}`),
      ],
      `INACTIVE ${value}; ${withPassword(facts).length} accounts with a password`,
    );
  },
};

const changedInPast: Body = {
  title: 'No password was changed in the future',
  checks: 'third field of /etc/shadow of each account with a password is not after today',
  mend: 'chage --lastday today USER, or expire the password',
  check: (facts) => {
    const today = Math.floor(Date.now() / 86_400_000);
    return none(
      withPassword(facts)
        .filter((one) => (one.changed ?? 0) > today)
        .map((one) => `${one.name}: day ${one.changed}`),
      `${withPassword(facts).length} accounts with a password`,
    );
  },
};

/** Accounts that Debian gives the group root: base-passwd(8). */
const rootGroupAccounts = ['root', 'sync', 'shutdown', 'halt', 'operator'];

const rootPath: Body = {
  title: "Nobody but root can put a program in root's PATH",
  checks:
    'ENV_SUPATH in /etc/login.defs and secure_path of sudo: absolute, no `.`, each a directory of root that group and others cannot write',
  mend: 'Take the directory out of the path, or: chown root, chmod go-w',
  check: (facts) => {
    const paths = [
      loginDefs(facts)
        .get('ENV_SUPATH')
        ?.replace(/^PATH=/, ''),
      sudoDefaults(facts).get('secure_path'),
    ].filter((path) => path !== undefined);
    if (paths.length === 0) return fail('no path is set');
    const wrong = new Set<string>();
    for (const directory of paths.flatMap((path) => path.split(':'))) {
      const stat = directory.startsWith('/') ? facts.tree.stat(directory) : undefined;
      if (!directory.startsWith('/')) wrong.add(`'${directory}' is not absolute`);
      else if (stat && (stat.kind !== 'directory' || stat.uid !== 0 || stat.mode & 0o022))
        wrong.add(`${directory}: ${stat.mode.toString(8)}, owner ${stat.uid}`);
    }
    return none([...wrong], paths[0] ?? '');
  },
};

const umaskOf = (lines: readonly string[]) =>
  lines.flatMap((line) => /(?:^|[;&\s])umask\s+(\d{3,4})\b/.exec(line)?.[1] ?? []);

const strict = (mask: string) => (parseInt(mask, 8) & 0o027) === 0o027;

const rootUmask: Body = {
  title: "root's new files are closed to others",
  checks:
    'umask in /root/.bash_profile, .bashrc and .profile, where they set one: 0027 or stricter',
  mend: "Take 'umask' out of root's files, or set 0027",
  check: (facts) => {
    if (!facts.tree.stat('/root')) return fail('/root is not there');
    const set = ['.bash_profile', '.bashrc', '.profile'].flatMap((name) =>
      umaskOf(settings(readIfThere(facts, `/root/${name}`) ?? '')).map((mask) => ({
        name,
        mask,
      })),
    );
    return none(
      set
        .filter(({ mask }) => !strict(mask))
        .map(({ name, mask }) => `/root/${name}: umask ${mask}`),
      set.map(({ name, mask }) => `/root/${name}: umask ${mask}`).join('; ') ||
        "root's files set none",
    );
  },
};

const defaultUmask: Body = {
  title: 'New files are closed to others',
  checks:
    'UMASK in /etc/login.defs is 027 or stricter (pam_umask gives it to every session), and no file of /etc/profile.d, /etc/profile or /etc/bash.bashrc sets a weaker one',
  mend: 'In /etc/login.defs: UMASK 027 (and pam_umask.so in common-session)',
  check: (facts) => {
    const mask = loginDefs(facts).get('UMASK');
    const files = shellStartFiles(facts).flatMap(({ path, lines }) =>
      umaskOf(lines).map((one) => ({ path, mask: one })),
    );
    const pam = ['common-session', 'common-session-noninteractive'].filter(
      (service) => pamModule(facts, service, 'session', 'pam_umask.so').length === 0,
    );
    return none(
      [
        ...(mask !== undefined && strict(mask)
          ? []
          : [`/etc/login.defs: UMASK ${mask ?? 'not set'}`]),
        ...pam.map((service) => `${service} has no pam_umask.so`),
        ...files.filter((one) => !strict(one.mask)).map((one) => `${one.path}: umask ${one.mask}`),
      ],
      `UMASK ${mask}, by pam_umask.so`,
    );
  },
};

const timeout: Body = {
  title: 'An idle shell ends',
  checks:
    'TMOUT in /etc/profile.d, /etc/profile or /etc/bash.bashrc: 1 to 900, read-only and exported',
  mend: "In /etc/profile.d/*.sh: 'TMOUT=900; readonly TMOUT; export TMOUT'",
  check: (facts) => {
    const files = shellStartFiles(facts);
    const lines = files.flatMap(({ path, lines }) =>
      lines.filter((line) => /\bTMOUT\b/.test(line)).map((line) => ({ path, line: line.trim() })),
    );
    const values = lines.flatMap(({ line }) => /\bTMOUT=(\d+)/.exec(line)?.[1] ?? []);
    const all = lines.map(({ line }) => line).join(' ');
    return judge(
      values.length > 0 &&
        values.every((value) => between(1, 900)(value)) &&
        /\b(readonly|declare -\w*r\w*|typeset -\w*r\w*)\b/.test(all) &&
        /\b(export|declare -\w*x\w*|typeset -\w*x\w*)\b/.test(all),
      lines.map(({ path, line }) => `${path}: ${line}`).join('; ') || 'TMOUT is set nowhere',
    );
  },
};

const accountRule = (
  title: string,
  checks: string,
  mend: string,
  wrong: (facts: Facts) => string[],
  looked: string,
): Body => ({
  title,
  checks,
  mend,
  check: (facts) => none(wrong(facts), looked),
});

/** Accounts below UID_MIN that Debian itself gives a shell. */
const systemAccountsWithShell = ['root', 'halt', 'sync', 'shutdown', 'nfsnobody'];

/** Chapter 5: access control. */
export const accessControl: readonly Control[] = [
  l1('5.1.1', {
    ...access(['/etc/ssh/sshd_config'], { mode: 0o600 }, "Only root reads sshd's configuration"),
    checks:
      '/etc/ssh/sshd_config and /etc/ssh/sshd_config.d/*.conf: owner root, group root, mode at most 0600',
    mend: 'chmod 0600 /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf',
    check: (facts) =>
      access(
        [
          '/etc/ssh/sshd_config',
          ...facts.tree
            .list('/etc/ssh/sshd_config.d')
            .filter((name) => name.endsWith('.conf'))
            .map((name) => `/etc/ssh/sshd_config.d/${name}`),
        ],
        { mode: 0o600 },
      ).check(facts),
  }),
  l1('5.1.2', hostKeys),
  l1(
    '5.1.3',
    accessIn(
      ['/etc/ssh'],
      /^ssh_host_.*_key\.pub$/,
      { mode: 0o644 },
      "Only root changes sshd's public keys",
    ),
  ),
  l1('5.1.4', allowed),
  l1('5.1.5', sshBanner),
  l1('5.1.6', sshdWithout('Ciphers', weakCiphers, 'sshd offers no weak cipher')),
  l1('5.1.7', alive),
  l2('5.1.8', sshdIs('DisableForwarding', 'yes', 'sshd forwards nothing')),
  l2('5.1.9', sshdIs('GSSAPIAuthentication', 'no', 'sshd takes no GSSAPI login')),
  l1('5.1.10', sshdIs('HostbasedAuthentication', 'no', 'sshd trusts no other host')),
  l1('5.1.11', sshdIs('IgnoreRhosts', 'yes', 'sshd ignores .rhosts')),
  l1('5.1.12', sshdWithout('KexAlgorithms', weakKex, 'sshd offers no weak key exchange')),
  l1('5.1.13', {
    ...sshd(
      'KexAlgorithms',
      `first one of ${postQuantum.join(', ')}`,
      (value) => postQuantum.includes(value.split(',')[0] ?? ''),
      "sshd's first key exchange withstands quantum computers",
    ),
  }),
  l1(
    '5.1.14',
    sshd(
      'LoginGraceTime',
      '1 to 60 seconds',
      (value) => seconds(value) >= 1 && seconds(value) <= 60,
      'A login has a minute at most',
    ),
  ),
  l1(
    '5.1.15',
    sshd(
      'LogLevel',
      'INFO or VERBOSE',
      (value) => ['info', 'verbose'].includes(value.toLowerCase()),
      'sshd logs who comes',
    ),
  ),
  l1('5.1.16', sshdWithout('MACs', weakMacs, 'sshd offers no weak MAC')),
  l1('5.1.17', sshd('MaxAuthTries', '1 to 4', number(1, 4), 'A connection has four tries at most')),
  l1(
    '5.1.18',
    sshd('MaxSessions', '1 to 10', number(1, 10), 'A connection has ten sessions at most'),
  ),
  l1(
    '5.1.19',
    sshd(
      'MaxStartups',
      '10:30:60 or stricter',
      strictStartups,
      'Connections that do not log in are limited',
    ),
  ),
  l1('5.1.20', sshdIs('PermitEmptyPasswords', 'no', 'No login with an empty password')),
  l1('5.1.21', sshdIs('PermitRootLogin', 'no', 'root does not log in by SSH')),
  l1(
    '5.1.22',
    sshdIs('PermitUserEnvironment', 'no', 'Users do not set the environment of their login'),
  ),
  l1('5.1.23', sshdIs('UsePAM', 'yes', 'sshd asks PAM')),

  l1('5.2.1', packageInstalled(['sudo'], 'sudo is installed')),
  l1(
    '5.2.2',
    sudoSetting(
      'use_pty',
      'set',
      (value) => value === 'true',
      'sudo gives each command a terminal of its own',
      'Defaults use_pty',
    ),
  ),
  l1(
    '5.2.3',
    sudoSetting(
      'logfile',
      'a file',
      (value) => value?.startsWith('/') ?? false,
      'sudo writes a log of its own',
      'Defaults logfile="/var/log/sudo.log"',
    ),
  ),
  l2('5.2.4', noPassword),
  l1('5.2.5', reauthenticate),
  l1(
    '5.2.6',
    sudoSetting(
      'timestamp_timeout',
      "0 to 15 minutes (sudo's own default: 15)",
      (value) => value === undefined || (Number(value) >= 0 && Number(value) <= 15),
      'sudo asks again after a quarter of an hour',
      'Defaults timestamp_timeout=15',
    ),
  ),
  l1('5.2.7', su),

  l1('5.3.1.1', packageInstalled(['libpam-runtime'], 'PAM is installed')),
  l1('5.3.1.2', packageInstalled(['libpam-modules'], "PAM's modules are installed")),
  l1('5.3.1.3', packageInstalled(['libpam-pwquality'], 'libpam-pwquality is installed')),
  l1(
    '5.3.2.1',
    pamEnabled(
      'pam_unix.so',
      [auth, ['common-account', 'account'], password, ['common-session', 'session']],
      'pam_unix is in use',
    ),
  ),
  l1(
    '5.3.2.2',
    pamEnabled('pam_faillock.so', [auth, ['common-account', 'account']], 'pam_faillock is in use'),
  ),
  l1('5.3.2.3', pamEnabled('pam_pwquality.so', [password], 'pam_pwquality is in use')),
  l1('5.3.2.4', pamEnabled('pam_pwhistory.so', [password], 'pam_pwhistory is in use')),
  l1(
    '5.3.3.1.1',
    lockout(
      'deny',
      '1 to 5',
      between(1, 5),
      'deny = 5',
      'An account locks after five wrong passwords',
    ),
  ),
  l1(
    '5.3.3.1.2',
    lockout(
      'unlock_time',
      '0, or 900 seconds or more',
      (value) => value === '0' || between(900, Number.MAX_SAFE_INTEGER)(value),
      'unlock_time = 900',
      'A locked account stays so for a quarter of an hour',
    ),
  ),
  l2('5.3.3.1.3', rootLockout),
  l1(
    '5.3.3.2.1',
    quality(
      'difok',
      '2 or more',
      between(2, 255),
      'difok = 2',
      'A new password differs from the old one',
    ),
  ),
  l1(
    '5.3.3.2.2',
    quality(
      'minlen',
      '14 or more',
      between(14, 255),
      'minlen = 14',
      'A password has 14 characters',
    ),
  ),
  l1('5.3.3.2.3', complexity),
  l1(
    '5.3.3.2.4',
    quality(
      'maxrepeat',
      '1 to 3',
      between(1, 3),
      'maxrepeat = 3',
      'No character comes four times in a row',
    ),
  ),
  l1(
    '5.3.3.2.5',
    quality('maxsequence', '1 to 3', between(1, 3), 'maxsequence = 3', 'No sequence such as 1234'),
  ),
  l1(
    '5.3.3.2.6',
    quality(
      'dictcheck',
      'not 0 (default 1)',
      (value) => value === undefined || value === '1',
      'dictcheck = 1',
      'Words of the dictionary are refused',
    ),
  ),
  l1(
    '5.3.3.2.7',
    quality(
      'enforcing',
      'not 0 (default 1)',
      (value) => value === undefined || value === '1',
      'enforcing = 1',
      'Bad passwords are refused, not only warned of',
    ),
  ),
  l1(
    '5.3.3.2.8',
    quality('enforce_for_root', 'set', present, 'enforce_for_root', 'The same holds for root'),
  ),
  l1(
    '5.3.3.3.1',
    history(
      'remember',
      '24 or more',
      between(24, 400),
      'remember = 24',
      'The last 24 passwords are not taken again',
    ),
  ),
  l1(
    '5.3.3.3.2',
    history(
      'enforce_for_root',
      'set',
      present,
      'enforce_for_root',
      'The same holds for root (history)',
    ),
  ),
  l1(
    '5.3.3.3.3',
    history(
      'use_authtok',
      'set',
      present,
      'use_authtok on the line in common-password',
      'pam_pwhistory takes the password that was judged before',
    ),
  ),
  l1(
    '5.3.3.4.1',
    unixArgs(
      'No login without a password',
      'no `nullok`',
      "Take 'nullok' out",
      (args) => !args.includes('nullok'),
    ),
  ),
  l1(
    '5.3.3.4.2',
    unixArgs(
      'pam_unix keeps no passwords of its own',
      'no `remember=`',
      "Take 'remember=' out",
      (args) => !args.some((arg) => arg.startsWith('remember')),
    ),
  ),
  l1(
    '5.3.3.4.3',
    unixArgs(
      'Passwords are hashed by yescrypt',
      'yescrypt or sha512 on the password line',
      'yescrypt',
      (args) => args.includes('yescrypt') || args.includes('sha512'),
    ),
  ),
  l1('5.3.3.4.4', useAuthtok),

  l1(
    '5.4.1.1',
    passwordAge({
      key: 'PASS_MAX_DAYS',
      field: 'most',
      wanted: '1 to 365',
      right: (value) => value !== undefined && value >= 1 && value <= 365,
      mend: '365',
      title: 'A password is good for a year',
    }),
  ),
  l2(
    '5.4.1.2',
    passwordAge({
      key: 'PASS_MIN_DAYS',
      field: 'least',
      wanted: '1 or more',
      right: (value) => value !== undefined && value >= 1,
      mend: '1',
      title: 'A password stays for a day',
    }),
  ),
  l1('5.4.1.3', {
    title: 'Users are warned a week before their password ends',
    checks: 'PASS_WARN_AGE in /etc/login.defs: 7 or more',
    mend: 'In /etc/login.defs: PASS_WARN_AGE 7',
    check: (facts) => {
      const value = loginDefs(facts).get('PASS_WARN_AGE');
      return judge(between(7, 9999)(value), `PASS_WARN_AGE ${value ?? 'not set'}`);
    },
  }),
  l1('5.4.1.4', {
    title: 'New passwords are hashed by yescrypt or SHA-512',
    checks: 'ENCRYPT_METHOD in /etc/login.defs',
    mend: 'In /etc/login.defs: ENCRYPT_METHOD YESCRYPT',
    check: (facts) => {
      const value = loginDefs(facts).get('ENCRYPT_METHOD');
      return judge(
        ['YESCRYPT', 'SHA512'].includes(value ?? ''),
        `ENCRYPT_METHOD ${value ?? 'not set'}`,
      );
    },
  }),
  l1('5.4.1.5', inactive),
  l1('5.4.1.6', changedInPast),
  l1(
    '5.4.2.1',
    accountRule(
      'Only root has UID 0',
      'third field of /etc/passwd',
      'Remove the other account, or give it another UID',
      (facts) =>
        users(facts)
          .filter((user) => user.uid === 0 && user.name !== 'root')
          .map((user) => user.name),
      'only root',
    ),
  ),
  l1(
    '5.4.2.2',
    accountRule(
      "Only root's group is 0",
      'fourth field of /etc/passwd',
      'usermod -g another group',
      (facts) =>
        users(facts)
          .filter((user) => user.gid === 0 && !rootGroupAccounts.includes(user.name))
          .map((user) => user.name),
      'only root',
    ),
  ),
  l1(
    '5.4.2.3',
    accountRule(
      'Only the group root has GID 0',
      'third field of /etc/group',
      'Remove the other group, or give it another GID',
      (facts) =>
        groups(facts)
          .filter((group) => group.gid === 0 && group.name !== 'root')
          .map((group) => group.name),
      'only root',
    ),
  ),
  l1('5.4.2.4', {
    title: 'root has a password, or is locked',
    checks: "root's field in /etc/shadow begins with `$` (a hash), `!` or `*` (locked)",
    mend: 'passwd -l root',
    check: (facts) => {
      const hash = shadows(facts).find((one) => one.name === 'root')?.hash ?? '';
      return judge(
        /^[$!*]/.test(hash),
        /^[!*]/.test(hash)
          ? 'root is locked'
          : hash
            ? 'root has a password'
            : 'root has an empty password',
      );
    },
  }),
  l1('5.4.2.5', rootPath),
  l1('5.4.2.6', rootUmask),
  l1(
    '5.4.2.7',
    accountRule(
      'Accounts of services have no shell',
      '/etc/passwd: below UID_MIN no shell of /etc/shells but for root, sync, halt, shutdown',
      'usermod -s /usr/sbin/nologin USER',
      (facts) => {
        const least = Number(loginDefs(facts).get('UID_MIN') ?? 1000);
        return users(facts)
          .filter(
            (user) =>
              (user.uid < least || user.uid === 65534) && loginShells(facts).has(user.shell),
          )
          .filter((user) => !systemAccountsWithShell.includes(user.name))
          .map((user) => `${user.name}: ${user.shell}`);
      },
      'none has',
    ),
  ),
  l1(
    '5.4.2.8',
    accountRule(
      'Accounts without a shell have no password',
      '/etc/passwd and /etc/shadow: `!` or `*` for accounts whose shell is none of /etc/shells',
      'usermod -L USER',
      (facts) =>
        users(facts)
          .filter((user) => user.name !== 'root' && !loginShells(facts).has(user.shell))
          .filter((user) => {
            const one = shadows(facts).find((shadow) => shadow.name === user.name);
            return !one || hasPassword(one.hash);
          })
          .map((user) => `${user.name} is not locked`),
      'all are locked',
    ),
  ),
  l2('5.4.3.1', {
    title: 'nologin is no shell',
    checks: '/etc/shells does not list nologin',
    mend: 'Take nologin out of /etc/shells',
    check: (facts) => {
      const text = facts.tree.read('/etc/shells');
      if (!text.trim()) return fail('/etc/shells lists no shell');
      return /^[^#]*\/nologin\b/m.test(text)
        ? fail('/etc/shells lists nologin')
        : pass('/etc/shells does not list it');
    },
  }),
  l1('5.4.3.2', timeout),
  l1('5.4.3.3', defaultUmask),
];
