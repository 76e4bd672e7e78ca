import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import {
  archivesFolder,
  factsFile,
  owner,
  quadletFolder,
  secretsFolder,
  volumesFolder,
} from '../../gateway/containers/places.ts';
import type { Chroot, GatewayConfig } from '../define.ts';
import { renderStage } from '../testing.ts';
import { containers } from './stage.ts';

const units = '/usr/lib/systemd/system';
const options = (given: object = {}) => containers.options.parse(given);
const config: GatewayConfig = { name: 'test', stages: {}, ports: [] };

test('is off unless gateway.yaml turns it on, and needs the firewall and the secrets store', () => {
  expect(containers.enabledByDefault).toBe(false);
  expect(containers.needs).toEqual(expect.arrayContaining(['firewall', 'secrets']));
});

test('opens no port of the gateway: a container’s ports are its own', () => {
  expect(containers.ports).toBeUndefined();
});

test('the programs find what the overlay makes: user, folders, facts', async () => {
  const files = await renderStage(containers);
  expect(JSON.parse(files.text(factsFile))).toEqual({
    address4: '10.90.0.2',
    address6: 'fd66:6761:7465:90::2',
  });
  expect(files.text('/usr/lib/sysusers.d/pi-gateway-containers.conf')).toContain(
    `u ${owner.name} ${owner.uid} `,
  );
  const folders = files.text('/usr/lib/tmpfiles.d/pi-gateway-containers.conf');
  expect(folders).toContain(`d ${quadletFolder} 0755 root root`);
  expect(folders).toContain(`d ${secretsFolder} 0710 root ${owner.name}`);
  const backup = JSON.parse(files.text('/usr/share/pi-gateway/backup.d/50-containers.json'));
  expect(backup.paths).toContain(volumesFolder);
});

test('the containers’ own systemd is in a network with one way out, which is made before it', async () => {
  const text = (await renderStage(containers)).text(
    `${units}/user@${owner.uid}.service.d/50-pi-gateway.conf`,
  );
  expect(text).toContain('NetworkNamespacePath=/run/netns/containers\n');
  expect(text).toContain('Requires=pi-gateway-containers-network.service\n');
});

test('nothing of it runs at boot as long as no app is installed', async () => {
  const { enable } = containers.services?.(options()) ?? {};
  expect(enable).toEqual(['pi-gateway-containers.timer', 'pi-gateway-containers-resume.timer']);
  const files = await renderStage(containers);
  for (const name of ['pi-gateway-containers', 'pi-gateway-containers-resume'])
    expect(files.text(`${units}/${name}.service`)).toContain(
      'ConditionDirectoryNotEmpty=/var/lib/pi-gateway/containers\n',
    );
});

