import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { execa } from 'execa';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { digestOf } from '../../builder/plan/digest.ts';
import type { FixtureNight } from './night-fixture.ts';
import type { ImagerList, Release } from './release.ts';

const work = await mkdtemp(join(tmpdir(), 'pi-gateway-nights-'));
afterAll(() => rm(work, { recursive: true, force: true }));

let folder = '';
let day = 0;
beforeEach(async () => {
  folder = await mkdtemp(join(work, 'releases-'));
  day = 0;
});

const monday = {
  packages: { nftables: '1.1.3-1', openssl: '3.5.1-1' },
  files: { 'etc/gateway.conf': 'one\n' },
};
const tuesday = {
  packages: { nftables: '1.1.3-1', openssl: '3.5.1-1+deb13u1', 'wireguard-tools': '1.0' },
  files: { 'etc/gateway.conf': 'two\n', 'etc/new.conf': 'new\n' },
};

type Ended = { id: string | null; reason: string; stderr: string; signal: string | undefined };

/** A night; each is a day after the one before it. */
async function night(o: Partial<FixtureNight> = {}): Promise<Ended> {
  day += 1;
  const whole: FixtureNight = {
    work,
    folder,
    url: 'http://127.0.0.1:9/releases',
    keep: 3,
    now: `2026-12-${String(day).padStart(2, '0')}T02:00:00Z`,
    sources: 'sources',
    archive: null,
    boots: true,
    safe: null,
    signs: null,
    ...monday,
    ...o,
  };
  const { stdout, stderr, signal } = await execa(
    process.execPath,
    [join(import.meta.dirname, 'night-fixture.ts'), JSON.stringify(whole)],
    { reject: false },
  );
  const result = stdout ? JSON.parse(stdout) : { id: null, reason: '' };
  return { ...result, stderr, signal };
}

const released = async () => (await readdir(folder)).filter((name) => /^\d/.test(name)).sort();
const text = (...path: string[]) => readFile(join(folder, ...path), 'utf8');
const list = async () => JSON.parse(await text('os_list.json')) as ImagerList;
const listed = async () => (await list()).os_list.map(({ url }) => url.split('/').at(-2));

/** What a reader sees, as text that must not change while nothing is released. */
async function visible(): Promise<string> {
  const { stdout } = await run('sh', [
    '-c',
    'cd "$1" && readlink latest os_list.json && cat os_list.json && cd latest/ && sha256sum *',
    'sh',
    folder,
  ]);
  return stdout;
}

/** Every file of the newest release is as its checksums say, and none is missing in them. */
async function whole(): Promise<void> {
  const path = join(folder, 'latest');
  await run('sha256sum', ['--quiet', '--strict', '--check', 'SHA256SUMS'], { cwd: path });
  const sums = (await text('latest', 'SHA256SUMS'))
    .split('\n')
    .flatMap((line) => line.slice(66) || []);
  expect([...sums, 'SHA256SUMS'].sort()).toEqual((await readdir(path)).sort());
}

