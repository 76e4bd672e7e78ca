import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fqdn, hostname, locale, timeZone, unixName } from '../../builder/config/fields.ts';
import { hardenedFstab } from '../../builder/layer/fstab.ts';
import { type Chroot, defineStage } from '../define.ts';
import { confines } from './app-armor.ts';
import { withLoginDefs } from './login-defs.ts';

/** Has no members, so that nobody becomes another user by su (CIS Debian 5.2.7). */
const suGroup = 'sugroup';

/**
 * Units that a base may have and a gateway does not need. Masked, not purged: other packages of the base
 * may depend on theirs.
 */
const unneeded = [
  'avahi-daemon.service', // announces the device on the LAN
  'avahi-daemon.socket',
  'ModemManager.service',
  'rpcbind.service', // NFS before version 4
  'rpcbind.socket',
  'nfs-blkmap.service',
  'rpc-statd-notify.service',
  'triggerhappy.service', // buttons and keyboards
  'e2scrub_reap.service', // for file systems on LVM
  'e2scrub_all.timer',
  'ctrl-alt-del.target',
  'debug-shell.service',
  // What makes a start longer, and serves machines of other kinds.
  'systemd-binfmt.service', // programs of other processors
  'proc-sys-fs-binfmt_misc.automount',
  'systemd-network-generator.service', // networks of the kernel command line
  'systemd-udev-load-credentials.service', // udev rules from a hypervisor
  'modprobe@drm.service', // a graphical login
  'modprobe@efi_pstore.service', // crash records in a PC's firmware
  'systemd-pstore.service',
  'sys-fs-fuse-connections.mount', // controls of user-space file systems
  'dev-hugepages.mount',
];

