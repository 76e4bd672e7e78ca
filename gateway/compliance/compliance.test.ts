import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { controls, unitsAsked } from './controls/all.ts';
import { factsOf, factsOfDirectory, type Question, StillAsked } from './facts.ts';
import { makeReport, reportText } from './report.ts';
import { assess, assessWhileAsking, score } from './score.ts';
import { tailoring } from './tailoring.ts';
import { factsOfMachine, type Machine, soundMachine } from './testing.ts';

const judge = (machine: Machine) => assess(factsOfMachine(machine), controls, tailoring);
const idsOf = (results: ReturnType<typeof judge>, state: string) =>
  results.filter((result) => result.state === state).map((result) => result.id);

/** A machine with one thing changed. */
type Break = (machine: Machine) => void;

const text = (machine: Machine, path: string): string => {
  const file = machine.files[path];
  const found = typeof file === 'string' ? file : file?.text;
  if (found === undefined) throw new Error(`the machine has no file ${path}`);
  return found;
};

/** Changes a file; throws if what is to be changed is not there. */
const edit =
  (path: string, from: string | RegExp, to: string): Break =>
  (machine) => {
    const before = text(machine, path);
    const after = before.replace(from, to);
    if (after === before) throw new Error(`${path} has no ${from}`);
    const file = machine.files[path];
    machine.files[path] = typeof file === 'string' ? after : { ...file, text: after };
  };
const add =
  (path: string, line: string): Break =>
  (machine) => {
    const file = machine.files[path] ?? '';
    machine.files[path] =
      typeof file === 'string'
        ? `${file}\n${line}`
        : { ...file, text: `${file.text ?? ''}\n${line}` };
  };
const stat =
  (path: string, change: { mode?: number; uid?: number; gid?: number }): Break =>
  (machine) => {
    const file = machine.files[path];
    machine.files[path] =
      typeof file === 'string' ? { text: file, ...change } : { ...file, ...change };
  };
const lose =
  (path: string): Break =>
  (machine) => {
    if (!(path in machine.files)) throw new Error(`the machine has no ${path}`);
    delete machine.files[path];
  };
const says =
  (question: Question, from: string | RegExp, to: string): Break =>
  (machine) => {
    const before = String(machine.said[question]);
    const after = before.replace(from, to);
    if (after === before) throw new Error(`${question} does not say ${from}`);
    machine.said[question] = after;
  };
const both =
  (...breaks: Break[]): Break =>
  (machine) => {
    for (const one of breaks) one(machine);
  };
const install = (name: string): Break =>
  add('/var/lib/dpkg/status', `\n\nPackage: ${name}\nStatus: install ok installed\nVersion: 1`);
const purge = (name: string): Break =>
  edit(
    '/var/lib/dpkg/status',
    `Package: ${name}\nStatus: install ok installed`,
    `Package: ${name}\nStatus: purge ok not-installed`,
  );
const starts = (name: string): Break =>
  says(
    'systemctl',
    new RegExp(`Id=${name}\n.*\n.*\n.*\n.*`),
    `Id=${name}\nNames=${name}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled`,
  );
const stops = (name: string): Break =>
  says('systemctl', new RegExp(`(Id=${name}\n.*\n.*\n)ActiveState=active`), '$1ActiveState=failed');

const pam = (file: string) => `/etc/pam.d/common-${file}`;
const rules = '/etc/audit/rules.d/10-gateway.rules';
/** Takes a rule out of the kernel alone: the rules on disk are not enough. */
const unload = (rule: string): Break => says('auditctl', new RegExp(`^.*${rule}.*\n?`, 'm'), '');

const sshdWrong: Record<string, [value: string, ...ids: string[]]> = {
  ciphers: ['aes256-gcm@openssh.com,aes128-cbc', '5.1.6'],
  clientaliveinterval: ['0', '5.1.7'],
  disableforwarding: ['no', '5.1.8'],
  gssapiauthentication: ['yes', '5.1.9'],
  hostbasedauthentication: ['yes', '5.1.10'],
  ignorerhosts: ['no', '5.1.11'],
  kexalgorithms: ['diffie-hellman-group14-sha1,mlkem768x25519-sha256', '5.1.12', '5.1.13'],
  logingracetime: ['120', '5.1.14'],
  loglevel: ['QUIET', '5.1.15'],
  macs: ['umac-64@openssh.com', '5.1.16'],
  maxauthtries: ['6', '5.1.17'],
  maxsessions: ['11', '5.1.18'],
  maxstartups: ['10:30:100', '5.1.19'],
  permitemptypasswords: ['yes', '5.1.20'],
  permitrootlogin: ['prohibit-password', '5.1.21'],
  permituserenvironment: ['yes', '5.1.22'],
  usepam: ['no', '5.1.23'],
};

