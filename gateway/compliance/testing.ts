import { posix } from 'node:path';
import { unitsAsked } from './controls/all.ts';
import { type Facts, factsOf, type Question } from './facts.ts';
import { type FileStat, followLinks } from './tree.ts';

type Entry = { text?: string; to?: string; mode?: number; uid?: number; gid?: number };

/** A machine in memory for tests: files, and what programs say. */
export type Machine = {
  /** By path: a file's text, or what else it is; a path that ends in `/` is a directory. */
  files: Record<string, string | Entry>;
  said: Partial<Record<Question, string | Error>>;
};

export function factsOfMachine(machine: Machine): Facts {
  return factsOf(memoryTree(machine.files), new Map(Object.entries(machine.said)));
}

function memoryTree(files: Machine['files']) {
  const entries = new Map<string, Entry & { directory?: boolean }>([['/', { directory: true }]]);
  for (const [name, value] of Object.entries(files)) {
    const entry = typeof value === 'string' ? { text: value } : value;
    const path = name.replace(/(?<=.)\/$/, '');
    const directory = name.endsWith('/');
    entries.set(path, { ...entry, ...(directory ? { directory } : {}) });
    for (let up = posix.dirname(path); !entries.has(up); up = posix.dirname(up))
      entries.set(up, { directory: true });
  }
  return followLinks({
    lstat: (path): FileStat | undefined => {
      const entry = entries.get(path);
      if (!entry) return undefined;
      const kind = entry.directory ? 'directory' : entry.to === undefined ? 'file' : 'link';
      return {
        kind,
        mode: entry.mode ?? (entry.directory ? 0o755 : 0o644),
        uid: entry.uid ?? 0,
        gid: entry.gid ?? 0,
        size: entry.text?.length ?? 0,
      };
    },
    readlink: (path) => entries.get(path)?.to ?? '',
    read: (path) => {
      const text = entries.get(path)?.text;
      if (text === undefined) throw new Error(`${path} is no file`);
      return text;
    },
    list: (path) =>
      [...entries.keys()]
        .filter((one) => one !== '/' && posix.dirname(one) === path)
        .map((one) => posix.basename(one))
        .sort(),
    sameFileSystem: () => true,
  });
}

const modules = [
  ...['cramfs', 'freevxfs', 'hfs', 'hfsplus', 'jffs2', 'overlay', 'squashfs', 'udf'],
  ...['firewire-core', 'usb-storage', 'atm', 'can', 'dccp', 'rds', 'sctp', 'tipc'],
];

const sysctls: Record<string, string> = {
  'kernel.apparmor_restrict_unprivileged_unconfined': '1',
  'fs.protected_hardlinks': '1',
  'fs.protected_symlinks': '1',
  'kernel.yama.ptrace_scope': '2',
  'fs.suid_dumpable': '0',
  'kernel.dmesg_restrict': '1',
  'kernel.kptr_restrict': '2',
  'kernel.randomize_va_space': '2',
  'net.ipv4.icmp_ignore_bogus_error_responses': '1',
  'net.ipv4.icmp_echo_ignore_broadcasts': '1',
  'net.ipv4.tcp_syncookies': '1',
  ...Object.fromEntries(
    ['all', 'default'].flatMap((name) => [
      [`net.ipv4.conf.${name}.send_redirects`, '0'],
      [`net.ipv4.conf.${name}.accept_redirects`, '0'],
      [`net.ipv4.conf.${name}.secure_redirects`, '0'],
      [`net.ipv4.conf.${name}.rp_filter`, '1'],
      [`net.ipv4.conf.${name}.accept_source_route`, '0'],
      [`net.ipv4.conf.${name}.log_martians`, '1'],
      [`net.ipv6.conf.${name}.accept_redirects`, '0'],
      [`net.ipv6.conf.${name}.accept_source_route`, '0'],
      [`net.ipv6.conf.${name}.accept_ra`, '0'],
    ]),
  ),
};

