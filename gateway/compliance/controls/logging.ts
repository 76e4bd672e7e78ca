import { type Body, type Control, fail, judge, l1, l2, none, notApplicable } from '../control.ts';
import { dropIns, type Facts, requireLive, settings } from '../facts.ts';
import {
  accessProblem,
  auditd,
  audited,
  ifInstalled,
  judgeAudited,
  packageInstalled,
  review,
  serviceUnused,
  unitRuns,
} from '../kinds.ts';
import {
  type AuditRule,
  auditdConf,
  ruleLines,
  rulesInKernel,
  rulesOnDisk,
  type Wanted,
} from '../state/audit.ts';
import { bootArguments } from '../state/kernel.ts';
import { sudoDefaults } from '../state/sudo.ts';
import { unit } from '../state/units.ts';
import { unusualFiles } from '../state/walk.ts';
import { systemdSetting } from './setup.ts';

/** A setting of journald.conf(5). `missing`: journald's own default is right. */
function journald(key: string, wanted: readonly string[], missing: boolean, title: string): Body {
  return {
    title,
    checks: `${key} in /etc/systemd/journald.conf and its drop-ins: ${wanted.join(' or ')}${missing ? ', or not set (the default)' : ''}`,
    mend: `In /etc/systemd/journald.conf.d: [Journal] ${key}=${wanted[0]}`,
    check: (facts) => {
      // The package ships the file: without it nothing is known.
      if (facts.tree.list('/usr/lib/systemd').length === 0) throw new Error('systemd is not there');
      const value = systemdSetting(facts, 'journald.conf', key);
      return judge(
        value === undefined ? missing : wanted.includes(value.toLowerCase()),
        `${key}=${value ?? '(not set)'}`,
      );
    },
  };
}

const journalAccess: Body = {
  title: 'Only root and the group of the journal read it',
  checks: '/var/log/journal (or /run/log/journal) and its files: nothing for others',
  mend: 'systemd-tmpfiles --create --prefix /var/log/journal',
  check: (facts) => {
    const roots = ['/var/log/journal', '/run/log/journal'].filter((path) => facts.tree.stat(path));
    const directories = roots.flatMap((path) =>
      facts.tree.list(path).map((name) => `${path}/${name}`),
    );
    const files = directories.flatMap((path) =>
      facts.tree.list(path).map((name) => `${path}/${name}`),
    );
    if (files.length === 0) return notApplicable('there is no journal yet');
    return none(
      files.filter((path) => (facts.tree.stat(path)?.mode ?? 0o777) & 0o007),
      `${files.length} files of ${roots.join(', ')}`,
    );
  },
};

const journalSize: Body = {
  title: 'The journal has a size that it keeps to',
  checks:
    'SystemMaxUse (or RuntimeMaxUse, for a journal in memory) in journald.conf and its drop-ins is set',
  mend: 'In /etc/systemd/journald.conf.d: [Journal] SystemMaxUse=200M (stages.system.journal_size)',
  check: (facts) => {
    const set = ['SystemMaxUse', 'RuntimeMaxUse'].flatMap((key) => {
      const value = systemdSetting(facts, 'journald.conf', key);
      return value ? [`${key}=${value}`] : [];
    });
    return judge(set.length > 0, set.join('; ') || 'journald decides by itself');
  },
};

/** With the journal as the one logger, what the benchmark says of rsyslog is about nothing. */
const rsyslog = (title: string): Body =>
  ifInstalled(['rsyslog'], {
    title,
    checks: 'rsyslog is not installed: the journal is the one log',
    mend: 'apt-get purge rsyslog: the journal is the one log here',
    check: () =>
      fail('rsyslog is installed beside the journal; this report does not know its settings'),
  });

const bootArgument = (
  title: string,
  right: (value: string) => boolean,
  key: string,
  wanted: string,
): Body => ({
  title,
  checks: `kernel argument ${key}: ${wanted} (/proc/cmdline; of an image: /boot/firmware/cmdline.txt)`,
  mend: `Add ${key}=… to /boot/firmware/cmdline.txt and restart`,
  check: (facts) => {
    const value = bootArguments(facts)
      .findLast((one) => one.startsWith(`${key}=`))
      ?.slice(key.length + 1);
    return judge(value !== undefined && right(value), `${key} ${value ?? 'is not given'}`);
  },
});

const isSet = (value: string | undefined, wanted: readonly string[]) =>
  wanted.includes(value?.toLowerCase() ?? '');