/** What is broken, and every control that must then fail: those and no other. */
const breaks: [name: string, broken: Break, ...ids: string[]][] = [
  ['a loaded module', add('/proc/modules', 'cramfs 1 0 - Live 0x0'), '1.1.1.1'],
  [
    'a module that only is blacklisted',
    edit('/etc/modprobe.d/gateway.conf', 'install hfs /bin/false', ''),
    '1.1.1.3',
  ],
  [
    'an install line that loads it',
    edit(
      '/etc/modprobe.d/gateway.conf',
      'install udf /bin/false',
      'install udf /sbin/modprobe -i udf',
    ),
    '1.1.1.8',
  ],
  [
    'a module that is part of the kernel',
    add('/usr/lib/modules/6.12/modules.builtin', 'kernel/fs/squashfs/squashfs.ko'),
    '1.1.1.7',
  ],
  [
    '/tmp on the root file system',
    edit('/proc/self/mounts', /^tmpfs \/tmp .*\n/m, ''),
    '1.1.2.1.1',
    '1.1.2.1.2',
    '1.1.2.1.3',
    '1.1.2.1.4',
  ],
  [
    'no /dev/shm',
    edit('/proc/self/mounts', /^tmpfs \/dev\/shm .*\n/m, ''),
    '1.1.2.2.1',
    '1.1.2.2.2',
    '1.1.2.2.3',
    '1.1.2.2.4',
  ],
  [
    'programs may run in /tmp',
    edit('/proc/self/mounts', 'nosuid,nodev,noexec', 'nosuid,nodev'),
    '1.1.2.1.4',
  ],
  [
    'a /var/log of its own with devices',
    edit(
      '/proc/self/mounts',
      'tmpfs /var/log tmpfs rw,nosuid,nodev,noexec',
      'tmpfs /var/log tmpfs rw',
    ),
    '1.1.2.6.2',
    '1.1.2.6.3',
    '1.1.2.6.4',
  ],
  [
    'a source without a key',
    edit('/etc/apt/sources.list.d/debian.sources', /Signed-By.*/, ''),
    '1.2.1.1',
  ],
  [
    'an old source without a key',
    add('/etc/apt/sources.list', 'deb http://example.org stable main'),
    '1.2.1.1',
  ],
  [
    'recommended packages',
    edit('/etc/apt/apt.conf.d/52-gateway', 'Recommends "0"', 'Recommends "1"'),
    '1.2.1.2',
  ],
  [
    'a package key for all to write',
    stat('/etc/apt/trusted.gpg.d/debian.asc', { mode: 0o666 }),
    '1.2.1.3',
  ],
  ['a package key of another', stat('/usr/share/keyrings/d.gpg', { uid: 1000 }), '1.2.1.3'],
  [
    'trusted.gpg.d for a group to write',
    stat('/etc/apt/trusted.gpg.d/', { mode: 0o775 }),
    '1.2.1.4',
  ],
  ['auth.conf.d for a group to write', stat('/etc/apt/auth.conf.d/', { mode: 0o775 }), '1.2.1.5'],
  [
    'a password of apt for all to read',
    stat('/etc/apt/auth.conf.d/mirror', { mode: 0o644 }),
    '1.2.1.6',
  ],
  ['keyrings for a group to write', stat('/usr/share/keyrings/', { mode: 0o775 }), '1.2.1.7'],
  [
    'sources.list.d for a group to write',
    stat('/etc/apt/sources.list.d/', { mode: 0o775 }),
    '1.2.1.8',
  ],
  [
    'a source for all to write',
    stat('/etc/apt/sources.list.d/debian.sources', { mode: 0o666 }),
    '1.2.1.9',
  ],
  [
    'no upgrades by themselves',
    edit('/etc/apt/apt.conf.d/52-gateway', 'Upgrade "1"', 'Upgrade "0"'),
    '1.2.2.1',
  ],
  ['AppArmor off', edit('/sys/module/apparmor/parameters/enabled', 'Y', 'N'), '1.3.1.2'],
  [
    'a profile that only complains',
    edit('/sys/kernel/security/apparmor/profiles', 'enforce', 'complain'),
    '1.3.1.3',
  ],
  [
    'a boot partition for all to read',
    edit('/proc/self/mounts', 'fmask=0077', 'fmask=0022'),
    '1.4.2',
  ],
  ['prelink', install('prelink'), '1.5.6'],
  ['core files', edit('/etc/security/limits.d/gateway.conf', 'core 0', 'core infinity'), '1.5.11'],
  [
    'processed cores',
    edit('/etc/systemd/coredump.conf.d/gateway.conf', 'ProcessSizeMax=0', ''),
    '1.5.12',
  ],
  [
    'stored cores',
    edit('/etc/systemd/coredump.conf.d/gateway.conf', 'Storage=none', 'Storage=external'),
    '1.5.13',
  ],
  ['a motd that tells', edit('/etc/motd', /^$/, 'Debian GNU/Linux'), '1.6.1'],
  ['an issue that tells', edit('/etc/issue', /$/, '\\r'), '1.6.2'],
  ['no issue', lose('/etc/issue'), '1.6.2', '1.6.5'],
  ['an empty issue.net', edit('/etc/issue.net', /.+/, ''), '1.6.3', '5.1.5'],
  ['a motd for all to write', stat('/etc/motd', { mode: 0o666 }), '1.6.4'],
  ['an issue of another', stat('/etc/issue', { uid: 1000 }), '1.6.5'],
  ['an issue.net of another group', stat('/etc/issue.net', { gid: 1000 }), '1.6.6'],
  [
    'a graphical login',
    install('gdm3'),
    '1.7.1',
    '1.7.2',
    '1.7.3',
    '1.7.4',
    '1.7.5',
    '1.7.6',
    '1.7.7',
    '1.7.8',
    '1.7.9',
    '1.7.10',
  ],
  ['rsync that serves', starts('rsync.service'), '2.1.13'],
  ['a mail server for all', add('/proc/net/tcp', '   2: 00000000:0019 00000000:0000 0A'), '2.1.22'],
  ['two services that keep the time', starts('systemd-timesyncd.service'), '2.3.1.1'],
  [
    'no servers of time',
    edit('/etc/chrony/chrony.conf', /server.*/, '# none'),
    '2.3.3.1',
    '2.3.3.2',
  ],
  ['chrony as root', add('/etc/chrony/chrony.conf', 'user root'), '2.3.3.2'],
  ['chrony that failed', stops('chrony.service'), '2.3.1.1', '2.3.3.3'],
  ['cron that failed', stops('cron.service'), '2.4.1.1'],
  ['a crontab for all to read', stat('/etc/crontab', { mode: 0o644 }), '2.4.1.2'],
  ['no list of who may use cron', lose('/etc/cron.allow'), '2.4.1.9'],
  ['a list for at that others read', stat('/etc/at.allow', { mode: 0o644 }), '2.4.2.1'],
  ['Wi-Fi that is up', edit('/sys/class/net/wlan0/flags', '0x1002', '0x1003'), '3.1.2'],
  ['Bluetooth', both(install('bluez'), starts('bluetooth.service')), '3.1.3'],
  ['ufw beside nftables', starts('ufw.service'), '4.3.2'],
  ['rules of the old iptables', add('/proc/net/ip_tables_names', 'filter'), '4.3.3'],
  [
    'an empty ruleset',
    says('nft', /.*/, '{"nftables":[]}'),
    '4.3.4',
    '4.3.5',
    '4.3.6',
    '4.3.7',
    '4.3.8',
    '4.3.10',
  ],
  [
    'a forward chain that accepts',
    says('nft', /("hook":"forward","policy":)"drop"/, '$1"accept"'),
    '4.3.8',
  ],
  [
    'an input chain for IPv4 alone',
    says(
      'nft',
      '"family":"inet","table":"gateway","name":"forward"',
      '"family":"ip","table":"gateway","name":"forward"',
    ),
    '4.3.8',
    '4.3.10',
  ],
  ['no forward chain', says('nft', '"hook":"forward"', '"hook":"output"'), '4.3.5', '4.3.8'],
  ['loopback addresses from outside', says('nft', '127.0.0.0', '192.0.2.0'), '4.3.6'],
  ['no answers', says('nft', '"established",', ''), '4.3.7'],
  [
    'an output of nft that is none',
    says('nft', /.*/, '{'),
    '4.3.4',
    '4.3.5',
    '4.3.6',
    '4.3.7',
    '4.3.8',
    '4.3.10',
  ],
  ['nftables that failed', stops('nftables.service'), '4.3.9'],
  [
    'rules that a restart loses',
    edit('/etc/nftables.conf', 'table inet gateway', 'table inet other'),
    '4.3.10',
  ],
  ["sshd's configuration for all to read", stat('/etc/ssh/sshd_config', { mode: 0o644 }), '5.1.1'],
  [
    'a drop-in of sshd for all to read',
    stat('/etc/ssh/sshd_config.d/10.conf', { mode: 0o644 }),
    '5.1.1',
  ],
  [
    'a host key for a group to read',
    stat('/etc/ssh/ssh_host_ed25519_key', { mode: 0o640 }),
    '5.1.2',
  ],
  [
    'a public key for all to write',
    stat('/etc/ssh/ssh_host_ed25519_key.pub', { mode: 0o666 }),
    '5.1.3',
  ],
  ['SSH for all users', says('sshd', /allowgroups.*\n/, ''), '5.1.4'],
  ['no banner', says('sshd', /banner.*/, 'banner none'), '5.1.5'],
  ...Object.entries(sshdWrong).map(([key, [value, ...ids]]): [string, Break, ...string[]] => [
    `sshd with ${key} ${value}`,
    says('sshd', new RegExp(`^${key} .*$`, 'm'), `${key} ${value}`),
    ...ids,
  ]),
  ['sudo without terminals', edit('/etc/sudoers', 'use_pty', '!use_pty'), '5.2.2'],
  [
    'sudo without a log',
    edit('/etc/sudoers', ', logfile="/var/log/sudo.log"', ''),
    '5.2.3',
    '6.2.3.3',
  ],
  [
    'NOPASSWD for one with a password',
    add('/etc/sudoers.d/admin', 'owner ALL=(ALL) NOPASSWD: ALL'),
    '5.2.4',
  ],
  [
    'NOPASSWD for a group of one with a password',
    add('/etc/sudoers.d/admin', '%owner ALL=(ALL) NOPASSWD: ALL'),
    '5.2.4',
  ],
  ['NOPASSWD for an alias', add('/etc/sudoers.d/admin', 'ADMINS ALL=(ALL) NOPASSWD: ALL'), '5.2.4'],
  ['sudo that never asks', add('/etc/sudoers.d/admin', 'Defaults !authenticate'), '5.2.5'],
  [
    'sudo that trusts for an hour',
    add('/etc/sudoers.d/admin', 'Defaults timestamp_timeout=60'),
    '5.2.6',
  ],
  [
    'su for a group with members',
    edit('/etc/group', 'sugroup:x:999:', 'sugroup:x:999:owner'),
    '5.2.7',
  ],
  [
    'su for all',
    edit('/etc/pam.d/su', /.*pam_wheel.*/, '# auth required pam_wheel.so use_uid group=sugroup'),
    '5.2.7',
  ],
  ['no pam_unix for sessions', edit(pam('session'), 'session required pam_unix.so', ''), '5.3.2.1'],
  [
    'no pam_faillock',
    edit(pam('auth'), /pam_faillock/g, 'pam_tally'),
    '5.3.2.2',
    '5.3.3.1.1',
    '5.3.3.1.2',
    '5.3.3.1.3',
  ],
  [
    'no pam_pwquality',
    edit(pam('password'), 'pam_pwquality', 'pam_cracklib'),
    '5.3.2.3',
    '5.3.3.2.1',
    '5.3.3.2.2',
    '5.3.3.2.3',
    '5.3.3.2.4',
    '5.3.3.2.5',
    '5.3.3.2.6',
    '5.3.3.2.7',
    '5.3.3.2.8',
  ],
  [
    'no pam_pwhistory',
    edit(pam('password'), 'pam_pwhistory', 'pam_permit'),
    '5.3.2.4',
    '5.3.3.3.1',
    '5.3.3.3.2',
    '5.3.3.3.3',
  ],
  ['ten tries', edit('/etc/security/faillock.conf', 'deny = 5', 'deny = 10'), '5.3.3.1.1'],
  ['no lock, by argument', edit(pam('auth'), 'preauth', 'preauth deny=0'), '5.3.3.1.1'],
  ['a lock of a minute', edit('/etc/security/faillock.conf', '= 900', '= 60'), '5.3.3.1.2'],
  ['root never locked out', edit('/etc/security/faillock.conf', 'even_deny_root', ''), '5.3.3.1.3'],
  ['difok 1', edit('/etc/security/pwquality.conf', 'difok = 2', 'difok = 1'), '5.3.3.2.1'],
  [
    'passwords of 8',
    edit('/etc/security/pwquality.conf', 'minlen = 14', 'minlen = 8'),
    '5.3.3.2.2',
  ],
  ['plain passwords', edit('/etc/security/pwquality.conf', 'minclass = 3', ''), '5.3.3.2.3'],
  ['aaaa', edit('/etc/security/pwquality.conf', 'maxrepeat = 3', ''), '5.3.3.2.4'],
  ['1234', edit('/etc/security/pwquality.conf', 'maxsequence = 3', 'maxsequence = 0'), '5.3.3.2.5'],
  ['words', add('/etc/security/pwquality.conf', 'dictcheck = 0'), '5.3.3.2.6'],
  ['only warned', add('/etc/security/pwquality.conf', 'enforcing = 0'), '5.3.3.2.7'],
  ['all but root', edit('/etc/security/pwquality.conf', 'enforce_for_root', ''), '5.3.3.2.8'],
  ['5 old passwords', edit(pam('password'), 'remember=24', 'remember=5'), '5.3.3.3.1'],
  ['history for all but root', edit(pam('password'), 'enforce_for_root ', ''), '5.3.3.3.2'],
  ['history asks again', edit(pam('password'), 'use_authtok\n', '\n'), '5.3.3.3.3'],
  ['empty passwords', edit(pam('auth'), 'try_first_pass', 'nullok'), '5.3.3.4.1'],
  ["pam_unix's own history", edit(pam('password'), 'yescrypt', 'yescrypt remember=5'), '5.3.3.4.2'],
  ['MD5', edit(pam('password'), 'yescrypt', 'md5'), '5.3.3.4.3'],
  ['pam_unix asks again', edit(pam('password'), 'obscure use_authtok', 'obscure'), '5.3.3.4.4'],
  ['passwords for ever', edit('/etc/shadow', ':1:365:', ':1:99999:'), '5.4.1.1'],
  [
    'new passwords for ever',
    edit('/etc/login.defs', 'PASS_MAX_DAYS 365', 'PASS_MAX_DAYS 99999'),
    '5.4.1.1',
  ],
  [
    'passwords for a moment',
    edit('/etc/login.defs', 'PASS_MIN_DAYS 1', 'PASS_MIN_DAYS 0'),
    '5.4.1.2',
  ],
  ['no warning', edit('/etc/login.defs', 'WARN_AGE 7', 'WARN_AGE 1'), '5.4.1.3'],
  ['DES', edit('/etc/login.defs', 'YESCRYPT', 'DES'), '5.4.1.4'],
  ['accounts that stay', edit('/etc/default/useradd', '45', '-1'), '5.4.1.5'],
  ['a password of tomorrow', edit('/etc/shadow', /(owner:[^:]*):\d+/, '$1:99999'), '5.4.1.6'],
  [
    'a second root',
    edit('/etc/passwd', 'owner:x:1001', 'owner:x:0'),
    '5.4.2.1',
    '5.4.2.7',
    '7.2.5',
  ],
  ['a second account of the group root', edit('/etc/passwd', '1001:1001', '1001:0'), '5.4.2.2'],
  ['a second group root', edit('/etc/group', 'adm:x:4', 'adm:x:0'), '5.4.2.3', '7.2.6', '6.2.4.3'],
  ['root without a password', edit('/etc/shadow', 'root:!*', 'root:'), '5.4.2.4', '7.2.2'],
  ["a directory of root's path for all", stat('/usr/bin/', { mode: 0o777 }), '5.4.2.5'],
  ['a dot in the path', edit('/etc/login.defs', 'PATH=/usr/sbin', 'PATH=.:/usr/sbin'), '5.4.2.5'],
  ["root's umask", edit('/root/.bashrc', '# umask', 'umask'), '5.4.2.6'],
  [
    'a service with a shell',
    edit('/etc/passwd', '/usr/sbin:/usr/sbin/nologin', '/usr/sbin:/bin/sh'),
    '5.4.2.7',
  ],
  [
    'a service with a password',
    edit('/etc/shadow', 'daemon:*', 'daemon:$y$x'),
    '5.4.2.8',
    '5.4.1.1',
    '5.4.1.2',
    '5.4.1.5',
  ],
  ['nologin as a shell', add('/etc/shells', '/usr/sbin/nologin'), '5.4.3.1'],
  ['shells for ever', edit('/etc/profile.d/timeout.sh', '900', '0'), '5.4.3.2'],
  [
    'a time-out that can be unset',
    edit('/etc/profile.d/timeout.sh', 'readonly TMOUT', ''),
    '5.4.3.2',
  ],
  ['open files', edit('/etc/login.defs', 'UMASK 027', 'UMASK 022'), '5.4.3.3'],
  ['open files by a script', add('/etc/profile.d/umask.sh', 'umask 022'), '5.4.3.3'],
  ['a journal that failed', stops('systemd-journald.service'), '6.1.1.1.1'],
  ['a journal for all', stat('/var/log/journal/1/system.journal', { mode: 0o644 }), '6.1.1.1.2'],
  [
    'a journal without a size',
    edit('/etc/systemd/journald.conf.d/gateway.conf', /SystemMaxUse.*/, ''),
    '6.1.1.1.3',
  ],
  [
    'a journal that is sent on',
    edit('/etc/systemd/journald.conf.d/gateway.conf', 'Syslog=no', 'Syslog=yes'),
    '6.1.1.1.4',
  ],
  [
    'a journal in memory',
    edit('/etc/systemd/journald.conf.d/gateway.conf', 'persistent', 'volatile'),
    '6.1.1.1.5',
  ],
  ['a later file', add('/etc/systemd/journald.conf.d/zz.conf', 'Compress=no'), '6.1.1.1.6'],
  [
    'journals of others',
    both(install('systemd-journal-remote'), starts('systemd-journal-remote.socket')),
    '6.1.1.2.4',
  ],
  [
    'rsyslog',
    install('rsyslog'),
    ...Array.from({ length: 11 }, (_, index) => `6.1.2.${index + 1}`),
  ],
  ['auditd that failed', stops('auditd.service'), '6.2.1.2'],
  ['a boot that is not audited', edit('/proc/cmdline', 'audit=1', 'audit=0'), '6.2.1.3'],
  ['a small backlog', edit('/proc/cmdline', '8192', '64'), '6.2.1.4'],
  ['audit logs of any size', edit('/etc/audit/auditd.conf', 'max_log_file = 8', ''), '6.2.2.1'],
  ['one audit log', edit('/etc/audit/auditd.conf', 'num_logs = 5', 'num_logs = 1'), '6.2.2.2'],
  [
    'a full disk that nobody minds',
    edit('/etc/audit/auditd.conf', 'disk_full_action = SYSLOG', 'disk_full_action = IGNORE'),
    '6.2.2.3',
  ],
  [
    'little space that nobody minds',
    edit('/etc/audit/auditd.conf', /^space_left_action = SYSLOG/m, 'space_left_action = IGNORE'),
    '6.2.2.4',
  ],
  [
    'rules of the kernel that were deleted',
    says('auditctl', /[\s\S]*/, 'No rules'),
    ...range('6.2.3.', [1, 33]),
    '6.2.3.37',
  ],
  [
    'a rule for one user only',
    says('auditctl', '-S mount -F', '-S mount -F uid=77 -F'),
    '6.2.3.21',
    '6.2.3.37',
  ],
  [
    'a rule for 32-bit programs only',
    says('auditctl', 'arch=b64 -S unlinkat', 'arch=b32 -S unlinkat'),
    '6.2.3.24',
  ],
  [
    'a watch of reading only',
    says('auditctl', '-w /etc/passwd -p wa', '-w /etc/passwd -p r'),
    '6.2.3.13',
    '6.2.3.37',
  ],
  [
    'a watch of one system call',
    says(
      'auditctl',
      /-w \/etc\/group .*/,
      '-a always,exit -F arch=b64 -S openat -F path=/etc/group -F perm=wa -F key=one',
    ),
    '6.2.3.12',
    '6.2.3.37',
  ],
  [
    'a rule that the kernel has and the disk lost',
    edit(rules, /^-w \/etc\/hosts .*\n/m, ''),
    '6.2.3.7',
    '6.2.3.37',
  ],
  [
    'a set-ID program that is not watched',
    says('find', /$/, 'f 2755 0 42 1 /usr/bin/chage\0'),
    '6.2.3.10',
  ],
  ['a new rule that is not loaded', add(rules, '-w /etc/new -p wa'), '6.2.3.37'],
  ['rules that stop at an error', edit(rules, '-c\n', ''), '6.2.3.35'],
  ['rules that can be changed', edit(rules, '-e 2', '-e 1'), '6.2.3.36'],
  ['no comparison of files', stops('pi-gateway-integrity.timer'), '6.3.2'],
  ['a comparison of names alone', edit('/etc/aide/aide.conf', 'sha512+', ''), '6.3.3'],
  ['tools that are left out', add('/etc/aide/aide.conf', '!/usr/sbin/auditctl'), '6.3.3'],
  ['audit logs for all', stat('/var/log/audit/audit.log', { mode: 0o644, gid: 4 }), '6.2.4.1'],
  ['audit logs of another', stat('/var/log/audit/audit.log', { uid: 1000 }), '6.2.4.2'],
  ['audit logs of another group', stat('/var/log/audit/audit.log', { gid: 1000 }), '6.2.4.3'],
  ['a directory of audit logs for all', stat('/var/log/audit/', { mode: 0o755 }), '6.2.4.4'],
  ['audit rules for all to read', stat(rules, { mode: 0o644 }), '6.2.4.5'],
  ['audit rules of another', stat(rules, { uid: 1000 }), '6.2.4.6'],
  ['audit rules of another group', stat(rules, { gid: 1000 }), '6.2.4.7'],
  ['auditctl for all to write', stat('/usr/sbin/auditctl', { mode: 0o777 }), '6.2.4.8'],
  ['auditctl of another', stat('/usr/sbin/auditctl', { uid: 1000 }), '6.2.4.9'],
  ['auditctl of another group', stat('/usr/sbin/auditctl', { gid: 1000 }), '6.2.4.10'],
  ['shadow for all to read', stat('/etc/shadow', { mode: 0o644 }), '7.1.5'],
  ['shadow of another group', stat('/etc/shadow', { gid: 1000 }), '7.1.5'],
  ['a file for all to write', says('find', /$/, 'f 666 0 0 1 /etc/open\0'), '7.1.11'],
  ['a directory for all without the sticky bit', says('find', 'd 1777', 'd 777'), '7.1.11'],
  ['a file of nobody', says('find', /$/, 'f 644 4711 0 1 /etc/lost\0'), '7.1.12'],
  ['a file of no group', says('find', /$/, 'f 644 0 4711 1 /etc/lost\0'), '7.1.12'],
  ['a new set-ID program', says('find', /$/, 'f 4755 0 0 1 /usr/bin/door\0'), '7.1.13', '6.2.3.10'],
  [
    'a set-ID program with a known name elsewhere',
    says('find', /$/, 'f 4755 0 0 1 /opt/sudo\0'),
    '7.1.13',
    '6.2.3.10',
  ],
  ['a password in passwd', edit('/etc/passwd', 'owner:x:', 'owner:hash:'), '7.2.1'],
  ['an empty password', edit('/etc/shadow', /owner:[^:]*/, 'owner:'), '7.2.2'],
  ['a group that is not there', edit('/etc/passwd', '1001:1001', '1001:4711'), '7.2.3'],
  [
    'somebody in the group shadow',
    edit('/etc/group', 'shadow:x:42:', 'shadow:x:42:owner'),
    '7.2.4',
  ],
  ['two groups of a number', edit('/etc/group', 'adm:x:4:', 'adm:x:27:'), '7.2.6', '6.2.4.3'],
  ['two accounts of a name', edit('/etc/passwd', 'owner:x:1001', 'gateway:x:1001'), '7.2.7'],
  ['two groups of a name', edit('/etc/group', 'owner:x:1001', 'gateway:x:1001'), '7.2.8'],
  ['a home for all', stat('/home/owner/', { mode: 0o755 }), '7.2.9'],
  ['a start file of another', stat('/home/gateway/.profile', { uid: 1001, gid: 1000 }), '7.2.10'],
  ['a start file for all to write', stat('/home/gateway/.profile', { mode: 0o666 }), '7.2.10'],
  ['a .rhosts', stat('/home/owner/.rhosts', { mode: 0o600, uid: 1001, gid: 1001 }), '7.2.10'],
];