export const system = defineStage({
  name: 'system',
  summary: 'Names, time, admin, journal, network, updates; audit, AppArmor, PAM, sandboxes, mounts',
  options: z.strictObject({
    hostname: hostname.default('pi-gateway').describe('Host name until first boot gives another'),
    admin: unixName.default('gateway').describe('The only login; key-only, with sudo'),
    locale: locale.default('C.UTF-8').describe('System locale'),
    timezone: timeZone.default('UTC').describe('System time zone'),
    time: z
      .enum(['chrony', 'timesyncd'])
      .default('chrony')
      .describe(
        'Time service: chrony with authenticated time (NTS), or the smaller systemd-timesyncd',
      ),
    nts: z
      .array(fqdn)
      .default(['time.cloudflare.com', 'nts.netnod.se', 'ptbtime1.ptb.de', 'ntppool1.time.nl'])
      .describe('Time servers with NTS (chrony only), of several operators'),
    ntp: z
      .array(fqdn)
      .min(1)
      .default(['0.debian.pool.ntp.org', '1.debian.pool.ntp.org', '2.debian.pool.ntp.org'])
      .describe('Time servers without authentication, where NTS cannot be had'),
    journal: z
      .enum(['persistent', 'volatile'])
      .default('persistent')
      .describe(
        'Journal on the SD card, or in memory and saved daily and at shutdown (a power cut loses the day)',
      ),
    journal_size: z
      .string()
      .regex(/^\d+[KMG]$/, 'must be a size, e.g. 200M')
      .default('200M')
      .describe('Most that the journal takes of the SD card'),
    automatic_updates: z.boolean().default(true).describe('Install security updates by themselves'),
    reboot: z
      .union([
        z.literal('never'),
        z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be never or a time, e.g. '04:00'"),
      ])
      .default('never')
      .describe('When to restart after an update that needs it'),
    audit: z.boolean().default(true).describe('Record security events with auditd'),
    apparmor: z.boolean().default(true).describe('Confine services with AppArmor'),
    integrity: z
      .boolean()
      .default(true)
      .describe('Tell weekly which system files have changed (AIDE)'),
    zram: z.boolean().default(true).describe('Swap in compressed memory'),
    watchdog: z.boolean().default(true).describe('Reset by hardware when the system hangs'),
    session_timeout: z
      .number()
      .int()
      .min(0)
      .max(86400)
      .default(900)
      .describe('Seconds until a shell that waits for input is closed; 0: never'),
    sudo_output_log: z
      .boolean()
      .default(false)
      .describe(
        'Keep what sudo commands print (sudoreplay); a backup through sudo would go to the SD card twice',
      ),
  }),
  packages: (o) => [
    'sudo',
    'unattended-upgrades',
    'libpam-pwquality',
    'cracklib-runtime', // the dictionary that pwquality looks into
    'logrotate', // keeps sudo's log within bounds
    ...(o.locale === 'C.UTF-8' ? [] : ['locales']),
    o.time === 'chrony' ? 'chrony' : 'systemd-timesyncd',
    ...(o.audit ? ['auditd'] : []),
    ...(o.apparmor ? ['apparmor'] : []),
    ...(o.integrity ? ['aide'] : []),
    ...(o.zram ? ['systemd-zram-generator'] : []),
  ],
  // A machine has one time service, and Debian's packages conflict.
  purge: (o) => [o.time === 'chrony' ? 'systemd-timesyncd' : 'chrony'],
  services: (o) => ({
    enable: [
      o.time === 'chrony' ? 'chrony' : 'systemd-timesyncd',
      'var-tmp.mount',
      'logrotate.timer',
      ...(o.integrity ? ['pi-gateway-integrity.timer'] : []),
      ...(o.journal === 'volatile'
        ? ['pi-gateway-journal.service', 'pi-gateway-journal-save.timer']
        : []),
    ],
    // Nothing waits for the time: a gateway starts without a network, too.
    disable: o.time === 'chrony' ? ['chrony-wait.service'] : [],
    mask: [
      ...unneeded,
      // 20 MB of Python that only wait for a shutdown; apt-daily-upgrade.service holds one up by itself.
      'unattended-upgrades.service',
      ...(o.journal === 'volatile' ? ['systemd-journal-flush.service'] : []),
      // auditd has the kernel's audit records; a second copy in the journal would only wear the card.
      ...(o.audit ? ['systemd-journald-audit.socket'] : []),
    ],
  }),
  files: {
    '/etc/sudoers.d/10-gateway-admin': { mode: 0o440 },
    '/etc/sudoers.d/20-gateway-log': { mode: 0o440 },
    '/etc/audit/auditd.conf': { mode: 0o640 },
    '/etc/audit/rules.d/audit.rules': { mode: 0o640 },
    '/etc/audit/rules.d/30-gateway.rules': { mode: 0o640 },
    '/etc/audit/rules.d/99-finalize.rules': { mode: 0o640 },
  },
  run: async (chroot, o) => {
    await chroot.write('/etc/hostname', `${o.hostname}\n`);
    await chroot.write(
      '/etc/hosts',
      `127.0.0.1 localhost\n127.0.1.1 ${o.hostname}\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n`,
    );
    await chroot.run('ln', ['-sf', `/usr/share/zoneinfo/${o.timezone}`, '/etc/localtime']);
    await chroot.write('/etc/timezone', `${o.timezone}\n`);
    await chroot.write('/etc/default/locale', `LANG=${o.locale}\n`);
    if (o.locale !== 'C.UTF-8') {
      await chroot.write('/etc/locale.gen', `${o.locale} UTF-8\n`);
      await chroot.run('locale-gen');
    }
    await makeAccounts(chroot, o.admin);
    await setPasswordPolicy(chroot);
    await restrictFiles(chroot);
    if (o.apparmor) await disableUnusedProfiles(chroot);
    if (o.audit) await auditPrivileged(chroot);
    const fstab = await chroot.read('/etc/fstab');
    // The Debian base's is empty until the end of the build, and written with the same options then.
    if (fstab.trim() !== '') await chroot.write('/etc/fstab', hardenedFstab(fstab));
    // Raspberry Pi OS brings NetworkManager, which then has the network; two would fight over it.
    if (!(await chroot.exists('/usr/sbin/NetworkManager'))) {
      await chroot.run('systemctl', ['enable', 'systemd-networkd', 'systemd-resolved']);
      // netplan starts one of its own for each Wi-Fi; the general one is NetworkManager's, over D-Bus.
      if (await chroot.exists('/usr/lib/systemd/system/wpa_supplicant.service'))
        await chroot.run('systemctl', ['disable', 'wpa_supplicant.service']);
    }
  },
});