/** Several settings of auditd.conf, each with the values that are right. */
function auditdAll(title: string, wanted: Record<string, readonly string[]>): Body {
  const described = Object.entries(wanted).map(([key, values]) => `${key}: ${values.join(' or ')}`);
  return {
    title,
    checks: `/etc/audit/auditd.conf: ${described.join('; ')}`,
    mend: `In /etc/audit/auditd.conf: ${Object.entries(wanted)
      .map(([key, [value]]) => `${key} = ${value}`)
      .join(', ')}`,
    check: (facts) => {
      const conf = auditdConf(facts);
      const shown = Object.keys(wanted).map((key) => `${key} = ${conf.get(key) ?? '(not set)'}`);
      return judge(
        Object.entries(wanted).every(([key, values]) => isSet(conf.get(key), values)),
        shown.join('; '),
      );
    },
  };
}

const watch = (path: string, permissions = 'wa'): Wanted => ({ path, permissions });
/** System calls of arm64, which has no open, chmod, chown, unlink or rename of its own: syscalls(2). */
const calls = (syscalls: readonly string[], filter?: readonly string[]): Wanted =>
  filter ? { syscalls, filter } : { syscalls };

const sudoLog: Body = {
  title: "Changes of sudo's log are recorded",
  checks: 'audit rules for the file of `Defaults logfile` in sudoers (wa)',
  mend: "In /etc/audit/rules.d: '-w /var/log/sudo.log -p wa -k sudo_log'",
  check: (facts) => {
    const path = sudoDefaults(facts).get('logfile');
    return path?.startsWith('/')
      ? judgeAudited(facts, [watch(path)])
      : fail('sudo has no logfile to watch');
  },
};

const privileged: Body = {
  title: 'The use of every set-ID program is recorded',
  checks: 'an audit rule with perm=x for each set-user-ID or set-group-ID file that the walk found',
  mend: "For each: '-a always,exit -F path=FILE -F perm=x -F auid>=1000 -F auid!=unset -k privileged'",
  check: (facts) => {
    const programs = unusualFiles(facts).filter((one) => one.kind === 'file' && one.mode & 0o6000);
    if (programs.length === 0) throw new Error('the walk found no set-ID program at all');
    const verdict = judgeAudited(
      facts,
      programs.map((one) => watch(one.path, 'x')),
    );
    return verdict.state === 'pass'
      ? { ...verdict, evidence: `all ${programs.length} set-ID programs` }
      : verdict;
  },
};

/** The use of one program, where it is there. */
function use(path: string): Body {
  const body = audited(`The use of ${path.split('/').at(-1)} is recorded`, watch(path, 'x'));
  return {
    ...body,
    check: (facts) =>
      facts.tree.stat(path) ? body.check(facts) : notApplicable(`there is no ${path}`),
  };
}

const denied = (error: string) => calls(['openat', 'truncate', 'ftruncate'], [`exit=-${error}`]);

/** Options that augenrules puts on their own lines. */
function ruleOption(title: string, pattern: RegExp, shown: string): Body {
  return {
    title,
    checks: `\`${shown}\` in /etc/audit/rules.d`,
    mend: `In /etc/audit/rules.d: '${shown}'`,
    check: (facts) => {
      const line = ruleLines(facts).find((one) => pattern.test(one));
      return judge(line !== undefined, line ?? `no line ${shown}`);
    },
  };
}

const immutable: Body = {
  title: 'The audit rules cannot be changed until a restart',
  checks: '`-e 2` is the last of its kind in /etc/audit/rules.d',
  mend: "In /etc/audit/rules.d/99-finalize.rules: '-e 2'",
  check: (facts) => {
    const line = ruleLines(facts).findLast((one) => /^-e\s/.test(one));
    return judge(/^-e\s+2$/.test(line ?? ''), line ?? 'no line -e 2');
  },
};

/** True if two rules are for the same; the kernel lists filters in its own words. */
function sameRule(a: AuditRule, b: AuditRule): boolean {
  return (
    a.path === b.path &&
    a.always === b.always &&
    a.syscalls.size === b.syscalls.size &&
    [...a.syscalls].every((name) => b.syscalls.has(name)) &&
    [...a.permissions].sort().join('') === [...b.permissions].sort().join('') &&
    a.fields.length === b.fields.length
  );
}