/** Ids of a section that pass on the sound machine but for those that only look at the disk. */
function range(section: string, [first, last]: [number, number]): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => `${section}${first + index}`);
}

/** Controls of a kind, by the one thing that each checks. */
const byCheck = (start: string) =>
  controls.filter(
    (control) =>
      control.checks.startsWith(start) &&
      (!(control.id in tailoring) || tailoring[control.id]?.instead !== undefined),
  );

const generated: typeof breaks = [
  // Kernel parameters: one that was changed now, and one that a later file changes at the next boot.
  ...byCheck('kernel.')
    .concat(byCheck('fs.'), byCheck('net.'))
    .flatMap((control): typeof breaks => {
      const key = control.checks.split(' ')[0] ?? '';
      const same = controls.filter((one) => one.checks.startsWith(`${key} `)).map((one) => one.id);
      const path = `/proc/sys/${key.replaceAll('.', '/')}`;
      return [
        [`${key} now`, edit(path, /\d+/, '7'), ...same],
        [`${key} at the next boot`, add('/etc/sysctl.d/99-later.conf', `${key}=7`), ...same],
      ];
    }),
  ...byCheck('packages in /var/lib/dpkg/status')
    .filter((control) => !['4.3.1', '5.2.1'].includes(control.id))
    .map((control): (typeof breaks)[number] => {
      const name = control.checks.split(': ')[1]?.split(', ')[0] ?? '';
      return [`no ${name}`, purge(name), control.id];
    }),
  ...byCheck('not in /var/lib/dpkg/status')
    .filter((control) => control.id !== '1.7.1')
    .map((control): (typeof breaks)[number] => {
      const name = control.checks.split(': ')[1]?.split(', ')[0] ?? '';
      return [`${name} installed`, install(name), control.id];
    }),
  ...byCheck('none of the packages')
    .filter((control) => !['2.1.13', '3.1.3', '6.1.1.2.4'].includes(control.id))
    .map((control): (typeof breaks)[number] => {
      const [, names = '', units = ''] =
        /packages (.*) is installed, or none of (.*) is enabled/.exec(control.checks) ?? [];
      const [name = '', unit = ''] = [names.split(', ')[0], units.split(', ').at(-1)];
      return [`${name} in use`, both(install(name), starts(unit)), control.id];
    }),
  ...['hourly', 'daily', 'weekly', 'monthly', 'yearly', 'd'].map(
    (name, index): (typeof breaks)[number] => [
      `cron.${name} for all to read`,
      stat(`/etc/cron.${name}/`, { mode: 0o755 }),
      `2.4.1.${index + 3}`,
    ],
  ),
  ...[
    ...'passwd passwd- group group-'.split(' '),
    '',
    'shadow-',
    'gshadow',
    'gshadow-',
    'shells',
    'security/opasswd',
  ].map((name, index): (typeof breaks)[number] => [
    `/etc/${name} for all to write`,
    stat(`/etc/${name || 'shadow'}`, { mode: 0o666 }),
    `7.1.${index + 1}`,
  ]),
  ...controls
    .filter((control) => control.checks.includes('in modprobe.d both'))
    .filter((control) => control.id !== '1.1.1.6')
    .map((control): (typeof breaks)[number] => {
      const name = control.checks.split(':')[0] ?? '';
      return [
        `${name} not blacklisted`,
        edit('/etc/modprobe.d/gateway.conf', new RegExp(`^blacklist ${name}$`, 'm'), ''),
        control.id,
      ];
    }),
];