async function makeAccounts(chroot: Chroot, admin: string): Promise<void> {
  await chroot.run('groupadd', ['--system', suGroup]);
  await chroot.run('useradd', [
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
    admin,
  ]);
  await chroot.run('chmod', ['0700', `/home/${admin}`, '/root']);
  await chroot.run('usermod', ['--lock', 'root']);
}

/** Our profiles are in /usr/share/pam-configs; Debian's pam-auth-update(8) puts the parts together. */
async function setPasswordPolicy(chroot: Chroot): Promise<void> {
  await chroot.write('/etc/login.defs', withLoginDefs(await chroot.read('/etc/login.defs')));
  await chroot.run('pam-auth-update', ['--package']);
  // CIS Debian 5.3.3.4.1: an empty password is none. pam-auth-update keeps arguments that were changed.
  const auth = await chroot.read('/etc/pam.d/common-auth');
  if (!/^auth\s+requisite\s+pam_faillock\.so preauth$/m.test(auth))
    throw new Error("pam-auth-update did not take the image's PAM profiles");
  await chroot.write(
    '/etc/pam.d/common-auth',
    auth.replaceAll(/(pam_unix\.so.*?) nullok\b/g, '$1'),
  );
  // CIS Debian 5.4.1.5, for accounts that are made later.
  await chroot.run('useradd', ['--defaults', '--inactive', '30']);
}

/** Modes that packages leave wider than a gateway needs: CIS Debian 2.4.1, 7.1; lynis FILE-7524. */
async function restrictFiles(chroot: Chroot): Promise<void> {
  for (const path of [
    '/etc/cron.d',
    '/etc/cron.hourly',
    '/etc/cron.daily',
    '/etc/cron.weekly',
    '/etc/cron.monthly',
    '/etc/sudoers.d',
  ])
    if (await chroot.exists(path)) await chroot.run('chmod', ['0700', path]);
  if (await chroot.exists('/etc/crontab')) await chroot.run('chmod', ['0600', '/etc/crontab']);
  // Nobody but root uses cron or at, should somebody install them (CIS Debian 2.4.1.9, 2.4.2.1).
  for (const path of ['/etc/cron.allow', '/etc/at.allow'])
    await chroot.write(path, 'root\n', 0o640);
}

async function disableUnusedProfiles(chroot: Chroot): Promise<void> {
  const folder = '/etc/apparmor.d';
  const inside = (path: string) => join(chroot.root, path);
  const entries = await readdir(inside(folder), { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!entry.isFile() || entry.name.startsWith('.')) continue;
    const profile = await readFile(inside(join(folder, entry.name)), 'utf8');
    if (confines(profile, (path) => existsSync(inside(path)))) continue;
    await chroot.run('ln', ['-sf', `${folder}/${entry.name}`, `${folder}/disable/${entry.name}`]);
  }
}

/** A rule for each setuid and setgid program of the image: CIS Debian 6.2.3.6. */
async function auditPrivileged(chroot: Chroot): Promise<void> {
  const found = await chroot.run('find', ['/usr', '-xdev', '-type', 'f', '-perm', '/6000']);
  await chroot.write(
    '/etc/audit/rules.d/50-privileged.rules',
    privilegedRules(found.split('\n').filter((path) => path.startsWith('/'))),
    0o640,
  );
}

/** audit.rules(7) that record each use of the programs by a person; sudo and su under keys of their own. */
export function privilegedRules(paths: readonly string[]): string {
  const own: Record<string, string> = { '/usr/bin/sudo': 'sudo', '/usr/bin/su': 'su' };
  return [
    '# Programs that run as another user or group, found when the image was built (CIS Debian 6.2.3.6).',
    ...paths
      .toSorted()
      .map(
        (path) =>
          `-a always,exit -F path=${path} -F perm=x -F auid>=1000 -F auid!=unset -k ${own[path] ?? 'privileged'}`,
      ),
    '',
  ].join('\n');
}