const same: Body = {
  title: 'The rules on disk are the rules in the kernel',
  checks: 'every rule of /etc/audit/rules.d is in `auditctl -l`, and their numbers are the same',
  mend: 'augenrules --load (with -e 2: restart)',
  check: (facts) => {
    const kernel = rulesInKernel(facts);
    const disk = rulesOnDisk(facts);
    if (disk.length === 0) return fail('there are no rules on disk');
    const lost = disk.filter((rule) => !kernel.some((one) => sameRule(rule, one)));
    return none(
      [
        ...lost.map((rule) => `not in the kernel: ${rule.text}`),
        ...(kernel.length === disk.length
          ? []
          : [`${disk.length} on disk, ${kernel.length} in the kernel`]),
      ],
      `${disk.length} rules`,
    );
  },
};

const logDirectory = '/var/log/audit';

/** Facts of the audit system's files, one kind at a time. */
function auditFiles(
  title: string,
  checks: string,
  mend: string,
  paths: (facts: Facts) => readonly string[],
  wrong: (facts: Facts, path: string) => string | undefined,
): Body {
  return {
    title,
    checks,
    mend,
    check: (facts) => {
      const found = paths(facts).filter((path) => facts.tree.stat(path));
      if (found.length === 0)
        return fail('there are none: auditd is not installed, or has not run');
      return none(
        found.flatMap((path) => wrong(facts, path) ?? []),
        `${found.length}: ${found.slice(0, 4).join(', ')}`,
      );
    },
  };
}

function auditLogs(facts: Facts): string[] {
  const names = facts.tree.list(logDirectory);
  // They are made when auditd first runs.
  if (names.length === 0) requireLive(facts);
  return names.map((name) => `${logDirectory}/${name}`);
}
const auditConfig = (facts: Facts) => [
  ...facts.tree
    .list('/etc/audit')
    .filter((name) => /\.(conf|rules)$/.test(name))
    .map((name) => `/etc/audit/${name}`),
  ...dropIns(facts, ['/etc/audit/rules.d'], '.rules'),
];
const tools = ['auditctl', 'aureport', 'ausearch', 'auditd', 'augenrules'].map(
  (name) => `/usr/sbin/${name}`,
);

const modeOf = (most: number) => (facts: Facts, path: string) => {
  const mode = facts.tree.stat(path)?.mode ?? 0o7777;
  return mode & ~most ? `${path}: ${mode.toString(8)}, at most ${most.toString(8)}` : undefined;
};
const ownerRoot = (facts: Facts, path: string) =>
  facts.tree.stat(path)?.uid === 0 ? undefined : `${path} is not root's`;
const groupRoot = (groups: readonly string[]) => (facts: Facts, path: string) => {
  const stat = facts.tree.stat(path);
  return stat && accessProblem(facts, path, { ...stat, mode: 0, uid: 0 }, { mode: 0, groups });
};

/** What AIDE must keep of a tool to see that it was changed: aide.conf(5). */
const kept = ['p', 'u', 'g', 's', 'acl', 'xattrs', 'sha512'];

/** What aide.conf keeps of a file: of the longest rule that the path begins with. */
function aideKeeps(conf: readonly string[], path: string): ReadonlySet<string> {
  const groups = new Map<string, readonly string[]>();
  const rules: { place: string; attributes: readonly string[] }[] = [];
  const attributesOf = (text: string) =>
    text.split('+').flatMap((one) => groups.get(one.trim()) ?? [one.trim()]);
  for (const line of conf) {
    const [, place, attributes = ''] = /^[=!]?(\/\S*)\s*(.*)$/.exec(line) ?? [];
    const [, name, value = ''] = /^(\w+)\s*=\s*([\w+]+)$/.exec(line) ?? [];
    if (name) groups.set(name, attributesOf(value));
    if (place && (path === place || path.startsWith(`${place}/`)))
      rules.push({ place, attributes: line.startsWith('!') ? [] : attributesOf(attributes) });
  }
  const [longest] = rules.toSorted((a, b) => b.place.length - a.place.length);
  return new Set(longest?.attributes);
}

const aideTools: Body = {
  title: 'AIDE watches the tools of the audit system',
  checks: `/etc/aide/aide.conf keeps ${kept.join('+')} of ${tools.join(', ')}`,
  mend: `In /etc/aide/aide.conf: '/usr/sbin ${kept.join('+')}'`,
  check: (facts) => {
    const conf = settings(facts.tree.read('/etc/aide/aide.conf'));
    return none(
      tools.flatMap((tool) => {
        const keeps = aideKeeps(conf, tool);
        const missing = kept.filter((one) => !keeps.has(one));
        return missing.length ? [`${tool}: without ${missing.join('+')}`] : [];
      }),
      `${kept.join('+')} of ${tools.join(', ')}`,
    );
  },
};