test('its units are exposed at most 2.0 of 10, and are understood (systemd-analyze)', async () => {
  const root = await mkdtemp(join(tmpdir(), 'pi-gateway-units-'));
  try {
    const folder = join(root, 'etc/systemd/system');
    await mkdir(folder, { recursive: true });
    const names: string[] = [];
    for (const entry of (await renderStage(containers)).entries) {
      const name = basename(entry.path);
      if (!/^\/usr\/lib\/systemd\/system\/[^/]+\.(service|timer)$/.test(entry.path)) continue;
      if (!('content' in entry)) continue;
      names.push(name);
      await writeFile(join(folder, name), entry.content);
    }
    const scored = names
      .filter((name) => name.endsWith('.service'))
      // It makes a network namespace that outlives it, which takes the rights that a sandbox takes away.
      .filter((name) => name !== 'pi-gateway-containers-network.service');
    expect(scored.length).toBeGreaterThan(3);
    for (const name of scored) {
      const { stdout } = await run(
        'systemd-analyze',
        ['security', '--offline=true', `--root=${root}`, '--no-pager', name],
        { okCodes: [1] },
      );
      const score = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
      expect(score, name).toBeLessThanOrEqual(2);
    }
    const { stderr } = await run(
      'systemd-analyze',
      ['verify', '--man=no', '--recursive-errors=no', ...names.map((name) => join(folder, name))],
      { okCodes: [1] },
    );
    const wrong = stderr
      .split('\n')
      .filter((line) => /Unknown|Failed to parse|invalid|ordering cycle/i.test(line))
      // Came with systemd 254, which the device has.
      .filter((line) => !line.includes('ImportCredential'));
    expect(wrong).toEqual([]);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
});

test('every script is one for sh and has no mistake that shellcheck knows', async () => {
  const scripts = (await renderStage(containers)).entries.filter((one) =>
    one.path.startsWith('/usr/lib/pi-gateway/'),
  );
  expect(scripts.length).toBe(4);
  for (const one of scripts) {
    if (!('content' in one)) continue;
    expect(one.mode & 0o111, one.path).toBe(0o111);
    await run('shellcheck', ['--shell=sh', '-'], { input: one.content.toString('utf8') });
  }
});

describe('options', () => {
  test('the network has room for two, and is checked against the others’', () => {
    const problems = containers.validate?.(options({ network4: '10.90.0.0/31' }), config);
    expect(problems?.[0]?.message).toContain('has no room for two');
    expect(containers.validate?.(options(), config)).toEqual([]);
  });

  test('user namespaces are needed, and it says where they were turned off', () => {
    const without = { ...config, stages: { kernel: { user_namespaces: false } } };
    expect(containers.validate?.(options(), without)[0]?.message).toContain('user_namespaces');
  });

  test('an archive is a tar file with its checksum', () => {
    const archive = { file: 'x.tar', sha256: 'a'.repeat(64) };
    expect(containers.options.safeParse({ archives: [archive] }).success).toBe(true);
    expect(containers.options.safeParse({ archives: [{ file: 'x.tar' }] }).success).toBe(false);
    expect(
      containers.options.safeParse({ archives: [{ ...archive, file: 'x.zip' }] }).success,
    ).toBe(false);
  });
});

describe('while the image is built', () => {
  let folder: string;
  let written: Map<string, string | Uint8Array>;
  let uid: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pi-gateway-archives-'));
    written = new Map([
      ['/etc/subuid', 'gateway:100000:65536\n'],
      ['/boot/firmware/cmdline.txt', 'console=tty1 root=PARTUUID=1-02 rootwait\n'],
    ]);
    uid = '850\n';
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const chroot = (): Chroot => ({
    root: folder,
    run: async (command) => (command === 'id' ? uid : ''),
    write: async (path, content) => {
      written.set(path, content);
    },
    read: async (path) => String(written.get(path)),
    exists: async (path) => written.has(path),
    remove: async (path) => {
      written.delete(path);
    },
  });
  const build = (given: object = {}) => containers.run?.(chroot(), options(given), config);

  test('the user gets a range of users of its own, beside those that are there', async () => {
    await build();
    await build();
    expect(written.get('/etc/subuid')).toBe(
      'gateway:100000:65536\npi-containers:1879048192:65536\n',
    );
    expect(written.get('/etc/subgid')).toBe('pi-containers:1879048192:65536\n');
  });

  test('memory is counted on the vendor’s kernel, whose firmware turns that off', async () => {
    await build();
    expect(written.get('/boot/firmware/cmdline.txt')).toContain(' cgroup_enable=memory\n');
  });

  test('a user of another number is refused: units are named by it', async () => {
    uid = '999\n';
    await expect(build()).rejects.toThrow('must have the number 850, and has 999');
  });

  test('an archive is put into the image if it is the one that was meant', async () => {
    const file = join(folder, 'echo.tar');
    await writeFile(file, 'an archive');
    const sha256 = '1c0eb73a6b6ae0c7e5d8e8c0a9a1c6d5d4b5fd9b6f5a5f4e6b3d9c1d5c1b2a3f';
    await expect(build({ archives: [{ file, sha256 }] })).rejects.toThrow('is another one');
    const { createHash } = await import('node:crypto');
    const right = createHash('sha256').update('an archive').digest('hex');
    await build({ archives: [{ file, sha256: right }] });
    expect(String(written.get(`${archivesFolder}/echo.tar`))).toBe('an archive');
    await expect(
      build({ archives: [{ file: join(folder, 'none.tar'), sha256: right }] }),
    ).rejects.toThrow('cannot be read');
  });
});
