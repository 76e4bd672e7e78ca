import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import type { RunOptions } from '../../firstboot/system.ts';
import type { Actor } from '../helper/verb.ts';
import { SettingsDevice } from '../settings/testing.ts';
import { aptConfiguration } from './applier.ts';
import { statusText } from './command.ts';
import { updateConditions } from './conditions.ts';
import { keepResult, lastFile, lastResult } from './last.ts';
import { automaticUpdates, parseSimulation, pendingPackages } from './packages.ts';
import { judgeAfter, noteBefore, pinsFile, update } from './run.ts';
import { updateSettings } from './settings.ts';
import { updateVerbs } from './verbs.ts';

const actor: Actor = { via: 'api', name: 'ann' };
const patience = { whole: 60, pause: 20 };

/**
 * Real apt and dpkg, with an archive and a root of their own below the device's folder: packages are really
 * fetched, installed and downgraded. Not there: unattended-upgrades, which is told apart by its call.
 */
class AptDevice {
  readonly device: SettingsDevice;
  readonly root: string;
  #published: string[] = [];
  #installs = 0;

  private constructor(device: SettingsDevice) {
    this.device = device;
    this.root = device.root;
  }

  static async make(): Promise<AptDevice> {
    const one = new AptDevice(await SettingsDevice.make());
    await one.#furnish();
    return one;
  }

