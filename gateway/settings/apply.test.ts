import { rm, stat, writeFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { forwardsFile } from '../firewall/forwards.ts';
import { firewallVerbs } from '../firewall/verbs.ts';
import type { Actor } from '../helper/verb.ts';
import { aptFile, timerFile } from '../updates/applier.ts';
import {
  type ChangeOptions,
  changeSettings,
  confirmSettings,
  recoverSettings,
  returnToVersion,
  rollBackDue,
} from './apply.ts';
import { settingsFile } from './read.ts';
import { readPending, storeFolder, versions, writePending } from './store.ts';
import { SettingsDevice } from './testing.ts';
import { configVerbs } from './verbs.ts';

const actor: Actor = { via: 'api', name: 'ann' };
const old = "# Mine\nupdates: {reboot: '03:00'}\n";
const next = `# Mine
updates: {reboot: '04:00', time: '02:00'}
firewall:
  forwards:
    - {tcp: 443, to: 192.168.10.20, name: web}
`;

let device: SettingsDevice;
beforeEach(async () => {
  device = await SettingsDevice.make();
  await change(old);
  device.calls.length = 0;
  device.loaded.length = 0;
});
afterEach(() => device.remove());

const change = (text: string, options: Partial<ChangeOptions> = {}) =>
  changeSettings(device.system, () => text, {
    by: 'ann (api)',
    patience: { whole: 50, pause: 20 },
    ...options,
  });

const get = () => configVerbs['config.get'].run(device.system, {}, actor);

async function expectOld(): Promise<void> {
  expect(await device.settings()).toBe(old);
  expect(await device.read(forwardsFile)).toBeUndefined();
  expect(await device.read(aptFile)).toContain('03:00');
  expect(await device.read(timerFile)).toBeUndefined();
  expect(await readPending(device.system)).toBeUndefined();
  expect(device.armed).toBe(false);
}

async function expectNew(): Promise<void> {
  expect(await device.settings()).toBe(next);
  expect(await device.read(forwardsFile)).toContain('dnat ip to 192.168.10.20:443');
  expect(await device.read(aptFile)).toContain('04:00');
  expect(await device.read(timerFile)).toContain('OnCalendar=*-*-* 02:00');
}

describe('a change', () => {
  test('is proven, armed, written, put in force and looked after, in this order', async () => {
    const done = await change(next);
    expect(done).toMatchObject({
      state: 'applied',
      version: 3,
      areas: ['updates', 'firewall'],
      seconds_left: null,
    });
    expect(done.checks.filter((check) => !check.ok)).toEqual([]);
    expect(done.checks.map((check) => check.id)).toContain('unit:ssh.service');
    await expectNew();
    const steps = device.calls.filter((call) => !/list|show|sshd/.test(call));
    expect(steps).toEqual([
      'nft --check --file /run/pi-gateway/forwards.nft',
      'systemctl stop pi-gateway-settings-rollback.timer',
      'systemd-run --quiet --unit=pi-gateway-settings-rollback.service --on-active=180s --timer-property=AccuracySec=100ms',
      'systemctl is-active pi-gateway-settings-rollback.timer',
      'nft --file /run/pi-gateway/forwards.nft',
      'systemctl daemon-reload',
      'systemctl try-restart apt-daily-upgrade.timer',
      'systemctl reload pi-gatewayd.service',
      'systemctl stop pi-gateway-settings-rollback.timer',
    ]);
    expect(device.armed).toBe(false);
    expect(await readPending(device.system)).toBeUndefined();
  });

  test('of nothing changes nothing', async () => {
    expect(await change(old)).toMatchObject({ state: 'unchanged', version: 2 });
    expect(device.calls).toEqual([]);
  });

  test('of a comment is kept, and touches nothing else', async () => {
    expect(await change(`${old}# more\n`)).toMatchObject({ state: 'applied', areas: [] });
    expect(device.loaded).toEqual([]);
  });

  test.each([
    ['the schema refuses', 'updates: {rebot: x}\n', 'updates.rebot: is no setting'],
    [
      "this device's networks refuse",
      'firewall:\n  forwards:\n    - {tcp: 443, to: 172.16.0.1}\n',
      "gateway.yaml:3:22: firewall.forwards.0.to: is in no zone's network; the zones have 192.168.10.0/24 (lan), 10.66.0.0/24 (vpn), fd66:6761:7465::/64 (vpn)",
    ],
    [
      'takes a port of the gateway',
      'firewall:\n  forwards:\n    - {tcp: 22, to: 192.168.10.2}\n',
      "port 22 of the wan address is the gateway's own, for ssh",
    ],
    [
      "leads to the gateway's own address",
      'firewall:\n  forwards:\n    - {tcp: 443, to: 192.168.10.1}\n',
      "is the gateway's own address in the zone lan",
    ],
    [
      'has a port twice',
      'firewall:\n  forwards:\n    - {tcp: 443, to: 192.168.10.2}\n    - {tcp: 443, to: 192.168.10.3}\n',
      'port 443 is forwarded already, by forwards[0]',
    ],
  ])('that %s is refused before anything is touched', async (_, text, message) => {
    await expect(change(text)).rejects.toThrow(message);
    await expectOld();
    expect(device.calls.filter((call) => call.startsWith('system'))).toEqual([]);
  });

  test('that nft refuses is refused before anything is touched', async () => {
    device.programs.set('nft', (args) => {
      if (args.includes('--check')) throw new Error('nft failed: syntax');
      return undefined;
    });
    await expect(change(next)).rejects.toThrow('nft refuses the port forwards: nft failed: syntax');
    await expectOld();
  });

  test.each([
    ['a service that ends', () => device.down.add('ssh.service'), 'unit:ssh.service (failed)'],
    [
      'an API that fails',
      () => {
        device.apiStatus = 500;
      },
      'api:answer (the API answers with 500)',
    ],
    [
      'a daemon that does not read them',
      () => {
        device.reads = false;
      },
      'settings:read (the daemon has not read the settings)',
    ],
  ])('with %s is taken back', async (_, harm, message) => {
    // When the new settings are in force, and not before.
    device.programs.set('nft', (args) => {
      if (args[0] === '--file') harm();
      return undefined;
    });
    await expect(change(next)).rejects.toThrow(message);
    await expectOld();
    expect(device.loaded).toHaveLength(2);
    expect(device.loaded[1]).not.toContain('dnat');
    expect((await versions(device.system)).map((one) => one.text)).toEqual(['', old]);
  });

  test('is not blamed for what was unwell before', async () => {
    device.down.add('wg-quick@wg0.service');
    expect(await change(next)).toMatchObject({ state: 'applied' });
  });

  test('waits for what takes its time', async () => {
    device.programs.set('nft', (args) => {
      if (args[0] !== '--file') return undefined;
      device.down.add('ssh.service');
      setTimeout(() => device.down.delete('ssh.service'), 100);
      return undefined;
    });
    const done = await change(next, { patience: { whole: 3_000, pause: 20 } });
    expect(done).toMatchObject({ state: 'applied' });
  });

  test('whose roll-back cannot be armed is not made', async () => {
    device.programs.set('systemd-run', () => '');
    await expect(change(next)).rejects.toThrow('The roll-back could not be armed');
    await expectOld();
    expect(device.loaded).toEqual([]);
  });

  test('that cannot be put in force is taken back', async () => {
    let times = 0;
    device.programs.set('nft', (args) => {
      if (args[0] !== '--file') return undefined;
      times += 1;
      if (times === 1) throw new Error('nft failed: no memory');
      return undefined;
    });
    await expect(change(next)).rejects.toThrow(
      'no memory. The settings of before are in force again',
    );
    await expectOld();
  });
});

describe('of changes at the same time', () => {
  test('is based on one digest, whoever is the first to ask for one', async () => {
    await rm(join(device.root, storeFolder, 'key'));
    const { system } = device;
    const ask = () => configVerbs['config.get'].run(system, {}, actor);
    const all = await Promise.all([ask(), ask(), ask()]);
    const { digest } = await get();
    expect(all.map((one) => one.digest)).toEqual([digest, digest, digest]);
  });

  test('made from the same settings, one is made and the other told so', async () => {
    const { digest } = await get();
    const results = await Promise.allSettled([
      change(next, { base: digest }),
      change("updates: {reboot: '05:00'}\n", { base: digest }),
    ]);
    expect(results.map((one) => one.status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(results.find((one) => one.status === 'rejected')).toMatchObject({
      reason: { kind: 'conflict', message: expect.stringContaining('changed meanwhile') },
    });
    expect(await versions(device.system)).toHaveLength(3);
  });

  test('each made to what there is, none is lost', async () => {
    const add = firewallVerbs['firewall.forward_add'];
    const ports = Array.from({ length: 8 }, (_, index) => 8000 + index);
    await Promise.all(
      ports.map((port) =>
        add.run(device.system, { protocol: 'tcp', port, to: '192.168.10.20' }, actor),
      ),
    );
    const { forwards } = await firewallVerbs['firewall.forwards'].run(device.system, {}, actor);
    expect(forwards.map((one) => one.port).toSorted()).toEqual(ports);
    expect(await device.settings()).toMatch(/^# Mine\n/);
  });

  test('by hand meanwhile, it is a conflict', async () => {
    const { digest } = await get();
    await writeFile(join(device.root, settingsFile), `${old}# by hand\n`);
    await expect(change(next, { base: digest })).rejects.toThrow('changed meanwhile');
    // And what was written by hand is in the history once it is replaced.
    await change(next);
    expect((await versions(device.system)).map((one) => one.by)).toEqual([
      'as built',
      'ann (api)',
      'by hand',
      'ann (api)',
    ]);
  });

  test('by hand, it comes into force with the next one, or when it is applied itself', async () => {
    await device.put(settingsFile, next);
    expect(await change(next)).toMatchObject({ state: 'applied', areas: ['firewall', 'updates'] });
    await expectNew();
    await device.put(settingsFile, old);
    expect(await change(`${old}# more\n`)).toMatchObject({ areas: ['firewall', 'updates'] });
    expect(await device.read(forwardsFile)).toBeUndefined();
    expect(device.loaded.at(-1)).not.toContain('dnat');
  });
});

describe('a change whose process was killed', () => {
  /** As the kill leaves it: half of the files are new, nothing is proven, and the timer is armed. */
  async function kill(): Promise<void> {
    await writePending(device.system, {
      files: { [settingsFile]: old, [forwardsFile]: null },
      areas: ['firewall'],
      from: 2,
      by: 'ann (api)',
      until: uptime() + 180,
      boot: 'first',
      proven: false,
    });
    device.armed = true;
    await device.put(settingsFile, next);
    await device.put(forwardsFile, '# half');
  }

  test('is undone by the timer, in the kernel too', async () => {
    await kill();
    await device.fire();
    await expectOld();
    expect(device.loaded.at(-1)).toMatch(/^(flush chain inet gateway device_\w+\n){3}$/);
  });

  test('is undone before the next one is made', async () => {
    await kill();
    const { digest } = await get();
    // What it was made from is the half-made one: nobody has seen the settings of before again.
    await expect(change(`${next}# mine\n`, { base: digest })).rejects.toThrow('changed meanwhile');
    await expectOld();
    expect(await change(next)).toMatchObject({ state: 'applied' });
    await expectNew();
  });
});

describe('settings on trial', () => {
  test('are kept when they are confirmed', async () => {
    expect(await change(next, { confirmSeconds: 90 })).toMatchObject({
      state: 'pending',
      version: 2,
      seconds_left: 90,
    });
    await expectNew();
    expect(await get()).toMatchObject({ pending: { version: 2, seconds_left: 90 } });
    expect(await confirmSettings(device.system)).toMatchObject({ state: 'applied', version: 3 });
    await expectNew();
    await device.fire();
    await expectNew();
    await expect(confirmSettings(device.system)).rejects.toThrow('no settings to confirm');
  });

  test('return when their time is over', async () => {
    await change(next, { confirmSeconds: 90 });
    // Too early, as for another change's timer.
    await rollBackDue(device.system);
    await expectNew();
    await expire();
    await device.fire();
    await expectOld();
    await expect(confirmSettings(device.system)).rejects.toThrow('no settings to confirm');
  });

  test('whose time is over are not confirmed, even if the timer failed', async () => {
    await change(next, { confirmSeconds: 90 });
    await expire();
    await expect(confirmSettings(device.system)).rejects.toThrow('no settings to confirm');
    await expectOld();
  });

  test('return at once by a roll-back', async () => {
    await change(next, { confirmSeconds: 90 });
    await configVerbs['config.rollback'].run(device.system, {}, actor);
    await expectOld();
  });

  test('return at the next boot', async () => {
    await change(next, { confirmSeconds: 90 });
    device.armed = false;
    await device.put('/proc/sys/kernel/random/boot_id', 'second\n');
    expect(await recoverSettings(device.system)).toBe(true);
    await expectOld();
    expect(await recoverSettings(device.system)).toBe(false);
  });

  test('let no other change in', async () => {
    await change(next, { confirmSeconds: 90 });
    await expect(change(old)).rejects.toThrow('waits for its confirmation, for 90 s more');
    await expectNew();
  });

  async function expire(): Promise<void> {
    const pending = await readPending(device.system);
    if (!pending) throw new Error('nothing is on trial');
    await writePending(device.system, { ...pending, until: uptime() - 1 });
  }
});

describe('versions', () => {
  test('of before can be returned to, which is a change that can be undone', async () => {
    await change(next);
    expect(await returnToVersion(device.system, undefined, { by: 'ann' })).toMatchObject({
      version: 4,
    });
    await expectOld();
    await returnToVersion(device.system, 3, { by: 'ann' });
    await expectNew();
    const { versions: listed } = await configVerbs['config.history'].run(device.system, {}, actor);
    expect(listed.map((one) => [one.version, one.current])).toEqual([
      [5, true],
      [4, false],
      [3, false],
      [2, false],
      [1, false],
    ]);
    expect(listed[0]?.changes).toContainEqual({ key: 'updates.time', kind: 'added' });
    await expect(returnToVersion(device.system, 99, { by: 'ann' })).rejects.toThrow(
      'There is no version 99',
    );
  });

  test('are kept, ten of them, for root alone', async () => {
    for (let i = 0; i < 12; i += 1) await change(`# ${i}\n`);
    const kept = await versions(device.system);
    expect(kept.map((one) => one.text)).toEqual(
      Array.from({ length: 10 }, (_, i) => `# ${i + 2}\n`),
    );
    expect((await stat(join(device.root, storeFolder))).mode & 0o777).toBe(0o700);
    expect((await stat(join(device.root, storeFolder, '14.json'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(device.root, settingsFile))).mode & 0o777).toBe(0o640);
  });
});

describe('what is shown', () => {
  const secret = `alerts:
  channels:
    - {type: ntfy, topic: attic-7hk2m9q4}
`;

  test('holds no secret, and comes back with its placeholders as the same settings', async () => {
    await change(secret);
    const shown = await get();
    expect(JSON.stringify(shown)).not.toContain('attic-7hk2m9q4');
    expect(shown.settings).toMatchObject({ updates: { undo: true } });
    const same = await change(shown.text, { base: shown.digest });
    expect(same.areas).toEqual([]);
    expect(await device.settings()).toContain('attic-7hk2m9q4');
  });

  test('of a file that somebody broke says where', async () => {
    await device.put(settingsFile, 'updates:\n  rebot: x\n');
    expect(await get()).toMatchObject({
      settings: {},
      problems: [{ line: 2, column: 3, key: 'updates.rebot' }],
    });
    expect(await change(next)).toMatchObject({ state: 'applied' });
  });

  test('of a comparison is what would change, and whether to confirm it', async () => {
    const diff = (text: string) => configVerbs['config.diff'].run(device.system, { text }, actor);
    expect(await diff(next)).toMatchObject({
      valid: true,
      areas: ['updates', 'firewall'],
      confirm_advised: true,
    });
    expect(await diff('updates: {}\n')).toMatchObject({ confirm_advised: false });
    expect(await diff('x: 1\n')).toMatchObject({ valid: false, problems: [{ line: 1 }] });
    await expectOld();
  });
});

describe('port forwards', () => {
  const list = async () =>
    (await firewallVerbs['firewall.forwards'].run(device.system, {}, actor)).forwards;
  const add = (port: number, to: string) =>
    firewallVerbs['firewall.forward_add'].run(
      device.system,
      { protocol: 'tcp', port, to, to_port: 8443, name: 'web', from: '203.0.113.0/24' },
      actor,
    );
  const remove = (id: string) =>
    firewallVerbs['firewall.forward_remove'].run(device.system, { id }, actor);

  test('are added and removed in the settings, whose comments stay', async () => {
    await change(
      '# Mine\nfirewall:\n  # the web server\n  forwards:\n    - {udp: 5000, to: 192.168.10.9} # game\n',
    );
    expect(await add(443, '192.168.10.20')).toEqual({
      id: 'tcp4-443',
      protocol: 'tcp',
      port: 443,
      to: '192.168.10.20',
      to_port: 8443,
      zone: 'lan',
      from: '203.0.113.0/24',
      name: 'web',
      origin: 'device',
    });
    expect(await device.settings()).toBe(
      '# Mine\nfirewall:\n  # the web server\n  forwards:\n    - { udp: 5000, to: 192.168.10.9 } # game\n    - { tcp: 443, to: 192.168.10.20, port: 8443, from: 203.0.113.0/24, name: web }\n',
    );
    expect((await list()).map((one) => one.id)).toEqual(['udp4-5000', 'tcp4-443']);
    expect(device.loaded.at(-1)).toContain('ip saddr 203.0.113.0/24 fib daddr type local');
    await remove('udp4-5000');
    await remove('tcp4-443');
    expect(await list()).toEqual([]);
    expect(await device.settings()).toBe('# Mine\nfirewall:\n  # the web server\n  forwards: []\n');
    expect(device.loaded.at(-1)).not.toContain('dnat');
    expect(await device.read(forwardsFile)).toBeUndefined();
  });

  test('that clash, lead nowhere or are not there are told', async () => {
    await add(443, '192.168.10.20');
    await expect(add(443, '192.168.10.21')).rejects.toMatchObject({ kind: 'conflict' });
    await expect(add(444, '8.8.8.8')).rejects.toMatchObject({ kind: 'refused' });
    await expect(remove('tcp4-1')).rejects.toMatchObject({ kind: 'missing' });
    expect((await list()).map((one) => one.id)).toEqual(['tcp4-443']);
  });

  test("of the image are listed, and stay the image's", async () => {
    await device.remove();
    device = await SettingsDevice.make({ forwards: [{ tcp: 80, to: '192.168.10.5' }] });
    expect(await list()).toMatchObject([{ id: 'tcp4-80', origin: 'image', zone: 'lan' }]);
    await expect(remove('tcp4-80')).rejects.toThrow('part of the image');
    await expect(add(80, '192.168.10.20')).rejects.toMatchObject({
      fix: expect.stringContaining('part of the image'),
    });
    await expect(change('firewall: {forwards: [{tcp: 80, to: 192.168.10.20}]}\n')).rejects.toThrow(
      'port 80 is forwarded already, by the image',
    );
  });

  test('need the firewall stage', async () => {
    await rm(join(device.root, 'usr/share/pi-gateway/firewall.json'));
    await expect(list()).rejects.toThrow('without the firewall stage');
    expect(await change("updates: {reboot: '05:00'}\n")).toMatchObject({ state: 'applied' });
  });
});