const installed = [
  ...['dpkg', 'unattended-upgrades', 'apparmor', 'aide', 'chrony', 'nftables', 'sudo'],
  ...['libpam-runtime', 'libpam-modules', 'libpam-pwquality', 'auditd'],
  ...['cron', 'at', 'systemd-coredump', 'network-manager', 'rsync'],
];

/** As they are written on disk. */
const auditRules = [
  ...['/etc/sudoers', '/etc/sudoers.d', '/etc/issue', '/etc/issue.net', '/etc/hosts'],
  ...['/etc/hostname', '/etc/systemd/network', '/etc/NetworkManager', '/etc/localtime'],
  ...['/etc/group', '/etc/passwd', '/etc/shadow', '/etc/gshadow', '/etc/security/opasswd'],
  ...['/etc/nsswitch.conf', '/etc/pam.conf', '/etc/pam.d', '/run/utmp', '/var/log/wtmp'],
  ...['/var/log/btmp', '/var/lib/lastlog', '/run/faillock', '/etc/apparmor', '/etc/apparmor.d'],
  '/var/log/sudo.log',
]
  .map((path) => `-w ${path} -p wa -k watched`)
  .concat(
    ['/usr/bin/sudo', '/usr/bin/chcon', '/usr/bin/setfacl', '/usr/bin/chacl', '/usr/bin/kmod'].map(
      (path) => `-a always,exit -F path=${path} -F perm=x -F auid>=1000 -F auid!=unset -k use`,
    ),
    '-a always,exit -F path=/usr/sbin/usermod -F perm=x -F auid>=1000 -F auid!=unset -k use',
    '-a always,exit -F arch=b64 -C euid!=uid -F auid!=unset -S execve -k as-other',
    ...[
      'adjtimex,settimeofday',
      'clock_settime -F a0=0x0',
      'sethostname,setdomainname',
      'fchmod,fchmodat',
      'fchown,fchownat',
      'setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr',
      'mount',
      'unlinkat',
      'renameat',
      'init_module,finit_module',
      'delete_module',
    ].map((calls) => `-a always,exit -F arch=b64 -S ${calls} -F auid>=1000 -F key=calls`),
    ...['EACCES', 'EPERM'].map(
      (error) =>
        `-a always,exit -F arch=b64 -S openat,truncate,ftruncate -F exit=-${error} -k refused`,
    ),
  );

/** As `auditctl -l` lists them: not in the words that they were written in. */
const listed = auditRules.map((rule) =>
  rule
    .replace('always,exit -F path', 'always,exit -S all -F path')
    .replace(/(always,exit.*) -k (\S+)$/, '$1 -F key=$2')
    .replace('euid!=uid', 'uid!=euid')
    .replace('auid!=unset', 'auid!=-1'),
);

const sshd = {
  allowgroups: 'sudo',
  banner: '/etc/issue.net',
  ciphers: 'chacha20-poly1305@openssh.com,aes256-gcm@openssh.com',
  clientaliveinterval: '60',
  clientalivecountmax: '3',
  disableforwarding: 'yes',
  gssapiauthentication: 'no',
  hostbasedauthentication: 'no',
  ignorerhosts: 'yes',
  kexalgorithms: 'mlkem768x25519-sha256,curve25519-sha256',
  logingracetime: '30',
  loglevel: 'VERBOSE',
  macs: 'hmac-sha2-512-etm@openssh.com',
  maxauthtries: '3',
  maxsessions: '4',
  maxstartups: '10:30:60',
  permitemptypasswords: 'no',
  permitrootlogin: 'no',
  permituserenvironment: 'no',
  usepam: 'yes',
};

const running = [
  ...['chrony.service', 'cron.service', 'nftables.service', 'auditd.service'],
  ...['systemd-journald.service', 'pi-gateway-integrity.timer'],
];

const unitsText = unitsAsked
  .map((name) =>
    running.includes(name)
      ? `Id=${name}\nNames=${name}\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled`
      : `Id=${name}\nNames=${name}\nLoadState=not-found\nActiveState=inactive\nUnitFileState=`,
  )
  .join('\n\n');

