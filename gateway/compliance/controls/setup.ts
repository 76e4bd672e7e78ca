import { type Body, type Control, fail, judge, l1, l2, none, pass } from '../control.ts';
import { dropIns, type Facts, readIfThere, requireLive, settings } from '../facts.ts';
import {
  access,
  accessIn,
  ifInstalled,
  moduleDenied,
  mountOption,
  ownFileSystem,
  packageAbsent,
  packageInstalled,
  review,
  serviceUnused,
  sysctl,
} from '../kinds.ts';
import { bootArguments, mounts } from '../state/kernel.ts';
import { packages } from '../state/packages.ts';

/** All of apt's configuration: apt.conf(5), /etc/apt/apt.conf last. */
function aptSetting(facts: Facts, key: string): string | undefined {
  // apt reads names without a dot, or with .conf.
  const paths = [
    ...dropIns(facts, ['/etc/apt/apt.conf.d'], '').filter(
      (path) => !/\.(?!conf$)[^/]*$/.test(path.slice(path.lastIndexOf('/'))),
    ),
    '/etc/apt/apt.conf',
  ];
  const [group = '', name = ''] = key.split('::').slice(-2);
  const flat = new RegExp(`${key}\\s+"([^"]*)"`, 'gi');
  const nested = new RegExp(`\\b${group}\\s*\\{[^}]*?\\b${name}\\s+"([^"]*)"`, 'gi');
  let value: string | undefined;
  for (const path of paths) {
    const text = settings(readIfThere(facts, path) ?? '')
      .filter((line) => !line.startsWith('//'))
      .join('\n');
    for (const pattern of [nested, flat])
      for (const [, found] of text.matchAll(pattern)) value = found;
  }
  return value;
}

const no = ['0', 'false', 'no', 'off', 'without', 'disable'];

const weakDependencies: Body = {
  title: 'apt installs nothing that was not asked for',
  checks: 'APT::Install-Recommends and APT::Install-Suggests in /etc/apt/apt.conf.d are 0',
  mend: 'In /etc/apt/apt.conf.d: APT::Install-Recommends "0"; APT::Install-Suggests "0";',
  check: (facts) => {
    const values = ['APT::Install-Recommends', 'APT::Install-Suggests'].map(
      (key) => [key, aptSetting(facts, key)] as const,
    );
    return judge(
      values.every(([, value]) => value !== undefined && no.includes(value.toLowerCase())),
      values.map(([key, value]) => `${key} ${value ?? '(not set)'}`).join('; '),
    );
  },
};

const signedBy: Body = {
  title: 'Every package source names the key that signs it',
  checks: 'each source in /etc/apt/sources.list and sources.list.d has Signed-By',
  mend: 'Write the sources as .sources files with Signed-By: /usr/share/keyrings/…; see sources.list(5)',
  check: (facts) => {
    const unsigned: string[] = [];
    let sources = 0;
    const look = (path: string, entries: readonly string[], signed: RegExp) => {
      for (const entry of entries) {
        sources++;
        if (!signed.test(entry)) unsigned.push(`${path}: ${entry.split('\n')[0]}`);
      }
    };
    const lines = (path: string) =>
      settings(readIfThere(facts, path) ?? '').filter((line) => /^deb(-src)?\s/.test(line));
    const paths = [
      '/etc/apt/sources.list',
      ...facts.tree
        .list('/etc/apt/sources.list.d')
        .map((name) => `/etc/apt/sources.list.d/${name}`),
    ];
    for (const path of paths)
      if (path.endsWith('.sources'))
        look(
          path,
          facts.tree
            .read(path)
            .split(/\n\s*\n/)
            .map((stanza) => settings(stanza).join('\n'))
            .filter((stanza) => /^Types:/im.test(stanza)),
          /^Signed-By:/im,
        );
      else if (path.endsWith('.list')) look(path, lines(path), /^deb(-src)?\s+\[[^\]]*signed-by=/i);
    if (sources === 0) return fail('apt has no sources');
    return none(unsigned, `all ${sources} sources name their key`);
  },
};