test('on a sound machine nothing fails, and the score is 100', () => {
  const results = judge(soundMachine());
  expect(results.filter((result) => result.state === 'fail')).toEqual([]);
  expect(score(results).percent).toBe(100);
});

test.each([...breaks, ...generated].map(([name, broken, ...ids]) => ({ name, broken, ids })))(
  '$name fails $ids.0 and nothing else',
  ({ broken, ids }) => {
    const machine = soundMachine();
    broken(machine);
    const failed = idsOf(judge(machine), 'fail');
    expect(failed.toSorted()).toEqual([...new Set(ids)].toSorted());
  },
);

test('every control that can pass is seen to fail when what it checks is wrong', () => {
  const tested = new Set([...breaks, ...generated].flatMap(([, , ...ids]) => ids));
  const passing = idsOf(judge(soundMachine()), 'pass');
  // Purging these two takes controls with it that are then not applicable.
  const elsewhere = ['4.3.1', '5.2.1'];
  expect(passing.filter((id) => !tested.has(id) && !elsewhere.includes(id))).toEqual([]);
});

test.each([
  ['nftables', '4.3.1'],
  ['sudo', '5.2.1'],
])('without the package %s its control fails', (name, id) => {
  const machine = soundMachine();
  purge(name)(machine);
  expect(idsOf(judge(machine), 'fail')).toEqual([id]);
});

