import { afterAll, expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';
import type { Applied, SettingsVersion, ShownSettings } from '../../gateway/settings/view.ts';
import type { UpdatesState } from '../../gateway/updates/view.ts';

const gateway = device();

const json = async <T>(command: string): Promise<T> =>
  JSON.parse(await gateway.ssh(`sudo pi-gateway ${command} --json`)) as T;
const show = () => json<ShownSettings>('config show');
const chain = (name: string) => gateway.ssh(`sudo nft list chain inet gateway ${name}`);

afterAll(async () => {
  // As it was for the other tests: no settings at all.
  await gateway.ssh('printf "" | sudo pi-gateway config apply - > /dev/null || true');
});

test('a setting is changed, in force, and in the history', async () => {
  const done = await json<Applied>('config set updates.reboot 04:30');
  expect(done).toMatchObject({ state: 'applied', areas: ['updates'] });
  expect(done.checks.filter((check) => !check.ok)).toEqual([]);
  expect(done.checks.map((check) => check.id)).toEqual(
    expect.arrayContaining(['unit:ssh.service', 'unit:nftables.service', 'settings:read']),
  );
  expect(await gateway.ssh('apt-config dump Unattended-Upgrade::Automatic-Reboot-Time')).toContain(
    '04:30',
  );
  const { versions } = await json<{ versions: SettingsVersion[] }>('config history');
  expect(versions[0]).toMatchObject({ current: true, by: 'gateway (cli)' });
  expect(await gateway.ssh('stat -c "%a %U:%G" /etc/pi-gateway/gateway.yaml')).toBe(
    '640 root:pi-gatewayd\n',
  );
  const { exitCode, stderr } = await gateway.sshResult(
    'sudo pi-gateway config set updates.rebot x',
  );
  expect(exitCode).toBe(1);
  expect(stderr).toContain("updates.rebot: is no setting. Did you mean 'reboot'?");
});

test('a port forward comes and goes in the rules in force, and survives their restart', async () => {
  const added = await json<{ id: string; zone: string }>(
    'firewall forward add 8080 10.66.0.9 --to-port 80 --name web',
  );
  expect(added).toMatchObject({ id: 'tcp4-8080', zone: 'vpn' });
  expect(await chain('device_destinations')).toContain('dnat ip to 10.66.0.9:80');
  await gateway.ssh('sudo systemctl restart nftables');
  expect(await chain('device_forwards')).toContain('ip daddr 10.66.0.9 tcp dport 80');
  await gateway.ssh('sudo pi-gateway firewall forward remove tcp4-8080');
  expect(await chain('device_destinations')).not.toContain('dnat');
});

test('what nobody confirms returns by itself, and what a restart meets, too', async () => {
  const before = await show();
  const set = 'firewall.forwards.0 "{tcp: 8081, to: 10.66.0.9}"';
  await gateway.ssh(`sudo pi-gateway config set ${set} --confirm 10`);
  expect(await chain('device_destinations')).toContain('8081');
  await expect
    .poll(() => chain('device_destinations'), { timeout: 30_000, interval: 1000 })
    .not.toContain('8081');
  expect(await show()).toMatchObject({ digest: before.digest, pending: null });

  await gateway.ssh(`sudo pi-gateway config set ${set} --confirm 3600`);
  expect(await show()).toMatchObject({ pending: { seconds_left: expect.any(Number) } });
  await gateway.reboot();
  expect(await chain('device_destinations')).not.toContain('8081');
  expect(await gateway.ssh('systemctl show -p Result pi-gateway-settings.service')).toBe(
    'Result=success\n',
  );
  await expect
    .poll(async () => (await gateway.sshResult('sudo pi-gateway config show')).exitCode, {
      timeout: 120_000,
      interval: 2000,
    })
    .toBe(0);
  expect(await show()).toMatchObject({ digest: before.digest, pending: null });
});

test('updates are told from within the sandboxes', async () => {
  const state = await json<UpdatesState>('update status');
  expect(state).toMatchObject({ automatic: 'security', running: null });
  expect(Array.isArray(state.packages)).toBe(true);
});

test('the card is looked after', async () => {
  await gateway.ssh('sudo systemctl start pi-gateway-cleanup.service');
  expect(await gateway.ssh('systemctl show -p Result pi-gateway-cleanup.service')).toBe(
    'Result=success\n',
  );
  expect(await gateway.ssh('ls /var/lib/pi-gateway/cleanup')).toBe('done\n');
  expect(await gateway.ssh('systemctl is-active pi-gateway-cleanup.timer')).toBe('active\n');
});