const updates: Body = {
  title: 'Security updates are installed by themselves',
  checks:
    'unattended-upgrades is installed, and APT::Periodic updates the lists and upgrades at least every 7 days (that none waits: pi-gateway or apt-get -s upgrade)',
  mend: 'Turn stages.system.automatic_updates on, or run apt-get update and apt-get upgrade',
  check: (facts) => {
    if (!packages(facts).has('unattended-upgrades'))
      return fail('unattended-upgrades is not installed');
    const days = ['APT::Periodic::Update-Package-Lists', 'APT::Periodic::Unattended-Upgrade'].map(
      (key) => [key, aptSetting(facts, key) ?? '0'] as const,
    );
    return judge(
      days.every(([, value]) => value === 'always' || (Number(value) >= 1 && Number(value) <= 7)),
      days.map(([key, value]) => `${key} ${value}`).join('; '),
    );
  },
};

const apparmorEnabled: Body = {
  title: 'AppArmor is enabled',
  checks:
    '/sys/module/apparmor/parameters/enabled is Y; of an image: the kernel argument apparmor=1 or security=apparmor, or the kernel has it in CONFIG_LSM, and no argument turns it off',
  mend: "Add 'apparmor=1 security=apparmor' to /boot/firmware/cmdline.txt and restart",
  check: (facts) => {
    if (facts.live) {
      const enabled = facts.tree.read('/sys/module/apparmor/parameters/enabled').trim();
      return judge(enabled === 'Y', `/sys/module/apparmor/parameters/enabled: ${enabled}`);
    }
    const args = bootArguments(facts).filter((one) => /^(apparmor|security|lsm)=/.test(one));
    if (args.length)
      return judge(
        !args.includes('apparmor=0') &&
          args.some((one) => one === 'apparmor=1' || /^(security|lsm)=.*\bapparmor\b/.test(one)),
        args.join(' '),
      );
    const config = facts.tree.list('/boot').find((name) => name.startsWith('config-'));
    const lsm = config && /^CONFIG_LSM=.*$/m.exec(facts.tree.read(`/boot/${config}`))?.[0];
    return judge(/\bapparmor\b/.test(lsm || ''), lsm || 'no kernel argument and no CONFIG_LSM');
  },
};

const profilesEnforced: Body = {
  title: 'Every AppArmor profile enforces',
  checks: '/sys/kernel/security/apparmor/profiles: there are some, none complains',
  mend: 'aa-enforce /etc/apparmor.d/*',
  check: (facts) => {
    requireLive(facts);
    const profiles = settings(facts.tree.read('/sys/kernel/security/apparmor/profiles'));
    if (profiles.length === 0) return fail('no profile is loaded');
    // A profile marked unconfined only names a program (for the user namespace policy).
    return none(
      profiles.filter((line) => /\((complain|kill|prompt)\)$/.test(line)),
      `${profiles.filter((line) => line.endsWith('(enforce)')).length} of ${profiles.length} profiles enforce, none complains`,
    );
  },
};

const firmware = '/boot/firmware';

/** In the benchmark: grub.cfg. */
const bootConfig: Body = {
  title: 'Only root reads or changes what the firmware boots',
  checks: `${firmware} is mounted with umask=0077 (or fmask/dmask): FAT has no permissions of its own; of an image: /etc/fstab`,
  mend: `Mount ${firmware} with umask=0077 in /etc/fstab`,
  check: (facts) => {
    const options = facts.live
      ? mounts(facts).get(firmware)?.options
      : settings(facts.tree.read('/etc/fstab'))
          .map((line) => line.split(/\s+/))
          .find(([, place]) => place === firmware)?.[3]
          ?.split(',');
    if (!options) return fail(`${firmware} is no mount point`);
    const mask = (name: string) =>
      options.find((one) => one.startsWith(`${name}=`) || one.startsWith('umask='))?.split('=')[1];
    const masks = [mask('fmask'), mask('dmask')];
    return judge(
      masks.every((one) => one !== undefined && (parseInt(one, 8) & 0o077) === 0o077),
      `${firmware}: ${options.join(',')}`,
    );
  },
};