const chain = (hook: string) => ({
  chain: { family: 'inet', table: 'gateway', name: hook, type: 'filter', hook, policy: 'drop' },
});
const rule = (...expr: unknown[]) => ({
  rule: { family: 'inet', table: 'gateway', chain: 'input', expr },
});
const source = (protocol: string, right: unknown) => ({
  match: { op: '==', left: { payload: { protocol, field: 'saddr' } }, right },
});
const nft = JSON.stringify({
  nftables: [
    { metainfo: { version: '1.1.3' } },
    { table: { family: 'inet', name: 'gateway' } },
    chain('input'),
    chain('forward'),
    rule(
      { match: { op: 'in', left: { ct: { key: 'state' } }, right: ['established', 'related'] } },
      { accept: null },
    ),
    rule({ match: { op: '==', left: { meta: { key: 'iif' } }, right: 'lo' } }, { accept: null }),
    rule(source('ip', { prefix: { addr: '127.0.0.0', len: 8 } }), { drop: null }),
    rule(source('ip6', '::1'), { drop: null }),
  ],
});

const listens = (lines: readonly string[]) =>
  ['  sl  local_address rem_address   st', ...lines].join('\n');

/** A machine on which every control passes, is tailored or not applicable. */
export function soundMachine(): Machine {
  const day = Math.floor(Date.now() / 86_400_000);
  return {
    said: {
      systemctl: unitsText,
      sshd: Object.entries(sshd)
        .map((pair) => pair.join(' '))
        .join('\n'),
      nft,
      auditctl: listed.join('\n'),
      find: 'd 1777 0 0 4096 /tmp\0f 4755 0 0 1000 /usr/bin/sudo\0f 640 0 42 900 /etc/shadow\0',
    },
    files: {
      '/var/lib/dpkg/status': installed
        .map((name) => `Package: ${name}\nStatus: install ok installed\nVersion: 1.0`)
        .join('\n\n'),
      '/usr/lib/modules/6.12/modules.dep': modules
        .map((name) => `kernel/some/${name}.ko.xz: kernel/other.ko.xz`)
        .join('\n'),
      '/usr/lib/modules/6.12/modules.builtin': 'kernel/fs/ext4/ext4.ko\n',
      '/etc/modprobe.d/gateway.conf': modules
        .map((name) => `install ${name} /bin/false\nblacklist ${name}`)
        .join('\n'),
      '/proc/modules': 'wireguard 12288 0 - Live 0x0\n',
      '/proc/cmdline': 'root=/dev/mmcblk0p2 audit=1 audit_backlog_limit=8192\n',
      '/proc/self/mounts': [
        '/dev/mmcblk0p2 / ext4 rw,noatime 0 0',
        'tmpfs /tmp tmpfs rw,nosuid,nodev,noexec 0 0',
        'tmpfs /dev/shm tmpfs rw,nosuid,nodev,noexec 0 0',
        'tmpfs /var/log tmpfs rw,nosuid,nodev,noexec 0 0',
        '/dev/mmcblk0p1 /boot/firmware vfat rw,fmask=0077,dmask=0077 0 0',
      ].join('\n'),
      '/proc/net/tcp': listens([
        '   0: 00000000:0016 00000000:0000 0A',
        '   1: 0100007F:0019 00000000:0000 0A',
      ]),
      '/proc/net/tcp6': listens(['   0: 00000000000000000000000001000000:0019 0:0000 0A']),
      '/proc/net/udp': listens(['   0: 00000000:CA6C 00000000:0000 07']),
      '/proc/sys/net/ipv6/conf/all/disable_ipv6': '0\n',
      ...Object.fromEntries(
        Object.entries(sysctls).map(([key, value]) => [
          `/proc/sys/${key.replaceAll('.', '/')}`,
          `${value}\n`,
        ]),
      ),
      '/etc/sysctl.d/90-gateway.conf': Object.entries(sysctls)
        .map(([key, value]) => `${key} = ${value}`)
        .join('\n'),
      '/sys/module/apparmor/parameters/enabled': 'Y\n',
      '/sys/kernel/security/apparmor/profiles': '/usr/sbin/chronyd (enforce)\nlsb (unconfined)\n',
      '/sys/class/net/lo/': {},
      '/sys/class/net/wlan0/phy80211/': {},
      '/sys/class/net/wlan0/flags': '0x1002\n',
      '/etc/apt/sources.list.d/debian.sources':
        'Types: deb\nURIs: http://mirror.example/debian\nSigned-By: /usr/share/keyrings/d.gpg\n',
      '/etc/apt/apt.conf.d/52-gateway':
        'APT::Install-Recommends "0";\nAPT::Install-Suggests "0";\nAPT::Periodic { Update-Package-Lists "1"; };\nAPT::Periodic::Unattended-Upgrade "1";\n',
      '/etc/apt/trusted.gpg.d/debian.asc': 'key',
      '/etc/apt/auth.conf.d/': {},
      '/usr/share/keyrings/d.gpg': 'key',
      '/etc/security/limits.d/gateway.conf': '* hard core 0\n',
      '/etc/systemd/coredump.conf.d/gateway.conf': '[Coredump]\nStorage=none\nProcessSizeMax=0\n',
      '/usr/lib/systemd/systemd': 'program',
      '/etc/systemd/journald.conf.d/gateway.conf':
        '[Journal]\nStorage=persistent\nCompress=yes\nForwardToSyslog=no\nSystemMaxUse=200M\n',
      '/var/log/journal/1/system.journal': { text: 'journal', mode: 0o640 },
      '/etc/issue': 'Only for those who may.\n',
      '/etc/issue.net': 'Only for those who may.\n',
      '/etc/motd': '',
      '/etc/chrony/chrony.conf': 'server time.example.org iburst nts\n',
      '/etc/crontab': { text: '', mode: 0o600 },
      ...Object.fromEntries(
        ['hourly', 'daily', 'weekly', 'monthly', 'yearly', 'd'].map((name) => [
          `/etc/cron.${name}/`,
          { mode: 0o700 },
        ]),
      ),
      '/etc/cron.allow': { text: 'root\n', mode: 0o640 },
      '/etc/at.allow': { text: 'root\n', mode: 0o640 },
      '/etc/nftables.conf':
        'table inet gateway {\n type filter hook input priority filter; policy drop;\n type filter hook forward priority filter; policy drop;\n}\n',
      '/etc/ssh/sshd_config': { text: 'Include /etc/ssh/sshd_config.d/*.conf\n', mode: 0o600 },
      '/etc/ssh/ssh_host_ed25519_key': { text: 'key', mode: 0o600 },
      '/etc/ssh/ssh_host_ed25519_key.pub': 'key',
      '/etc/sudoers':
        'Defaults use_pty, logfile="/var/log/sudo.log"\nDefaults secure_path="/usr/sbin:/usr/bin"\n@includedir /etc/sudoers.d\n',
      '/etc/sudoers.d/admin': 'gateway ALL=(ALL:ALL) NOPASSWD: ALL\n',
      '/usr/sbin/': {},
      '/usr/bin/': {},
      '/etc/pam.d/su': 'auth required pam_wheel.so use_uid group=sugroup\n@include common-auth\n',
      '/etc/pam.d/common-auth':
        'auth required pam_faillock.so preauth\nauth [success=2 default=ignore] pam_unix.so try_first_pass\nauth [default=die] pam_faillock.so authfail\n',
      '/etc/pam.d/common-account':
        'account required pam_unix.so\naccount required pam_faillock.so\n',
      '/etc/pam.d/common-password':
        'password requisite pam_pwquality.so retry=3\npassword required pam_pwhistory.so remember=24 enforce_for_root use_authtok\npassword [success=1 default=ignore] pam_unix.so obscure use_authtok try_first_pass yescrypt\n',
      '/etc/pam.d/common-session': 'session optional pam_umask.so\nsession required pam_unix.so\n',
      '/etc/pam.d/common-session-noninteractive': 'session optional pam_umask.so\n',
      '/etc/security/faillock.conf': 'deny = 5\nunlock_time = 900\neven_deny_root\n',
      '/etc/security/pwquality.conf':
        'difok = 2\nminlen = 14\nminclass = 3\nmaxrepeat = 3\nmaxsequence = 3\nenforce_for_root\n',
      '/etc/security/opasswd': { text: '', mode: 0o600 },
      '/etc/login.defs':
        'UID_MIN 1000\nPASS_MAX_DAYS 365\nPASS_MIN_DAYS 1\nPASS_WARN_AGE 7\nENCRYPT_METHOD YESCRYPT\nUMASK 027\nENV_SUPATH PATH=/usr/sbin:/usr/bin\n',
      '/etc/default/useradd': 'INACTIVE=45\n',
      '/etc/profile.d/timeout.sh': 'TMOUT=900\nreadonly TMOUT\nexport TMOUT\n',
      '/etc/shells': '/bin/bash\n/bin/sh\n',
      '/etc/passwd':
        'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\ngateway:x:1000:1000::/home/gateway:/bin/bash\nowner:x:1001:1001::/home/owner:/bin/bash\n',
      '/etc/passwd-': { text: '', mode: 0o600 },
      '/etc/group':
        'root:x:0:\ndaemon:x:1:\nadm:x:4:gateway\nsudo:x:27:gateway\nshadow:x:42:\nsugroup:x:999:\ngateway:x:1000:\nowner:x:1001:\n',
      '/etc/group-': { text: '', mode: 0o600 },
      '/etc/shadow': {
        text: `root:!*:${day}:0:99999:7:::\ndaemon:*:${day}:0:99999:7:::\ngateway:*:${day}:0:99999:7:::\nowner:$y$j9T$x$y:${day}:1:365:7:45::\n`,
        mode: 0o640,
        gid: 42,
      },
      '/etc/shadow-': { text: '', mode: 0o600 },
      '/etc/gshadow': { text: '', mode: 0o640, gid: 42 },
      '/etc/gshadow-': { text: '', mode: 0o600 },
      '/root/.bashrc': '# umask 022\n',
      '/home/gateway/': { mode: 0o700, uid: 1000, gid: 1000 },
      '/home/gateway/.profile': { text: '', uid: 1000, gid: 1000 },
      '/home/owner/': { mode: 0o700, uid: 1001, gid: 1001 },
      '/etc/aide/aide.conf':
        'database_in=file:/var/lib/aide/aide.db\nKept = ftype+p+u+g+s+sha512+xattrs+acl\n/usr/sbin Kept\n',
      '/etc/audit/auditd.conf': {
        text: 'max_log_file = 8\nnum_logs = 5\nmax_log_file_action = ROTATE\nspace_left_action = SYSLOG\nadmin_space_left_action = SYSLOG\ndisk_full_action = SYSLOG\ndisk_error_action = SYSLOG\n',
        mode: 0o640,
      },
      '/etc/audit/rules.d/10-gateway.rules': {
        text: ['-D', '-b 8192', '-c', ...auditRules, '-e 2'].join('\n'),
        mode: 0o640,
      },
      '/var/log/audit/': { mode: 0o750 },
      '/var/log/audit/audit.log': { text: '', mode: 0o640, gid: 4 },
      '/etc/systemd/network/': {},
      ...Object.fromEntries(
        [
          ...['/usr/sbin/auditctl', '/usr/sbin/aureport', '/usr/sbin/ausearch'],
          ...['/usr/sbin/auditd', '/usr/sbin/augenrules', '/usr/sbin/usermod', '/usr/bin/chcon'],
          ...['/usr/bin/setfacl', '/usr/bin/chacl', '/usr/bin/kmod'],
        ].map((path) => [path, { text: '', mode: 0o755 }]),
      ),
    },
  };
}