describe('a nightly release', () => {
  test('is a folder, a pointer to it and a list for Raspberry Pi Imager', async () => {
    const { id } = await night();
    expect(id).toBe('2026-12-01T020000Z');
    expect(await readlink(join(folder, 'latest'))).toBe(id);
    expect(await listed()).toEqual([id]);
    await whole();
    expect(await readdir(join(folder, 'latest'))).not.toContain('pi-gateway.img');
    expect(await text('latest', 'CHANGELOG.md')).toContain('The first release.');
    const schema = await readFile('builder/artifact/os-list-schema.json', 'utf8');
    const ajv = new Ajv({ strict: false });
    expect(ajv.validate(JSON.parse(schema), await list()), ajv.errorsText()).toBe(true);
  });

  test('is not made again while nothing changes; without a build, if the archive tells', async () => {
    const { id } = await night({ archive: 'indexes of monday' });
    const before = await visible();
    const second = await night({ archive: 'indexes of monday' });
    expect(second).toMatchObject({ id: null, stderr: '' });
    expect(second.reason).toContain(`nothing has changed since ${id}`);
    const third = await night({ archive: 'indexes of tuesday' });
    expect(third).toMatchObject({ id: null, stderr: 'building' });
    expect(third.reason).toContain('base, packages');
    // What that night saw is remembered.
    expect(await night({ archive: 'indexes of tuesday' })).toMatchObject({ id: null, stderr: '' });
    expect(await visible()).toBe(before);
  });

  test('is not made for sources that give the same image', async () => {
    const { id } = await night();
    expect(await night({ sources: 'a comment more' })).toMatchObject({
      id: null,
      reason: `sources changed since ${id}, but the image is the same, byte for byte`,
    });
  });

  test('tells in its changelog what packages and files differ from the one before', async () => {
    const first = await night();
    const { id, reason } = await night({ ...tuesday, sources: 'others' });
    expect(reason).toBe('changed: sources, packages');
    const log = await text('latest', 'CHANGELOG.md');
    expect(log).toContain(`# ${id}`);
    expect(log).toContain(
      `Compared with ${first.id}: 1 packages more, 0 fewer, 1 in other versions`,
    );
    expect(log).toContain('- openssl: 3.5.1-1 → 3.5.1-1+deb13u1');
    expect(log).toContain('- new: wireguard-tools 1.0');
    expect(log).toContain('- new: `/etc/new.conf`');
    expect(log).toContain('- `/etc/gateway.conf`: content');
    expect(await listed()).toEqual([id, first.id]);
    await whole();
  });

  test('keeps as many as asked for, deletes older ones, and touches nothing else', async () => {
    await mkdir(join(folder, 'mine'));
    await writeFile(join(folder, 'mine', 'release.json'), '{}');
    await mkdir(join(folder, '2026-11-01T020000Z'));
    const ids: (string | null)[] = [];
    for (const content of ['one', 'two', 'three'])
      ids.push(
        (await night({ keep: 2, sources: content, files: { 'etc/gateway.conf': content } })).id,
      );
    expect(await listed()).toEqual([ids[2], ids[1]]);
    expect((await readdir(folder)).sort()).toEqual(
      [...['2026-11-01T020000Z', ids[1], ids[2]], ...['latest', 'mine', 'os_list.json']].sort(),
    );
  });

  test('says so where it was not boot-tested and not signed', async () => {
    await night({ boots: null });
    expect(JSON.parse(await text('latest', 'release.json')) as Release).toMatchObject({
      boot_test: 'skipped',
      signed: false,
    });
    expect(await text('latest', 'CHANGELOG.md')).toMatch(/Not boot-tested.*Not signed/s);
    expect((await list()).os_list[0]?.description).toContain('(not boot-tested)');
  });

  test('is signed once its checksums are there, and not made if the signature does not hold', async () => {
    await night({ signs: true });
    expect(await text('latest', 'SHA256SUMS.minisig')).toBe(
      `signed: ${digestOf(await text('latest', 'SHA256SUMS'))}`,
    );
    expect(await text('latest', 'CHANGELOG.md')).toContain('- Signed.');
    const before = await visible();
    const second = await night({ ...tuesday, signs: false });
    expect(second.stderr).toContain('does not hold');
    expect(await visible()).toBe(before);
  });

  test('is not made of an image whose known vulnerabilities the policy does not allow', async () => {
    const { id } = await night();
    const before = await visible();
    expect((await night({ ...tuesday, safe: false })).stderr).toContain('CVE-2026-0001');
    expect(await visible()).toBe(before);
    expect(await released()).toEqual([id]);
  });

  test('holds the report of known vulnerabilities, if there are security data', async () => {
    const { id } = await night({ safe: true });
    expect(JSON.parse(await text(String(id), 'vulnerabilities.json'))).toEqual({ found: [] });
    expect(await text(String(id), 'SHA256SUMS')).toContain('  vulnerabilities.json');
  });

  test('is not made of an image that does not start', async () => {
    const { id } = await night();
    const before = await visible();
    expect((await night({ ...tuesday, boots: false })).stderr).toContain('does not start');
    expect(await visible()).toBe(before);
    expect(await released()).toEqual([id]);
  });
});

describe('a night that is killed', () => {
  const early = ['boot test', 'copying pi-gateway.img.xz', 'comparing', 'naming'];
  test('leaves the last good release in place, and the next night makes the new one', async () => {
    const { id } = await night();
    const before = await visible();
    for (const killAt of early) {
      expect(await night({ ...tuesday, killAt }), killAt).toMatchObject({ signal: 'SIGKILL' });
      expect(await visible(), killAt).toBe(before);
    }
    const next = await night(tuesday);
    expect(await listed()).toEqual([next.id, id]);
    expect((await readdir(folder)).filter((name) => name.startsWith('.'))).toEqual([]);
    await whole();
  });

  test.each(['switching', 'retaining'])(
    'when the new release has its name (%s) is ended by the next one',
    async (killAt) => {
      const first = await night({ keep: 1 });
      const killed = await night({ ...tuesday, keep: 1, killAt });
      expect(killed.signal).toBe('SIGKILL');
      // Either release is whole.
      await whole();
      const next = await night({ ...tuesday, keep: 1 });
      expect(next).toMatchObject({ id: null });
      expect(await listed()).toEqual(['2026-12-02T020000Z']);
      expect(await released()).toEqual(['2026-12-02T020000Z']);
      expect(await released()).not.toContain(first.id);
      await whole();
    },
  );

  test('by a second night at the same time: it waits for nobody and changes nothing', async () => {
    const both = await Promise.all([night(), night(tuesday)]);
    expect(both.filter(({ id }) => id !== null)).toHaveLength(1);
    expect(both.map(({ stderr }) => stderr).join('')).toContain('Another night');
    await whole();
  });
});

test('a stranger downloads and checks a release by HTTP with standard tools', async () => {
  const server = createServer((request, response) => {
    const file = createReadStream(join(folder, decodeURIComponent(request.url ?? '')));
    file.on('error', () => response.writeHead(404).end());
    file.pipe(response);
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const home = await mkdtemp(join(work, 'stranger-'));
  const shell = (command: string) =>
    run('bash', ['-euc', command], { cwd: home, env: { URL: url } });
  try {
    await night({ url });
    // The commands of docs/releases.md.
    await shell('curl -fsSO "$URL/latest/pi-gateway.img.xz" -O "$URL/latest/SHA256SUMS"');
    await shell('sha256sum --ignore-missing --check SHA256SUMS');
    const [image] = (await list()).os_list;
    await shell(`curl -fsSo listed.img.xz '${image?.url}'`);
    const { stdout } = await shell('xz --decompress --stdout listed.img.xz | sha256sum');
    expect(stdout.slice(0, 64)).toBe(image?.extract_sha256);
    // One byte of it is another.
    await shell('printf X | dd of=pi-gateway.img.xz bs=1 seek=1000 conv=notrunc status=none');
    await expect(shell('sha256sum --ignore-missing --check SHA256SUMS')).rejects.toThrow();
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
