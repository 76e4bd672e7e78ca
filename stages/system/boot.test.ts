import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('the admin is root by sudo; root itself has no login', async () => {
  expect((await device().ssh('sudo id -u')).trim()).toBe('0');
  expect(await device().ssh('sudo passwd -S root')).toMatch(/^root L /);
  expect(await device().ssh('sudo passwd -S gateway')).toMatch(/^gateway L /);
});

test('host name, time zone and time servers are those of gateway.yaml', async () => {
  expect((await device().ssh('hostname')).trim()).toBe('pi-gateway');
  expect((await device().ssh('readlink /etc/localtime')).trim()).toBe('/usr/share/zoneinfo/UTC');
  expect(await device().ssh('timedatectl show-timesync -p SystemNTPServers')).toContain(
    'debian.pool.ntp.org',
  );
});

test('the journal outlives a reboot, within its bounds', async () => {
  expect((await device().ssh('ls /var/log/journal')).trim()).toMatch(/^[0-9a-f]{32}/);
  expect(await device().ssh('systemd-analyze cat-config systemd/journald.conf')).toContain(
    'SystemMaxUse=200M',
  );
});

test('security updates are on', async () => {
  expect(
    (await device().ssh('systemctl is-enabled unattended-upgrades apt-daily-upgrade.timer')).trim(),
  ).toBe('enabled\nenabled');
});