const comparisons = ['pi-gateway-integrity.timer', 'dailyaidecheck.timer'];

const comparedRegularly: Body = {
  title: 'Files are compared with what they were, again and again',
  units: comparisons,
  checks: `one of ${comparisons.join(', ')} is enabled and active`,
  mend: `systemctl enable --now ${comparisons[0]} (stages.system.integrity)`,
  check: (facts) => {
    const states = comparisons.map((name) => unit(facts, name));
    return judge(
      states.some((one) => one.enabled.startsWith('enabled') && one.active !== false),
      states
        .map((one) => `${one.name}: ${one.enabled || 'not there'}${one.active ? ', active' : ''}`)
        .join('; '),
    );
  },
};

/** Chapter 6: logging and auditing. */
export const logging: readonly Control[] = [
  l1('6.1.1.1.1', unitRuns('systemd-journald.service', 'The journal is written', false)),
  l1('6.1.1.1.2', journalAccess),
  l1('6.1.1.1.3', journalSize),
  l1(
    '6.1.1.1.4',
    journald(
      'ForwardToSyslog',
      ['no', 'false', '0', 'off'],
      false,
      'The journal is not sent on to syslog',
    ),
  ),
  l1('6.1.1.1.5', journald('Storage', ['persistent'], false, 'The journal outlives a restart')),
  l1(
    '6.1.1.1.6',
    journald('Compress', ['yes', 'true', '1', 'on'], false, 'The journal is compressed'),
  ),
  l1(
    '6.1.1.2.1',
    packageInstalled(['systemd-journal-remote'], 'systemd-journal-remote is installed'),
  ),
  l1(
    '6.1.1.2.2',
    review(
      'The journal is sent with certificates',
      () => 'journal-upload.conf',
      'Set URL and certificates in /etc/systemd/journal-upload.conf',
    ),
  ),
  l1(
    '6.1.1.2.3',
    unitRuns('systemd-journal-upload.service', 'The journal is sent to another machine'),
  ),
  l1(
    '6.1.1.2.4',
    serviceUnused(
      'No journals of others are received',
      ['systemd-journal-remote'],
      ['systemd-journal-remote.socket', 'systemd-journal-remote.service'],
    ),
  ),
  ...[
    'rsyslog is installed',
    'rsyslog runs',
    'The journal goes to rsyslog',
    "rsyslog's files are closed to others",
    'rsyslog logs what it should',
    'rsyslog sends to another machine',
    'rsyslog receives nothing',
    'Log files are rotated',
    'rsyslog can encrypt',
    'rsyslog sends encrypted',
    "rsyslog knows its server's certificate",
  ].map((title, index) => l1(`6.1.2.${index + 1}`, rsyslog(title))),

  l2('6.2.1.1', packageInstalled(['auditd'], 'auditd is installed')),
  l2('6.2.1.2', unitRuns('auditd.service', 'auditd runs')),
  l2(
    '6.2.1.3',
    bootArgument('What starts before auditd is audited', (value) => value === '1', 'audit', '1'),
  ),
  l2(
    '6.2.1.4',
    bootArgument(
      'No audit record is lost before auditd runs',
      (value) => Number(value) >= 8192,
      'audit_backlog_limit',
      '8192 or more',
    ),
  ),
  l2('6.2.2.1', {
    ...auditd('max_log_file', ['8'], 'Audit logs have a size'),
    checks: 'max_log_file in /etc/audit/auditd.conf is set (megabytes)',
    check: (facts) => {
      const value = auditdConf(facts).get('max_log_file');
      return judge(Number(value) > 0, `max_log_file = ${value ?? '(not set)'}`);
    },
  }),
  // With the changes that tailoring.ts gives the reasons for.
  l2('6.2.2.2', {
    ...auditdAll('Old audit logs make room for new ones, and enough are kept', {
      max_log_file_action: ['rotate', 'keep_logs'],
    }),
    checks:
      '/etc/audit/auditd.conf: max_log_file_action rotate (with num_logs of 4 or more) or keep_logs',
    check: (facts) => {
      const conf = auditdConf(facts);
      const action = conf.get('max_log_file_action')?.toLowerCase();
      return judge(
        action === 'keep_logs' || (action === 'rotate' && Number(conf.get('num_logs')) >= 4),
        `max_log_file_action = ${action ?? '(not set)'}; num_logs = ${conf.get('num_logs') ?? '(not set)'}`,
      );
    },
  }),
  l2(
    '6.2.2.3',
    auditdAll('A full or broken disk is told, not ignored', {
      disk_full_action: ['rotate', 'syslog', 'exec', 'single', 'halt'],
      disk_error_action: ['syslog', 'exec', 'single', 'halt'],
    }),
  ),
  l2(
    '6.2.2.4',
    auditdAll('Little space for audit logs is told', {
      space_left_action: ['syslog', 'email', 'exec', 'single', 'halt'],
      admin_space_left_action: ['rotate', 'syslog', 'email', 'exec', 'suspend', 'single', 'halt'],
    }),
  ),
  l2(
    '6.2.3.1',
    audited(
      'Changes of who may use sudo are recorded',
      watch('/etc/sudoers'),
      watch('/etc/sudoers.d'),
    ),
  ),
  l2(
    '6.2.3.2',
    audited('What is done as another user is recorded', calls(['execve'], ['euid!=uid'])),
  ),
  l2('6.2.3.3', sudoLog),
  l2(
    '6.2.3.4',
    audited(
      'Changes of the clock are recorded',
      calls(['adjtimex', 'settimeofday']),
      // a0: CLOCK_REALTIME, the only clock that can be set.
      { syscalls: ['clock_settime'], mayHave: ['a0=0x0'] },
      watch('/etc/localtime'),
    ),
  ),
  l2(
    '6.2.3.5',
    audited('Changes of the host name are recorded', calls(['sethostname', 'setdomainname'])),
  ),
  l2(
    '6.2.3.6',
    audited(
      'Changes of the login banners are recorded',
      watch('/etc/issue'),
      watch('/etc/issue.net'),
    ),
  ),
  l2(
    '6.2.3.7',
    audited('Changes of names of hosts are recorded', watch('/etc/hosts'), watch('/etc/hostname')),
  ),
  l2('6.2.3.8', {
    ...audited("Changes of the network's settings are recorded", watch('/etc/systemd/network')),
    checks:
      'audit rules (wa) for those of /etc/systemd/network, /etc/network, /etc/networks, /etc/netplan that are there',
    check: (facts) => {
      const paths = [
        '/etc/systemd/network',
        '/etc/network',
        '/etc/networks',
        '/etc/netplan',
      ].filter((path) => facts.tree.stat(path));
      return paths.length
        ? judgeAudited(
            facts,
            paths.map((path) => watch(path)),
          )
        : fail('there are no network settings');
    },
  }),
  l2(
    '6.2.3.9',
    ifInstalled(
      ['network-manager'],
      audited("Changes of NetworkManager's settings are recorded", watch('/etc/NetworkManager')),
    ),
  ),
  l2('6.2.3.10', privileged),
  l2('6.2.3.11', audited('Refused access to files is recorded', denied('EACCES'), denied('EPERM'))),
  l2('6.2.3.12', audited('Changes of /etc/group are recorded', watch('/etc/group'))),
  l2('6.2.3.13', audited('Changes of /etc/passwd are recorded', watch('/etc/passwd'))),
  l2(
    '6.2.3.14',
    audited(
      'Changes of /etc/shadow and gshadow are recorded',
      watch('/etc/shadow'),
      watch('/etc/gshadow'),
    ),
  ),
  l2('6.2.3.15', audited('Changes of old passwords are recorded', watch('/etc/security/opasswd'))),
  l2(
    '6.2.3.16',
    audited('Changes of /etc/nsswitch.conf are recorded', watch('/etc/nsswitch.conf')),
  ),
  l2(
    '6.2.3.17',
    audited("Changes of PAM's settings are recorded", watch('/etc/pam.conf'), watch('/etc/pam.d')),
  ),
  l2('6.2.3.18', audited('Changes of permissions are recorded', calls(['fchmod', 'fchmodat']))),
  l2('6.2.3.19', audited('Changes of owners are recorded', calls(['fchown', 'fchownat']))),
  l2(
    '6.2.3.20',
    audited(
      'Changes of extended attributes are recorded',
      calls(['setxattr', 'lsetxattr', 'fsetxattr', 'removexattr', 'lremovexattr', 'fremovexattr']),
    ),
  ),
  l2('6.2.3.21', audited('Mounts are recorded', calls(['mount']))),
  l2(
    '6.2.3.22',
    audited(
      'Sessions are recorded',
      watch('/var/run/utmp'),
      watch('/var/log/wtmp'),
      watch('/var/log/btmp'),
    ),
  ),
  l2(
    '6.2.3.23',
    audited('Logins are recorded', watch('/var/lib/lastlog'), watch('/var/run/faillock')),
  ),
  l2('6.2.3.24', audited('Deleted files are recorded', calls(['unlinkat']))),
  l2('6.2.3.25', audited('Renamed files are recorded', calls(['renameat']))),
  l2(
    '6.2.3.26',
    audited(
      "Changes of AppArmor's rules are recorded",
      watch('/etc/apparmor'),
      watch('/etc/apparmor.d'),
    ),
  ),
  l2('6.2.3.27', use('/usr/bin/chcon')),
  l2('6.2.3.28', use('/usr/bin/setfacl')),
  l2('6.2.3.29', use('/usr/bin/chacl')),
  l2('6.2.3.30', use('/usr/sbin/usermod')),
  l2('6.2.3.31', use('/usr/bin/kmod')),
  l2(
    '6.2.3.32',
    audited('Loaded kernel modules are recorded', calls(['init_module', 'finit_module'])),
  ),
  l2('6.2.3.33', audited('Removed kernel modules are recorded', calls(['delete_module']))),
  l2('6.2.3.34', {
    title: 'The use of query_module is recorded',
    checks: 'nothing: Linux has no query_module since 2.6, and arm64 never had',
    mend: 'Nothing',
    check: () => notApplicable('Linux has no query_module since 2.6, and arm64 never had'),
  }),
  l2(
    '6.2.3.35',
    ruleOption('A rule that cannot be loaded does not keep the others out', /^-(c|i)$/, '-c'),
  ),
  l2('6.2.3.36', immutable),
  l2('6.2.3.37', same),
  l2(
    '6.2.4.1',
    auditFiles(
      'Only root and the audit group read audit logs',
      `files in ${logDirectory}: mode at most 0640`,
      `chmod u-x,g-wx,o-rwx ${logDirectory}/*`,
      auditLogs,
      modeOf(0o640),
    ),
  ),
  l2(
    '6.2.4.2',
    auditFiles(
      "Audit logs are root's",
      `files in ${logDirectory}: owner root`,
      `chown root ${logDirectory}/*`,
      auditLogs,
      ownerRoot,
    ),
  ),
  l2(
    '6.2.4.3',
    auditFiles(
      "Audit logs are of root's group or adm",
      `files in ${logDirectory}: group root or adm`,
      `chgrp adm ${logDirectory}/*`,
      auditLogs,
      groupRoot(['adm']),
    ),
  ),
  l2(
    '6.2.4.4',
    auditFiles(
      'The directory of audit logs is closed to others',
      `${logDirectory}: mode at most 0750`,
      `chmod g-w,o-rwx ${logDirectory}`,
      () => [logDirectory],
      modeOf(0o750),
    ),
  ),
  l2(
    '6.2.4.5',
    auditFiles(
      'Only root and its group read the audit rules',
      '*.conf and *.rules in /etc/audit: mode at most 0640',
      'chmod u-x,g-wx,o-rwx the files named',
      auditConfig,
      modeOf(0o640),
    ),
  ),
  l2(
    '6.2.4.6',
    auditFiles(
      "The audit rules are root's",
      '*.conf and *.rules in /etc/audit: owner root',
      'chown root the files named',
      auditConfig,
      ownerRoot,
    ),
  ),
  l2(
    '6.2.4.7',
    auditFiles(
      "The audit rules are of root's group",
      '*.conf and *.rules in /etc/audit: group root',
      'chgrp root the files named',
      auditConfig,
      groupRoot([]),
    ),
  ),
  l2(
    '6.2.4.8',
    auditFiles(
      'Only root changes the tools of the audit system',
      `${tools.join(', ')}: mode at most 0755`,
      'chmod go-w the files named',
      () => tools,
      modeOf(0o755),
    ),
  ),
  l2(
    '6.2.4.9',
    auditFiles(
      "The tools of the audit system are root's",
      `${tools.join(', ')}: owner root`,
      'chown root the files named',
      () => tools,
      ownerRoot,
    ),
  ),
  l2(
    '6.2.4.10',
    auditFiles(
      "The tools of the audit system are of root's group",
      `${tools.join(', ')}: group root`,
      'chgrp root the files named',
      () => tools,
      groupRoot([]),
    ),
  ),
  l1('6.3.1', packageInstalled(['aide'], 'AIDE is installed')),
  l1('6.3.2', comparedRegularly),
  l2('6.3.3', aideTools),
];