  async #furnish(): Promise<void> {
    const { root, device } = this;
    for (const folder of [
      ...['archive', 'etc/apt/apt.conf.d', 'etc/apt/preferences.d', 'etc/apt/trusted.gpg.d'],
      ...['var/lib/dpkg/info', 'var/lib/dpkg/updates', 'var/lib/dpkg/triggers'],
      ...['var/lib/apt/lists/partial', 'var/cache/apt/archives/partial', 'var/log/apt'],
    ])
      await mkdir(join(root, folder), { recursive: true });
    for (const file of ['status', 'available']) await device.put(`/var/lib/dpkg/${file}`, '');
    await device.put('/etc/apt/sources.list', `deb [trusted=yes] file:${root}/archive ./\n`);
    await writeFile(
      join(root, 'apt.conf'),
      `Dir "${root}";
Dir::State::status "${root}/var/lib/dpkg/status";
Dir::Bin::dpkg "/usr/bin/dpkg";
APT::Sandbox::User "root";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
DPkg::Options { "--root=${root}"; "--log=${root}/dpkg.log"; "--force-architecture"; "--force-not-root"; };
DPkg::Path "/usr/sbin:/usr/bin:/sbin:/bin";
Binary::apt::APT::Keep-Downloaded-Packages "true";
`,
    );
    const real =
      (program: string) =>
      async (args: readonly string[], _: RunOptions): Promise<string> => {
        // env(1) as run.ts calls it: the words behind the setting.
        const words = program === 'env' ? args.slice(2) : args;
        const name = program === 'env' ? (args[1] ?? '') : program;
        const own = name.startsWith('dpkg') ? [`--admindir=${root}/var/lib/dpkg`] : [];
        const { stdout } = await run(name, [...own, ...words], {
          env: { APT_CONFIG: join(root, 'apt.conf'), DEBIAN_FRONTEND: 'noninteractive' },
        });
        return stdout;
      };
    for (const program of ['env', 'apt-get', 'apt-cache', 'apt-config', 'dpkg-query', 'dpkg'])
      device.programs.set(program, real(program));
    device.programs.set('getent', () => 'an address');
  }

  /** Builds a package, and puts it into the archive besides those that are there. */
  async publish(name: string, version: string): Promise<string> {
    const tree = join(this.root, 'build', `${name}_${version}`);
    await mkdir(join(tree, 'DEBIAN'), { recursive: true });
    await mkdir(join(tree, 'usr/share', name), { recursive: true });
    await writeFile(join(tree, 'usr/share', name, 'version'), `${version}\n`);
    const control = `Package: ${name}\nVersion: ${version}\nArchitecture: all\nMaintainer: Ann <ann@example.org>\nDescription: for a test\n`;
    await writeFile(join(tree, 'DEBIAN/control'), control);
    const file = `${name}_${version}_all.deb`;
    const path = join(this.root, 'archive', file);
    await run('dpkg-deb', ['--root-owner-group', '--build', tree, path]);
    const hash = createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
    this.#published.push(
      `${control}Filename: ./${file}\nSize: ${(await stat(path)).size}\nSHA256: ${hash}\n`,
    );
    await this.#index();
    return path;
  }

  /** The archive drops versions, as Debian's does. */
  async withdraw(version: string): Promise<void> {
    this.#published = this.#published.filter((one) => !one.includes(`Version: ${version}\n`));
    await this.#index();
  }

  async #index(): Promise<void> {
    await writeFile(join(this.root, 'archive/Packages'), this.#published.join('\n'));
    await this.device.system.run('apt-get', ['update', '--quiet']);
    // Another second is another state of the lists: pendingPackages goes by their time.
    const later = new Date(Date.now() + 1000 * this.#published.length);
    await utimes(join(this.root, 'var/lib/apt/lists'), later, later);
  }

  async install(path: string): Promise<void> {
    await run('dpkg', [
      ...[`--root=${this.root}`, `--log=${this.root}/dpkg.log`, '--force-architecture'],
      ...['--install', path],
    ]);
    // apt knows its own cache to be old by seconds and bytes, and this file has as many as before.
    this.#installs += 1;
    const later = new Date(Date.now() + this.#installs * 60_000);
    await utimes(join(this.root, 'var/lib/dpkg/status'), later, later);
  }

  /** The version whose file lies in the root. */
  async version(name: string): Promise<string> {
    return (await readFile(join(this.root, 'usr/share', name, 'version'), 'utf8')).trim();
  }
}

describe('with real packages, an update', () => {
  let apt: AptDevice;
  beforeEach(async () => {
    apt = await AptDevice.make();
    await apt.install(await apt.publish('service', '1.0'));
    await apt.install(await apt.publish('tool', '1.0'));
  });
  afterEach(() => apt.device.remove());

  /** Version 2.0 of the service ends sshd. */
  function harm(): void {
    const usual = apt.device.programs.get('systemctl');
    apt.device.programs.set('systemctl', async (args, options) => {
      const bad = (await apt.version('service')) === '2.0';
      if (bad) apt.device.down.add('ssh.service');
      else apt.device.down.delete('ssh.service');
      return await usual?.(args, options);
    });
  }

  test('is listed to two who ask at once, and after a list that was torn', async () => {
    const { system } = apt.device;
    await apt.publish('service', '2.0');
    const both = await Promise.all([pendingPackages(system), pendingPackages(system)]);
    expect(both.map((one) => one.map(({ name }) => name))).toEqual([['service'], ['service']]);
    expect(apt.device.calls.filter((call) => call.includes('--simulate'))).toHaveLength(1);
    await apt.device.put('/run/pi-gateway/updates.json', '{"key":');
    expect(await pendingPackages(system)).toHaveLength(1);
  });

  test('is listed, installed and looked after', async () => {
    const { system } = apt.device;
    expect(await pendingPackages(system)).toEqual([]);
    await apt.publish('service', '2.0');
    expect(await pendingPackages(system)).toEqual([
      { name: 'service', installed: '1.0', available: '2.0', security: false },
    ]);
    expect(await update(system, 'all', patience)).toMatchObject({
      state: 'ok',
      packages: [{ name: 'service', before: '1.0', after: '2.0' }],
      checks: [],
    });
    expect(await apt.version('service')).toBe('2.0');
    expect(await pendingPackages(system)).toEqual([]);
    expect(await update(system, 'all', patience)).toMatchObject({ state: 'nothing', packages: [] });
    expect((await updateConditions(system))[0]).toMatchObject({ active: false });
  });

  test('that does harm is undone, does not come back, and the next version is installed', async () => {
    const { system } = apt.device;
    harm();
    await apt.publish('service', '2.0');
    await apt.publish('tool', '2.0');
    expect(await update(system, 'all', patience)).toMatchObject({
      state: 'undone',
      checks: [{ id: 'unit:ssh.service' }],
      kept: [],
    });
    expect([await apt.version('service'), await apt.version('tool')]).toEqual(['1.0', '1.0']);
    expect((await updateConditions(system))[0]).toMatchObject({
      active: true,
      severity: 'warning',
      text: expect.stringContaining('unit:ssh.service'),
    });

    expect(await pendingPackages(system)).toEqual([]);
    expect(await update(system, 'all', patience)).toMatchObject({ state: 'nothing' });

    await apt.publish('service', '3.0');
    expect(await update(system, 'all', patience)).toMatchObject({
      state: 'ok',
      packages: [{ name: 'service', before: '1.0', after: '3.0' }],
    });
    expect((await updateConditions(system))[0]).toMatchObject({ active: false });
  });

  test('whose version of before is in no archive any more cannot be undone, and says so', async () => {
    const { system } = apt.device;
    harm();
    await apt.publish('service', '2.0');
    await apt.withdraw('1.0');
    expect(await update(system, 'all', patience)).toMatchObject({
      state: 'unwell',
      kept: ['service'],
      checks: [{ id: 'unit:ssh.service', detail: 'failed' }],
    });
    expect(await apt.device.read(pinsFile)).toBeUndefined();
    expect((await updateConditions(system))[0]).toMatchObject({
      active: true,
      severity: 'critical',
    });
  });

  test('is left as it is where the owner wants no undoing', async () => {
    const { system } = apt.device;
    harm();
    await apt.device.put('/etc/pi-gateway/gateway.yaml', 'updates: {undo: false}\n');
    await apt.publish('service', '2.0');
    expect(await update(system, 'all', patience)).toMatchObject({ state: 'unwell', kept: [] });
    expect(await apt.version('service')).toBe('2.0');
  });

  test('that apt cannot make says what apt says', async () => {
    const path = await apt.publish('service', '2.0');
    await writeFile(path, 'no package');
    const result = await update(apt.device.system, 'all', patience);
    expect(result).toMatchObject({ state: 'failed', packages: [] });
    expect(result.detail).not.toBe('');
    expect((await updateConditions(apt.device.system))[0]).toMatchObject({ active: true });
  });

  test('by unattended-upgrades itself is judged by what was noted before', async () => {
    const { system } = apt.device;
    harm();
    const path = await apt.publish('service', '2.0');
    await noteBefore(system);
    await apt.install(path);
    expect(await judgeAfter(system, patience)).toMatchObject({
      what: 'automatic',
      detail: '',
      state: 'undone',
    });
    expect(await apt.version('service')).toBe('1.0');
    // Nothing was noted, or nothing was changed: the last result stays.
    expect(await judgeAfter(system, patience)).toBeUndefined();
    await noteBefore(system);
    expect(await judgeAfter(system, patience)).toBeUndefined();
    expect(await lastResult(system)).toMatchObject({ state: 'undone' });
  });

  test('is not blamed for what was unwell before', async () => {
    apt.device.down.add('ssh.service');
    await apt.publish('service', '2.0');
    expect(await update(apt.device.system, 'all', patience)).toMatchObject({ state: 'ok' });
  });

  test('of security is left to unattended-upgrades', async () => {
    const calls: string[] = [];
    apt.device.programs.set('unattended-upgrade', () => {
      calls.push('unattended-upgrade');
      return '';
    });
    await apt.publish('service', '2.0');
    expect(await update(apt.device.system, 'security', patience)).toMatchObject({
      state: 'nothing',
    });
    expect(calls).toEqual(['unattended-upgrade']);
  });

  test("the configuration that the settings write is apt's, and says what happens", async () => {
    const write = (settings: object) =>
      apt.device.put(
        '/etc/apt/apt.conf.d/60-gateway-device',
        aptConfiguration(updateSettings.parse(settings)) ?? '',
      );
    await apt.device.put(
      '/etc/apt/apt.conf.d/52-gateway',
      'APT::Periodic::Unattended-Upgrade "1";\nUnattended-Upgrade::Automatic-Reboot "false";\nUnattended-Upgrade::Origins-Pattern { "origin=Debian,codename=x-security,label=Debian-Security"; };\n',
    );
    const { system } = apt.device;
    await write({});
    expect(await automaticUpdates(system)).toEqual({ automatic: 'security', reboot: 'never' });
    await write({ automatic: 'all', reboot: '04:30' });
    expect(await automaticUpdates(system)).toEqual({ automatic: 'all', reboot: '04:30' });
    await write({ automatic: 'off', reboot: 'never' });
    expect(await automaticUpdates(system)).toEqual({ automatic: 'off', reboot: 'never' });
  });
});

test('lines of apt tell security from the rest, and what is new', () => {
  expect(
    parseSimulation(`NOTE: This is only a simulation!
Inst libssl3t64 [3.5.1-1] (3.5.1-1+deb13u1 Debian-Security:13/stable-security [arm64])
Inst base-files [13.8] (13.8+deb13u1 Debian:13.1/stable [arm64]) []
Inst linux-image-6.12.50+deb13-arm64 (6.12.50-1 Debian:13.1/stable, Debian-Security:13/stable-security [arm64])
Conf libssl3t64 (3.5.1-1+deb13u1 Debian-Security:13/stable-security [arm64])
`),
  ).toEqual([
    { name: 'libssl3t64', installed: '3.5.1-1', available: '3.5.1-1+deb13u1', security: true },
    { name: 'base-files', installed: '13.8', available: '13.8+deb13u1', security: false },
    {
      name: 'linux-image-6.12.50+deb13-arm64',
      installed: null,
      available: '6.12.50-1',
      security: true,
    },
  ]);
});

describe('the verbs', () => {
  let device: SettingsDevice;
  let active = '';
  beforeEach(async () => {
    device = await SettingsDevice.make();
    active = '';
    device.programs.set('apt-get', () => '');
    device.programs.set('apt-config', () => 'APT::Periodic::Unattended-Upgrade "1";\n');
    device.programs.set('systemctl', (args) => {
      if (args[0] !== 'show') return '';
      return args
        .slice(2)
        .map((unit) => `Id=${unit}\nActiveState=${unit === active ? 'activating' : 'inactive'}\n`)
        .join('\n');
    });
  });
  afterEach(() => device.remove());

  test('start updates in a unit of their own, one at a time', async () => {
    await updateVerbs['updates.apply'].run(device.system, { what: 'security' }, actor);
    expect(device.calls.at(-1)).toBe(
      'systemctl start --no-block pi-gateway-update@security.service',
    );
    active = 'apt-daily-upgrade.service';
    await expect(
      updateVerbs['updates.apply'].run(device.system, { what: 'all' }, actor),
    ).rejects.toThrow('under way already: automatic');
    await expect(updateVerbs['system.reboot'].run(device.system, {}, actor)).rejects.toMatchObject({
      kind: 'conflict',
    });
  });

  test('restart the device when the answer is out', async () => {
    expect(await updateVerbs['system.reboot'].run(device.system, {}, actor)).toEqual({
      seconds: 5,
    });
    expect(device.calls.at(-1)).toContain('--on-active=5s');
    expect(device.calls.at(-1)).toMatch(/systemctl reboot$/);
  });

  test('say how it stands, in words too', async () => {
    await device.put('/run/reboot-required', '');
    await device.put('/run/reboot-required.pkgs', 'linux-image\nlinux-image\n');
    await device.put('/var/lib/apt/periodic/update-stamp', '');
    await keepResult(device.system, {
      what: 'automatic',
      started_at: '2026-01-01T00:00:00.000Z',
      finished_at: '2026-01-01T00:01:00.000Z',
      state: 'undone',
      detail: '',
      packages: [{ name: 'openssh-server', before: '1', after: '2' }],
      kept: [],
      checks: [{ id: 'unit:ssh.service', ok: false, detail: 'failed' }],
    });
    const state = await updateVerbs['updates.list'].run(device.system, {}, actor);
    expect(updateVerbs['updates.list'].result.parse(state)).toMatchObject({
      reboot_required: true,
      reboot_packages: ['linux-image'],
      running: null,
      automatic: 'security',
      reboot: 'never',
      last: { state: 'undone' },
    });
    const text = statusText(updateVerbs['updates.list'].result.parse(state), Date.now());
    expect(text).toContain('A RESTART IS DUE, for linux-image');
    expect(text).toContain('UNDONE');
    expect(text).toContain('openssh-server 1 → 2');
    expect((await stat(join(device.root, lastFile))).mode & 0o777).toBe(0o644);
  });

  test.each(['{"state":"brand-new"}', '[]', 'not json'])(
    'of a result that is none of ours (%s), nothing is told',
    async (text) => {
      await device.put(lastFile, text);
      expect(await lastResult(device.system)).toBeNull();
      expect((await updateConditions(device.system))[0]).toMatchObject({ active: false, text: '' });
    },
  );
});
