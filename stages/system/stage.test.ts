import { expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { renderStage } from '../testing.ts';
import { system } from './stage.ts';

test('the admin may become root without a password, as there is none to ask for', async () => {
  const files = await renderStage(system, { admin: 'ada' });
  expect(files.text('/etc/sudoers.d/10-gateway-admin')).toContain(
    '\nada ALL=(ALL:ALL) NOPASSWD: ALL\n',
  );
  expect(files.mode('/etc/sudoers.d/10-gateway-admin')).toBe(0o440);
});

test('updates that are turned off are not looked for either', async () => {
  const on = (await renderStage(system)).text('/etc/apt/apt.conf.d/52-gateway');
  expect(on).toContain('APT::Periodic::Unattended-Upgrade "1";');
  const off = (await renderStage(system, { automatic_updates: false })).text(
    '/etc/apt/apt.conf.d/52-gateway',
  );
  expect(off).toContain('APT::Periodic::Unattended-Upgrade "0";');
  expect(off).toContain('APT::Periodic::Update-Package-Lists "0";');
});

test('apt reads the settings as they are meant', async () => {
  const text = (await renderStage(system)).text('/etc/apt/apt.conf.d/52-gateway');
  const { stdout } = await run(
    'sh',
    ['-c', 'f=$(mktemp); cat > "$f"; APT_CONFIG=$f apt-config dump; rm "$f"'],
    { input: text },
  );
  expect(stdout).toContain('APT::Periodic::Unattended-Upgrade "1";');
});

test('bad names, zones and locales are refused', () => {
  for (const bad of [
    { hostname: 'a b' },
    { admin: 'Root!' },
    { timezone: 'Mars/Base' },
    { locale: 'en' },
    { journal_size: 'big' },
    { ntp: [] },
  ])
    expect(system.options.safeParse(bad).success, JSON.stringify(bad)).toBe(false);
});