const coreLimit: Body = {
  title: 'Core files have no size',
  checks: '`* hard core 0` in /etc/security/limits.conf or limits.d, and no other that allows more',
  mend: "In /etc/security/limits.d: '* hard core 0'",
  check: (facts) => {
    const lines = [
      '/etc/security/limits.conf',
      ...dropIns(facts, ['/etc/security/limits.d'], '.conf'),
    ]
      .flatMap((path) => settings(readIfThere(facts, path) ?? ''))
      .map((line) => line.split(/\s+/))
      .filter(([, type, item]) => item === 'core' && (type === 'hard' || type === '-'));
    // Of two lines for the same domain the later one holds: limits.conf(5).
    const last = new Map(lines.map((line) => [line[0], line]));
    const wrong = [...last.values()]
      .filter(([, , , value]) => value !== '0')
      .map((line) => line.join(' '));
    if (!lines.some(([who]) => who === '*'))
      return fail('no `* hard core 0` in limits.conf or limits.d');
    return none(wrong, lines.map((line) => line.join(' ')).join('; '));
  },
};

/** A setting of a systemd configuration file with its drop-ins. */
export function systemdSetting(facts: Facts, name: string, key: string): string | undefined {
  const paths = [
    `/usr/lib/systemd/${name}`,
    `/etc/systemd/${name}`,
    ...dropIns(
      facts,
      [`/etc/systemd/${name}.d`, `/run/systemd/${name}.d`, `/usr/lib/systemd/${name}.d`],
      '.conf',
    ),
  ];
  let value: string | undefined;
  for (const path of paths)
    for (const line of settings(readIfThere(facts, path) ?? ''))
      if (line.startsWith(`${key}=`)) value = line.slice(key.length + 1).trim();
  return value;
}

/** What core dumps systemd keeps. Without systemd-coredump nobody keeps any. */
function coredump(key: string, wanted: string, title: string): Body {
  return ifInstalled(['systemd-coredump'], {
    title,
    checks: `${key}=${wanted} in /etc/systemd/coredump.conf or its drop-ins; if systemd-coredump is installed`,
    mend: `In /etc/systemd/coredump.conf.d: [Coredump] ${key}=${wanted}`,
    check: (facts) => {
      const value = systemdSetting(facts, 'coredump.conf', key);
      return judge(value?.toLowerCase() === wanted, `${key}=${value ?? '(not set)'}`);
    },
  });
}

/** Escapes that agetty(8) and pam_motd replace by facts of the system. */
const telling = /\\[mrsv]|debian/i;

function banner(path: string, required: boolean): Body {
  return {
    title: `${path} tells nothing of the system`,
    checks: `${path}${required ? ' is not empty and' : ''} names neither Debian nor its versions (\\m, \\r, \\s, \\v)`,
    mend: `Write a warning to ${path} that says who may log in, and nothing of the system`,
    check: (facts) => {
      if (facts.tree.list('/etc').length === 0) throw new Error('/etc cannot be read');
      const text = readIfThere(facts, path)?.trim();
      if (!text)
        return required ? fail(`${path} says nothing`) : pass(`${path} is empty or absent`);
      return judge(!telling.test(text), `${path}: ${text.split('\n')[0]}`);
    },
  };
}

/** Kernel modules of file systems that this machine neither uses nor denies. */
function unusedFileSystems(facts: Facts): string {
  const kernels = facts.tree.list('/usr/lib/modules');
  const names = new Set(
    kernels.flatMap((kernel) => facts.tree.list(`/usr/lib/modules/${kernel}/kernel/fs`)),
  );
  return `the kernel ships ${names.size} directories of file systems: ${[...names].join(' ')}`;
}

