import { z } from 'zod';
import { fqdn, hostname, locale, timeZone, unixName } from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

export const system = defineStage({
  name: 'system',
  summary: 'Host name, locale, time, admin user, journal, wired network, security updates',
  options: z.strictObject({
    hostname: hostname.default('pi-gateway').describe('Host name until first boot gives another'),
    admin: unixName.default('gateway').describe('The only login; key-only, with sudo'),
    locale: locale.default('C.UTF-8').describe('System locale'),
    timezone: timeZone.default('UTC').describe('System time zone'),
    ntp: z
      .array(fqdn)
      .min(1)
      .default(['0.debian.pool.ntp.org', '1.debian.pool.ntp.org', '2.debian.pool.ntp.org'])
      .describe('Time servers'),
    journal_size: z
      .string()
      .regex(/^\d+[KMG]$/, 'must be a size, e.g. 200M')
      .default('200M')
      .describe('Most that the journal takes of the SD card'),
    automatic_updates: z.boolean().default(true).describe('Install security updates by themselves'),
  }),
  packages: (o) => ['sudo', 'unattended-upgrades', ...(o.locale === 'C.UTF-8' ? [] : ['locales'])],
  services: () => ({ enable: ['systemd-timesyncd', 'unattended-upgrades'] }),
  files: { '/etc/sudoers.d/10-gateway-admin': { mode: 0o440 } },
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
    await chroot.run('useradd', [
      '--create-home',
      '--shell',
      '/bin/bash',
      '--groups',
      'sudo,adm,systemd-journal',
      '--password',
      '*',
      o.admin,
    ]);
    await chroot.run('usermod', ['--lock', 'root']);
    // Raspberry Pi OS brings NetworkManager, which then has the network; two would fight over it.
    if (!(await chroot.exists('/usr/sbin/NetworkManager')))
      await chroot.run('systemctl', ['enable', 'systemd-networkd', 'systemd-resolved']);
  },
});
