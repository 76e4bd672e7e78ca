import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readDiskLayout } from '../base/disk-layout.ts';
import { makePiImage } from '../base/fixture.ts';
import { exitCode } from '../errors.ts';
import { run } from '../exec.ts';
import { writeBmap } from '../image/bmap.ts';
import { readText } from '../inspect/file-system.ts';
import { withImage } from '../inspect/open.ts';
import { project, runCli, sha256, startCli } from '../testing/build.ts';

let folder = '';
let image = '';
let out = '';
const hash = (salt: string) => `$6$${salt}$${'x'.repeat(86)}`;
const yaml = `hostname: attic\nadmin:\n  password_hash: ${hash('secretofattic')}\n`;
const at = (name: string) => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-personalize-'));
  await mkdir(at('boot'));
  await writeFile(at('boot/gateway-device.yaml.example'), '# example\n');
  await writeFile(at('boot/config.txt'), 'arm_64bit=1\n');
  image = at('pi-gateway.img');
  const size = 16 * 1024 * 1024;
  await makePiImage({ path: image, bootTree: at('boot'), bootSize: size });
  await writeBmap(image, `${image}.bmap`);
  await run('xz', ['--keep', '-0', image]);
  await run('zstd', ['--quiet', image]);
  await writeFile(at('attic.yaml'), yaml);
  await writeFile(
    at('devices.csv'),
    `\uFEFFhostname,network.wifi.country,network.wifi.ssid,admin.password_hash\r\nattic,DE,"up, there",${hash('ofattic')}\r\ncellar,,,${hash('ofcellar')}\r\n`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  out = await mkdtemp(at('out-'));
});

const personalize = (...args: string[]) => runCli(project, ['personalize', ...args]);
const ownerFile = (path: string) =>
  withImage(path, ({ boot }) => readText(boot, '/gateway-device.yaml'));
const mode = async (path: string) => (await stat(path)).mode & 0o777;