const gdm = (title: string): Body =>
  ifInstalled(['gdm3'], {
    title,
    checks: 'gdm3 is not installed: there is no graphical login',
    mend: 'apt-get purge gdm3',
    check: () => fail('gdm3 is installed; this report does not know its settings'),
  });

const option = (base: string, path: string, options: readonly string[], always = false) =>
  options.map((one, index) => l1(`${base}.${index + 2}`, mountOption(path, one, always)));

/** Chapter 1: initial setup. */
export const setup: readonly Control[] = [
  l1('1.1.1.1', moduleDenied('cramfs')),
  l1('1.1.1.2', moduleDenied('freevxfs')),
  l1('1.1.1.3', moduleDenied('hfs')),
  l1('1.1.1.4', moduleDenied('hfsplus')),
  l1('1.1.1.5', moduleDenied('jffs2')),
  l2('1.1.1.6', moduleDenied('overlay')),
  l2('1.1.1.7', moduleDenied('squashfs')),
  l2('1.1.1.8', moduleDenied('udf')),
  l1('1.1.1.9', moduleDenied('firewire-core')),
  l1('1.1.1.10', moduleDenied('usb-storage')),
  l1(
    '1.1.1.11',
    review(
      'No module of a file system that is not used can be loaded',
      unusedFileSystems,
      'Deny in /etc/modprobe.d what this device does not need',
    ),
  ),
  l1('1.1.2.1.1', ownFileSystem('/tmp', ['tmpfs'])),
  ...option('1.1.2.1', '/tmp', ['nodev', 'nosuid', 'noexec'], true),
  l1('1.1.2.2.1', ownFileSystem('/dev/shm', ['tmpfs'])),
  ...option('1.1.2.2', '/dev/shm', ['nodev', 'nosuid', 'noexec'], true),
  l2('1.1.2.3.1', ownFileSystem('/home')),
  ...option('1.1.2.3', '/home', ['nodev', 'nosuid']),
  l2('1.1.2.4.1', ownFileSystem('/var')),
  ...option('1.1.2.4', '/var', ['nodev', 'nosuid']),
  l2('1.1.2.5.1', ownFileSystem('/var/tmp')),
  ...option('1.1.2.5', '/var/tmp', ['nodev', 'nosuid', 'noexec']),
  l2('1.1.2.6.1', ownFileSystem('/var/log')),
  ...option('1.1.2.6', '/var/log', ['nodev', 'nosuid', 'noexec']),
  l2('1.1.2.7.1', ownFileSystem('/var/log/audit')),
  ...option('1.1.2.7', '/var/log/audit', ['nodev', 'nosuid', 'noexec']),

  l1('1.2.1.1', signedBy),
  l2('1.2.1.2', weakDependencies),
  l1(
    '1.2.1.3',
    accessIn(
      ['/usr/share/keyrings', '/etc/apt/trusted.gpg.d', '/etc/apt/keyrings'],
      /\.(gpg|asc|pgp)$/,
      { mode: 0o644 },
      'Only root changes the keys that sign packages',
    ),
  ),
  l1('1.2.1.4', access(['/etc/apt/trusted.gpg.d'], { mode: 0o755 })),
  l1('1.2.1.5', access(['/etc/apt/auth.conf.d'], { mode: 0o755 })),
  l1(
    '1.2.1.6',
    accessIn(
      ['/etc/apt/auth.conf.d'],
      /./,
      { mode: 0o640, groups: ['_apt'] },
      'Only root and apt read passwords of package sources',
    ),
  ),
  l1('1.2.1.7', access(['/usr/share/keyrings'], { mode: 0o755 })),
  l1('1.2.1.8', access(['/etc/apt/sources.list.d'], { mode: 0o755 })),
  l1(
    '1.2.1.9',
    accessIn(
      ['/etc/apt/sources.list.d'],
      /./,
      { mode: 0o644 },
      'Only root changes the package sources in sources.list.d',
    ),
  ),
  l1('1.2.2.1', updates),

  l1('1.3.1.1', packageInstalled(['apparmor'], 'AppArmor is installed')),
  l1('1.3.1.2', apparmorEnabled),
  l1('1.3.1.3', profilesEnforced),
  l1(
    '1.3.1.4',
    sysctl(
      'kernel.apparmor_restrict_unprivileged_unconfined',
      [1],
      'Unprivileged processes cannot leave their AppArmor confinement',
    ),
  ),

  l1('1.4.1', {
    title: 'The boot loader asks for a password before its settings are changed',
    checks: 'a password in /boot/grub/grub.cfg',
    mend: 'grub-mkpasswd-pbkdf2, and its hash in /etc/grub.d',
    check: (facts) => {
      const grub = readIfThere(facts, '/boot/grub/grub.cfg');
      if (grub === undefined) return fail('there is no GRUB');
      return judge(/^\s*password_pbkdf2\s/m.test(grub), '/boot/grub/grub.cfg was read');
    },
  }),
  l1('1.4.2', bootConfig),

  l1('1.5.1', sysctl('fs.protected_hardlinks', [1], 'Hard links to files of others are refused')),
  l1(
    '1.5.2',
    sysctl('fs.protected_symlinks', [1], 'Symbolic links of others in /tmp are not followed'),
  ),
  l1(
    '1.5.3',
    sysctl('kernel.yama.ptrace_scope', [1, 2, 3], 'Only a parent, or nobody, traces a process'),
  ),
  l1('1.5.4', sysctl('fs.suid_dumpable', [0], 'Set-user-ID programs leave no core files')),
  l1('1.5.5', sysctl('kernel.dmesg_restrict', [1], "Only root reads the kernel's log")),
  l1('1.5.6', packageAbsent(['prelink'], 'prelink does not change programs')),
  l1(
    '1.5.7',
    serviceUnused(
      'Crashes are not reported to others',
      ['apport', 'whoopsie'],
      ['apport.service', 'whoopsie.service'],
    ),
  ),
  l1('1.5.8', sysctl('kernel.kptr_restrict', [2, 1], 'Addresses of the kernel are hidden')),
  l1('1.5.9', sysctl('kernel.randomize_va_space', [2], 'Memory layout is random')),
  // The benchmark lists ptrace_scope twice; both ids are kept.
  l1(
    '1.5.10',
    sysctl(
      'kernel.yama.ptrace_scope',
      [1, 2, 3],
      'Only a parent, or nobody, traces a process (listed twice)',
    ),
  ),
  l1('1.5.11', coreLimit),
  l1('1.5.12', coredump('ProcessSizeMax', '0', 'systemd-coredump processes no core')),
  l1('1.5.13', coredump('Storage', 'none', 'systemd-coredump stores no core')),

  l1('1.6.1', banner('/etc/motd', false)),
  l1('1.6.2', banner('/etc/issue', true)),
  l1('1.6.3', banner('/etc/issue.net', true)),
  l1('1.6.4', access(['/etc/motd'], { mode: 0o644, optional: true })),
  l1('1.6.5', access(['/etc/issue'], { mode: 0o644 })),
  l1('1.6.6', access(['/etc/issue.net'], { mode: 0o644 })),

  l2('1.7.1', packageAbsent(['gdm3'], 'There is no graphical login')),
  l1('1.7.2', gdm('The graphical login shows a warning')),
  l1('1.7.3', gdm('The graphical login lists no users')),
  l1('1.7.4', gdm('An idle screen locks')),
  l1('1.7.5', gdm('Users cannot turn the screen lock off')),
  l1('1.7.6', gdm('Removable media are not mounted by themselves')),
  l1('1.7.7', gdm('Users cannot turn automatic mounting on')),
  l1('1.7.8', gdm('Nothing on removable media starts by itself')),
  l1('1.7.9', gdm('Users cannot turn autorun on')),
  l1('1.7.10', gdm('XDMCP is off')),
];