test('of a machine that tells nothing, no control passes', () => {
  const results = judge({ files: {}, said: {} });
  expect(idsOf(results, 'pass')).toEqual([]);
  expect(score(results).percent).toBe(0);
});

test('of files that are there but empty, and programs that say nothing, nothing is believed', () => {
  const machine = soundMachine();
  for (const [path, file] of Object.entries(machine.files))
    machine.files[path] =
      typeof file === 'string' ? '' : { ...file, ...(file.text === undefined ? {} : { text: '' }) };
  for (const question of Object.keys(machine.said)) machine.said[question as Question] = '';
  // What still passes is about permissions alone, or is fulfilled by a file that says nothing.
  const aboutContent = idsOf(judge(machine), 'pass').filter(
    (id) =>
      !/owner root|group root|nothing for others|mode at most|owned by it/.test(
        controls.find((one) => one.id === id)?.checks ?? '',
      ),
  );
  expect(aboutContent).toEqual(['1.6.1', '4.3.3', '5.4.2.6']);
});

test.each(['systemctl', 'sshd', 'nft', 'auditctl', 'find'] as const)(
  'when %s fails, what it would have told fails with its error as evidence',
  (question) => {
    const machine = soundMachine();
    machine.said[question] = new Error(`${question} failed: no such thing`);
    const failed = judge(machine).filter((result) => result.state === 'fail');
    expect(failed.length).toBeGreaterThan(0);
    for (const result of failed)
      expect(result.evidence).toBe(`cannot be checked: ${question} failed: no such thing`);
  },
);