describe('personalize', () => {
  test("writes the owner's file into a copy that only its maker can read; the image stays as it was", async () => {
    const before = await sha256(image);
    const target = join(out, 'attic.img');
    const result = await personalize(image, '--device', at('attic.yaml'), '--output', target);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    expect(await ownerFile(target)).toBe(yaml);
    expect(await sha256(image)).toBe(before);
    expect(result.stdout).toMatch(/^attic +\S+attic\.yaml +0 /m);
    expect(result.stdout).toContain('secrets');
    expect(result.stdout).toContain('nobody can log in');
    expect(result.stdout + result.stderr).not.toContain('secretofattic');
    expect((await readdir(out)).sort()).toEqual([
      'attic.img',
      'attic.img.bmap',
      'attic.img.sha256',
    ]);
    for (const name of await readdir(out)) expect(await mode(join(out, name)), name).toBe(0o600);
  });

  test('changes nothing but the boot partition, whose file system stays clean', async () => {
    const target = join(out, 'attic.img');
    await personalize(image, '--device', at('attic.yaml'), '--output', target);
    const { boot, root } = await readDiskLayout(target);
    const part = async (path: string, { startBytes, sizeBytes }: typeof root) =>
      (await readFile(path)).subarray(startBytes, startBytes + sizeBytes);
    expect((await part(target, root)).equals(await part(image, root))).toBe(true);
    await writeFile(join(out, 'boot.fat'), await part(target, boot));
    await run('fsck.fat', ['-n', join(out, 'boot.fat')]);
    expect((await stat(target)).size).toBe((await stat(image)).size);
  });

  test('makes checksum and block map of the copy, as sha256sum and bmaptool read them', async () => {
    const target = join(out, 'attic.img');
    await personalize(image, '--device', at('attic.yaml'), '--output', target);
    await run('sha256sum', ['--check', '--strict', 'attic.img.sha256'], { cwd: out });
    const card = join(out, 'card');
    await run('bmaptool', ['copy', '--bmap', `${target}.bmap`, target, card]);
    expect(await ownerFile(card)).toBe(yaml);
  });

  test.each(['xz', 'zst'])('unpacks and packs .img.%s', async (ending) => {
    const target = join(out, `attic.img.${ending}`);
    const args = ['--device', at('attic.yaml'), '--output', target, '--json'];
    const result = await personalize(`${image}.${ending}`, ...args);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    const [made] = JSON.parse(result.stdout);
    expect(made).toMatchObject({ name: 'attic', ssh_keys: 0, path: target });
    expect(made.sha256).toBe(await sha256(target));
    expect(await ownerFile(target)).toBe(yaml);
    expect((await readdir(out)).sort()).toEqual([
      'attic.img.bmap',
      `attic.img.${ending}`,
      `attic.img.${ending}.sha256`,
    ]);
    for (const name of await readdir(out)) expect(await mode(join(out, name)), name).toBe(0o600);
  });

  test('needs nothing that only root may', async () => {
    const target = join(out, 'attic.img');
    const args = ['personalize', image, '--device', at('attic.yaml'), '--output', target];
    const drop = process.getuid?.() === 0 ? ['--bounding-set=-all', '--inh-caps=-all'] : [];
    const cli = [process.execPath, join(project, 'builder/cli.ts')];
    await run('setpriv', ['--no-new-privs', ...drop, ...cli, ...args]);
    expect(await ownerFile(target)).toBe(yaml);
  });

  test("makes a fleet's images from a list, each with its own settings", async () => {
    const target = join(out, 'fleet');
    const args = ['--batch', at('devices.csv'), '--output', target, '--json'];
    const result = await personalize(image, ...args);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    expect(JSON.parse(result.stdout).map((one: { from: string }) => one.from)).toEqual([
      `${at('devices.csv')}:2`,
      `${at('devices.csv')}:3`,
    ]);
    expect(await ownerFile(join(target, 'attic.img'))).toContain('ssid: up, there');
    expect(await ownerFile(join(target, 'cellar.img'))).toContain(hash('ofcellar'));
    expect(await ownerFile(join(target, 'cellar.img'))).not.toContain('ofattic');
  });

  test('--files-only makes folders with the files for the boot partition', async () => {
    const args = ['--batch', at('devices.csv'), '--output', out, '--files-only'];
    const result = await personalize(`${image}.xz`, ...args);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    expect((await readdir(out)).sort()).toEqual(['attic', 'cellar']);
    const file = join(out, 'cellar/gateway-device.yaml');
    expect(await readFile(file, 'utf8')).toContain('hostname: cellar');
    expect([await mode(join(out, 'cellar')), await mode(file)]).toEqual([0o700, 0o600]);
  });
});

