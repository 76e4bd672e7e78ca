import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';
import { project } from '../../builder/testing/build.ts';

test('the admin is root by sudo; root itself has no login, and nobody a password', async () => {
  expect((await device().ssh('sudo id -u')).trim()).toBe('0');
  expect(await device().ssh('sudo passwd -S root')).toMatch(/^root L /);
  // The last fields: no end of the password that nobody has, so it can never refuse the key.
  expect(await device().ssh('sudo passwd -S gateway')).toMatch(/^gateway L \S+ \S+ -1 /);
  expect((await device().ssh("sudo awk -F: '$2 !~ /^[!*]/ { print $1 }' /etc/shadow")).trim()).toBe(
    '',
  );
});

test('host name and time zone are those of gateway.yaml', async () => {
  expect((await device().ssh('hostname')).trim()).toBe('pi-gateway');
  expect((await device().ssh('readlink /etc/localtime')).trim()).toBe('/usr/share/zoneinfo/UTC');
});

test('chrony keeps the time: NTS servers, no port, system call filter', async () => {
  expect(await device().ssh('sudo chronyc -N sources -a')).toContain('time.cloudflare.com');
  expect((await device().ssh('sudo ss -Hlnup | grep chronyd || true')).trim()).toBe('');
  expect(await device().ssh('grep Seccomp: /proc/$(pidof -s chronyd)/status')).toMatch(/2/);
});

test('the journal outlives a reboot, within its bounds', async () => {
  expect((await device().ssh('ls /var/log/journal')).trim()).toMatch(/^[0-9a-f]{32}/);
  expect(await device().ssh('systemd-analyze cat-config systemd/journald.conf')).toContain(
    'SystemMaxUse=200M',
  );
});

test('security updates are on', async () => {
  expect(
    (await device().ssh('systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer')).trim(),
  ).toBe('enabled\nenabled');
});

test('no unit has failed', async () => {
  expect((await device().ssh('systemctl --failed --no-legend --plain')).trim()).toBe('');
});

test('every warning of a boot is one that docs/security.md explains', async () => {
  const docs = await readFile(join(project, 'docs/security.md'), 'utf8');
  const section = docs.split('## Warnings of a boot')[1]?.split('\n## ')[0] ?? '';
  const explained = [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(
    // A cell of a table has | escaped, also in code.
    ([, pattern = '']) => new RegExp(pattern.replaceAll('\\|', '|')),
  );
  expect(explained.length).toBeGreaterThan(0);
  // Up to the end of the start: what comes later is of the tests' own doing.
  const { stdout } = await device().sshResult(
    'sudo journalctl -b -p warning -o cat --no-pager --until "$(systemctl show --timestamp=unix -P ActiveEnterTimestamp multi-user.target)"',
  );
  const lines = stdout.split('\n').filter(Boolean);
  expect(lines.filter((line) => !explained.some((one) => one.test(line)))).toEqual([]);
});

test('what happens is on record under its key', async () => {
  // The last command leaves the accounts as they were.
  await device().sshResult(
    [
      'sudo true',
      'su root -c true < /dev/null',
      'sudo modprobe dummy; sudo modprobe -r dummy',
      'sudo useradd --no-create-home audit-probe; sudo userdel audit-probe',
    ].join('; '),
  );
  for (const key of ['sudo', 'su', 'kernel_modules', 'identity', 'user_emulation'])
    expect(
      (await device().sshResult(`sudo ausearch --input-logs -i -k ${key} | tail -n 1`)).stdout,
      key,
    ).toContain('type=');
  expect(
    await device().ssh('sudo ausearch --input-logs -i -m USER_AUTH -sv no | tail -n 3'),
  ).toContain('exe=/usr/bin/su');
  // Every rule was taken: the kernel has as many as the files (less the control lines).
  const [loaded, written] = (
    await device().ssh(
      'sudo auditctl -l | wc -l; sudo sh -c "cat /etc/audit/rules.d/*.rules" | grep -cE "^-[aw] "',
    )
  )
    .trim()
    .split('\n')
    .map(Number);
  expect(loaded).toBeGreaterThan((written ?? 0) * 0.9);
  expect(await device().ssh('sudo auditctl -s')).toMatch(/^enabled 2$/m);
});

test('AppArmor enforces its profiles, and complains of none', async () => {
  const profiles = await device().ssh('sudo cat /sys/kernel/security/apparmor/profiles');
  expect(profiles).toMatch(/chronyd\S* \(enforce\)/);
  expect(profiles).not.toContain('(complain)');
  expect(await device().ssh('sudo cat /proc/$(pidof -s chronyd)/attr/current')).toContain(
    'enforce',
  );
});

test('services are exposed at most 3.0 of 10, our own 2.0; what is not is in docs/security.md', async () => {
  const others = [
    'apt-daily.service',
    'auditd.service',
    'chrony.service',
    'fail2ban.service',
    'nftables.service',
    'prometheus-node-exporter.service',
    'ssh.service',
    'systemd-networkd.service',
    'systemd-resolved.service',
    'wg-quick@wg0.service',
  ];
  const ours = (
    await device().ssh(
      'ls /usr/lib/systemd/system /etc/systemd/system | grep "^pi-gateway.*[.]service$"',
    )
  )
    .trim()
    .split('\n')
    // It installs packages, as apt-daily-upgrade does.
    .filter((unit) => unit !== 'pi-gateway-update@.service')
    .map((unit) => unit.replace('@.', '@test.'));
  expect(ours.length).toBeGreaterThan(5);
  const text = await device().ssh(
    `for unit in ${[...others, ...ours].join(' ')}; do systemd-analyze security --no-pager $unit | tail -n 1; done`,
  );
  const scores = new Map(
    [...text.matchAll(/level for (\S+): (\d+\.\d)/g)].map(([, unit = '', score]) => [
      unit,
      Number(score),
    ]),
  );
  const above = (units: readonly string[], limit: number) =>
    units
      .filter((unit) => (scores.get(unit) ?? 10) > limit)
      .map((unit) => `${unit} ${scores.get(unit)}`);
  expect(above(others, 3)).toEqual([]);
  expect(above(ours, 2)).toEqual([]);
});

test('nothing runs from where everybody may write, nor from the boot partition', async () => {
  for (const path of ['/tmp', '/var/tmp', '/dev/shm', '/boot/firmware']) {
    const mount = await device().ssh(`findmnt -n -o OPTIONS ${path}`);
    for (const option of ['nodev', 'nosuid', 'noexec']) expect(mount, path).toContain(option);
  }
});

test('swap is compressed memory', async () => {
  expect(await device().ssh('cat /proc/swaps')).toMatch(/^\/dev\/zram0 /m);
});

test('PAM counts failures, and keys are no passwords', async () => {
  const auth = await device().ssh('cat /etc/pam.d/common-auth');
  expect(auth).toMatch(
    /pam_faillock\.so preauth[\s\S]*pam_unix\.so[\s\S]*pam_faillock\.so authfail/,
  );
  expect(auth).not.toContain('nullok');
  expect(await device().ssh('cat /etc/pam.d/common-password')).toMatch(
    /pam_pwquality\.so[\s\S]*pam_pwhistory\.so[\s\S]*pam_unix\.so/,
  );
});

test("packages' scripts still run, though /tmp runs nothing", async () => {
  await device().ssh('sudo dpkg-reconfigure -f noninteractive tzdata');
});