test('a unit that has no file is not there, though systemd was not asked for it', () => {
  const machine = soundMachine();
  const silent = String(machine.said.systemctl)
    .split('\n\n')
    .filter((block) => !block.startsWith('Id=ntpsec'))
    .join('\n\n');
  machine.said.systemctl = silent;
  expect(idsOf(judge(machine), 'fail')).toEqual([]);
  machine.files['/usr/lib/systemd/system/ntpsec.service'] = '[Service]\n';
  const failed = judge(machine).filter((result) => result.state === 'fail');
  expect(failed[0]?.evidence).toMatch(/systemctl said nothing of ntpsec/);
});

test('what is judged before the programs have answered is what is judged after', async () => {
  const machine = soundMachine();
  edit('/etc/login.defs', 'UMASK 027', 'UMASK 022')(machine);
  stops('auditd.service')(machine);
  const whole = judge(machine);
  const { said } = machine;
  const waiting = new Map<string, string | Error>(
    (Object.keys(said) as Question[]).map((question) => [question, new StillAsked(question)]),
  );
  const facts = factsOf(factsOfMachine(machine).tree, waiting);
  const answered = new Promise<void>((resolve) => {
    setTimeout(() => {
      for (const [question, answer] of Object.entries(said)) waiting.set(question, answer);
      resolve();
    }, 10);
  });
  expect(await assessWhileAsking({ facts, answered }, controls, tailoring)).toEqual(whole);
  expect(whole.filter(({ state }) => state === 'fail').length).toBeGreaterThan(1);
});