describe('personalize refuses', () => {
  test('a wrong list before anything is written', async () => {
    await writeFile(join(out, 'list.csv'), 'hostname\nattic\nB A D\n');
    const target = join(out, 'fleet');
    const result = await personalize(image, '--batch', join(out, 'list.csv'), '--output', target);
    expect(result.code).toBe(exitCode.usage);
    expect(result.stderr).toContain('list.csv:3');
    expect(await readdir(out)).toEqual(['list.csv']);
  });

  test('what is there already, unless forced, and the image itself always', async () => {
    const target = join(out, 'attic.img');
    await writeFile(`${target}.bmap`, 'of another');
    const args = [image, '--device', at('attic.yaml'), '--output', target];
    const refused = await personalize(...args);
    expect(refused.code).toBe(exitCode.usage);
    expect(refused.stderr).toContain('attic.img.bmap');
    expect(await readdir(out)).toEqual(['attic.img.bmap']);
    expect((await personalize(...args, '--force')).code).toBe(0);
    expect(await ownerFile(target)).toBe(yaml);
    const itself = await personalize(...args.slice(0, -1), image, '--force');
    expect(itself.code).toBe(exitCode.usage);
    expect(itself.stderr).toContain('replace the image itself');
  });

  test('an image without our first boot, or of one device already', async () => {
    const other = join(out, 'raspios.img');
    await makePiImage({ path: other, bootSize: 16 * 1024 * 1024 });
    const args = ['--device', at('attic.yaml'), '--output', join(out, 'new/attic.img')];
    const foreign = await personalize(other, ...args);
    expect(foreign.code).toBe(exitCode.source);
    expect(foreign.stderr).toContain('gateway-device.yaml.example');
    const { boot } = await readDiskLayout(other);
    for (const name of ['gateway-device.yaml.example', 'gateway-device.yaml'])
      await run('mcopy', ['-i', `${other}@@${boot.startBytes}`, at('attic.yaml'), `::${name}`]);
    const taken = await personalize(other, ...args);
    expect(taken.code).toBe(exitCode.source);
    expect(taken.stderr).toContain('of one device already');
    expect(await readdir(out)).toEqual(['raspios.img']);
  });

  test('to start without settings, without an image, and what is no image', async () => {
    const none = await personalize(image);
    expect(none.code).toBe(exitCode.usage);
    expect(none.stderr).toContain('--device');
    const missing = await personalize(join(out, 'none.img'), '--device', at('attic.yaml'));
    expect(missing.code).toBe(exitCode.usage);
    const nonsense = await personalize(at('attic.yaml'), '--device', at('attic.yaml'));
    expect(nonsense.code).toBe(exitCode.source);
  });

  test('to fill a disk that is too small, and says how much is missing', async () => {
    const small = join(out, 'small');
    await mkdir(small);
    // A file system of 1 MiB in a mount namespace of this process's own: no root needed for it.
    const cli = [process.execPath, join(project, 'builder/cli.ts'), 'personalize', image];
    const args = [...cli, '--device', at('attic.yaml'), '--output', join(small, 'attic.img')];
    const result = await run(
      'unshare',
      [
        ...['--user', '--map-root-user', '--mount', 'sh', '-c'],
        'mount -t tmpfs -o size=1m none "$1" && shift && "$@"; code=$?; ls -A "$0"; exit $code',
        ...[small, small, ...args],
      ],
      { okCodes: [exitCode.host] },
    );
    expect(result.exitCode).toBe(exitCode.host);
    expect(result.stderr).toMatch(/No space for 1 image: \S+ MB are needed, \S+ MB are free/);
    expect(result.stdout).toBe('');
  });
});

test('interrupted, it leaves nothing, and says so with code 130', async () => {
  const large = await mkdtemp(at('large-'));
  const rows = Array.from({ length: 400 }, (_, index) => `device-${index}`);
  await writeFile(join(large, 'list.csv'), ['hostname', ...rows].join('\n'));
  const target = join(large, 'fleet/all');
  const args = ['personalize', image, '--batch', join(large, 'list.csv'), '--output', target];
  const running = startCli(project, args);
  await running.said('device-3');
  running.kill('SIGINT');
  const result = await running.done;
  expect(result.code).toBe(exitCode.interrupted);
  expect(result.stderr).toContain('nothing was made');
  expect(await readdir(large)).toEqual(['list.csv']);
});

test('killed, it leaves secrets in a folder that the next run removes', async () => {
  const rows = Array.from({ length: 400 }, (_, index) => `device-${index}`);
  await writeFile(at('many.csv'), ['hostname', ...rows].join('\n'));
  const running = startCli(project, [
    ...['personalize', image, '--batch', at('many.csv'), '--output', out],
  ]);
  await running.said('device-3');
  running.kill('SIGKILL');
  await running.done;
  expect(await readdir(out)).toHaveLength(1);
  const target = join(out, 'attic.img');
  expect((await personalize(image, '--device', at('attic.yaml'), '--output', target)).code).toBe(0);
  expect((await readdir(out)).sort()).toEqual(['attic.img', 'attic.img.bmap', 'attic.img.sha256']);
});
