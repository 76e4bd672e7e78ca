import { link, mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readDiskLayout } from '../base/disk-layout.ts';
import { makePiImage } from '../base/fixture.ts';
import { run } from '../exec.ts';
import { findInStream, secretsInImage, secretsOnDisk } from './disk-secrets.ts';

let folder = '';
let image = '';
const secrets = { token: 'duckdns-token-1234', hash: '$6$salt$hash-of-the-owner' };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-secrets-'));
  const [root, boot] = [join(folder, 'root'), join(folder, 'boot')];
  await mkdir(join(root, 'etc/pi-gateway'), { recursive: true });
  await mkdir(boot);
  const filler = Buffer.alloc(3 * 4096, '.');
  await writeFile(join(root, 'etc/pi-gateway/ddns.yaml'), `${filler}token: ${secrets.token}\n`);
  await writeFile(join(root, 'etc/shadow'), `gateway:${secrets.hash}:20000\n`);
  await link(join(root, 'etc/shadow'), join(root, 'etc/shadow-'));
  await writeFile(join(root, 'etc/deleted'), `${secrets.token}\n`);
  await writeFile(join(root, 'etc/hostname'), 'gateway\n');
  await writeFile(join(boot, 'gateway-device.yaml'), `token: ${secrets.token}\n`);
  image = join(folder, 'card.img');
  await makePiImage({ path: image, rootTree: root, bootTree: boot, bootSize: 16 * 1024 * 1024 });
  const layout = await readDiskLayout(image);
  const place = `${image}?offset=${layout.root.startBytes}`;
  await run('debugfs', ['-w', '-R', 'rm /etc/deleted', place]);
  const file = await open(image, 'r+');
  await file.write(secrets.token, 1024 * 1024);
  await file.close();
});
afterAll(() => rm(folder, { recursive: true }));

const short = (all: Awaited<ReturnType<typeof secretsInImage>>) =>
  all.map(({ secret, partition, place }) => `${secret} ${partition} ${place}`).sort();

describe('secrets on a disk', () => {
  test('are found wherever they lie: files by all their names, boot partition, free space, gaps', async () => {
    expect(short(await secretsInImage(image, secrets))).toEqual([
      expect.stringMatching(/^hash 2 \/etc\/shadow-?, \/etc\/shadow-?$/),
      'token 1 <boot>',
      'token 2 /etc/pi-gateway/ddns.yaml',
      'token 2 <free space>',
      'token undefined <outside>',
    ]);
  });

  test('are found on the disk of a VM, with the same offsets', async () => {
    const vm = join(folder, 'vm');
    await mkdir(vm);
    await run('qemu-img', ['convert', '-O', 'qcow2', image, join(vm, 'disk.qcow2')]);
    expect(await secretsOnDisk(vm, secrets)).toEqual(await secretsInImage(image, secrets));
  });

  test('that are not there are not found', async () => {
    expect(await secretsInImage(image, { other: 'no such text on the disk' })).toEqual([]);
  });
});

describe('a stream of bytes', () => {
  async function* pieces(text: string, size: number): AsyncIterable<Uint8Array> {
    for (let at = 0; at < text.length; at += size) yield Buffer.from(text.slice(at, at + size));
  }

  test('shows each occurrence once, however it is cut into pieces', async () => {
    const text = 'xxabcabcxxabxcxaabcx';
    const all = { abc: 'abc', aa: 'aa' };
    for (let size = 1; size <= text.length; size += 1)
      expect(await findInStream(pieces(text, size), all), `pieces of ${size}`).toEqual([
        { secret: 'abc', offset: 2 },
        { secret: 'abc', offset: 5 },
        { secret: 'aa', offset: 15 },
        { secret: 'abc', offset: 16 },
      ]);
  });

  test('shows no secret twice that is shorter than another', async () => {
    const found = await findInStream(pieces('..short....a-much-longer-secret..', 3), {
      short: 'short',
      long: 'a-much-longer-secret',
    });
    expect(found).toEqual([
      { secret: 'short', offset: 2 },
      { secret: 'long', offset: 11 },
    ]);
  });

  test('is not searched for nothing', async () => {
    await expect(findInStream(pieces('x', 1), { empty: '' })).rejects.toThrow("'empty' is empty");
  });
});