test('audit rules that only the kernel has, or only the disk, are not enough', () => {
  const machine = soundMachine();
  unload('/etc/sudoers ')(machine);
  const result = judge(machine).find((one) => one.id === '6.2.3.1');
  expect(result?.evidence).toBe('/etc/sudoers (wa) is not in the kernel');
});

test('a pattern of sysctl.d counts where no file names the key, whatever the order', () => {
  const id = '3.3.1.12';
  const machine = soundMachine();
  const path = '/etc/sysctl.d/90-gateway.conf';
  edit(path, 'net.ipv4.conf.all.rp_filter = 1', 'net/ipv4/conf/*/rp_filter = 1')(machine);
  expect(judge(machine).find((one) => one.id === id)?.state).toBe('pass');
  add('/usr/lib/sysctl.d/99-vendor.conf', '-net.ipv4.conf.all.rp_filter = 2')(machine);
  expect(judge(machine).find((one) => one.id === id)?.evidence).toBe(
    'now 1; /usr/lib/sysctl.d/99-vendor.conf: 2',
  );
});

test('a report says what fails first, with what was seen and how to mend it', () => {
  const machine = soundMachine();
  edit('/etc/login.defs', 'UMASK 027', 'UMASK 022')(machine);
  const report = makeReport(judge(machine), { live: true });
  const shown = reportText(report, (_, plain) => plain, { failed: false });
  expect(shown).toMatch(
    /5 Access control {2}\d+ of \d+ pass\n {2}FAIL {6}5\.4\.3\.3 .*\n.*UMASK 022\n.*→ In \/etc\/login\.defs: UMASK 027/,
  );
  expect(shown).toMatch(/\n99\.\d %: \d+ pass, 1 fail; 20 tailored, \d+ not applicable\n/);
  expect(reportText(report, (_, plain) => plain, { failed: true })).not.toContain('pass  ');
});

test('ids are unique and in order, and the tailoring is of controls that there are', () => {
  const ids = controls.map((control) => control.id);
  expect(new Set(ids).size).toBe(ids.length);
  const key = (id: string) =>
    id
      .split('.')
      .map((part) => part.padStart(3, '0'))
      .join('.');
  expect(ids).toEqual(ids.toSorted((a, b) => (key(a) < key(b) ? -1 : 1)));
  expect(Object.keys(tailoring).filter((id) => !ids.includes(id))).toEqual([]);
  expect(unitsAsked.length).toBe(new Set(unitsAsked).size);
});

test('a root file system that is not running is judged by its files, links inside it', async () => {
  const root = await mkdtemp(join(tmpdir(), 'pi-gateway-compliance-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const machine = soundMachine();
  for (const path of Object.keys(machine.files).filter((one) => !/^\/(proc|sys)\//.test(one))) {
    const place = join(root, path);
    const file = machine.files[path];
    await mkdir(path.endsWith('/') ? place : dirname(place), { recursive: true });
    if (!path.endsWith('/')) await writeFile(place, text(machine, path));
    if (typeof file === 'object' && file.mode !== undefined) await chmod(place, file.mode);
  }
  await rm(join(root, 'etc/issue'));
  // Outside, this path is another file, or none.
  await symlink('/etc/issue.net', join(root, 'etc/issue'));
  await symlink('/dev/null', join(root, 'etc/sysctl.d/99-masked.conf'));
  await mkdir(join(root, 'etc/systemd/system/multi-user.target.wants'), { recursive: true });
  await mkdir(join(root, 'usr/lib/systemd/system'), { recursive: true });
  await writeFile(join(root, 'usr/lib/systemd/system/nftables.service'), '');
  const state = (id: string) =>
    assess(factsOfDirectory(root), controls, tailoring).find((one) => one.id === id);

  expect(state('1.6.2')).toMatchObject({ state: 'pass', evidence: expect.stringContaining('may') });
  expect(state('1.5.5')).toMatchObject({ state: 'pass' });
  expect(state('1.1.2.1.1')).toMatchObject({
    state: 'not-applicable',
    evidence: 'needs a running system',
  });
  expect(state('4.3.9')).toMatchObject({ state: 'fail', evidence: 'nftables.service: disabled' });
  await symlink(
    '/usr/lib/systemd/system/nftables.service',
    join(root, 'etc/systemd/system/multi-user.target.wants/nftables.service'),
  );
  expect(state('4.3.9')?.state).toBe('pass');
  // An image's sshd is asked through its files, the first value counting.
  await mkdir(join(root, 'etc/ssh/sshd_config.d'));
  await writeFile(
    join(root, 'etc/ssh/sshd_config.d/10.conf'),
    'MaxAuthTries 3\nMatch all\nMaxSessions 2\n',
  );
  await writeFile(join(root, 'etc/ssh/sshd_config.d/20.conf'), 'MaxAuthTries 6\n');
  expect(state('5.1.17')?.evidence).toBe('MaxAuthTries 3');
  expect(state('5.1.18')?.evidence).toBe('MaxSessions 10');
  expect(state('5.1.12')?.state).toBe('fail');
  await writeFile(join(root, 'etc/open'), '');
  await chmod(join(root, 'etc/open'), 0o666);
  expect(state('7.1.11')?.evidence).toBe('/etc/open: 666');
});
