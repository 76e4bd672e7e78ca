import { execFileSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import {
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  rm,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createZstdDecompress } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Mounts, mountOverlay } from '../chroot/mounts.ts';
import { run } from '../exec.ts';
import { fromOciLayer, toOciLayer } from './layer-tar.ts';
import { type Packed, packTree, unpackTree } from './pack.ts';
import { entryBlocks, makeHeader, padding, readTar, tarEnd } from './tar-entries.ts';

let folder: string;
let upper: string;
let packed: Packed;

/** A layer as overlayfs leaves one behind, with all that Debian's packages put into one. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layer-'));
  const lower = join(folder, 'lower');
  await mkdir(join(lower, 'etc/old.d/deep'), { recursive: true });
  for (const name of ['etc/gone-1', 'etc/gone-2', 'etc/old.d/deep/file'])
    await writeFile(join(lower, name), 'lower\n');
  const merged = join(folder, 'merged');
  upper = join(folder, 'upper');
  await mkdir(upper);
  await mkdir(join(folder, 'work'));
  const mounts = new Mounts();
  await mountOverlay(mounts, {
    directory: folder,
    layers: ['lower'],
    target: merged,
    upper: { directory: upper, work: join(folder, 'work') },
  });
  try {
    await rm(join(merged, 'etc/gone-1'));
    await rm(join(merged, 'etc/gone-2'));
    await rm(join(merged, 'etc/old.d'), { recursive: true });
    await mkdir(join(merged, 'etc/old.d'));
    await writeFile(join(merged, 'etc/old.d/new'), 'upper\n');
    await writeFile(join(merged, 'ping'), 'program', { mode: 0o755 });
    await run('setcap', ['cap_net_raw=ep', join(merged, 'ping')]);
    await run('setfacl', ['-m', 'u:1000:r', join(merged, 'etc/old.d/new')]);
    await run('setfattr', ['-n', 'user.note', '-v', '0x00ff0a3d', join(merged, 'etc/old.d/new')]);
    await writeFile(join(merged, 'sudo'), '', { mode: 0o755 });
    await run('chmod', ['4755', join(merged, 'sudo')]);
    await run('chown', ['0:3000000', join(merged, 'etc/old.d/new')]);
    await link(join(merged, 'ping'), join(merged, 'zz-same-as-ping'));
    await symlink('/etc/../nowhere', join(merged, 'etc/link'));
    await run('mkfifo', [join(merged, 'fifo')]);
    for (const name of ['new\nline', 'späte Größe', '-dash', 'x'.repeat(255), 'a=b\\c "d"'])
      await writeFile(join(merged, name), name);
    await writeFile(
      Buffer.concat([Buffer.from(`${merged}/latin-`), Buffer.from([0xe4, 0xff])]),
      'x',
    );
    const deep = join(merged, 'd'.repeat(200), 'e'.repeat(200));
    await mkdir(deep, { recursive: true });
    await writeFile(join(deep, 'file'), 'deep');
    await utimes(join(merged, 'ping'), 1_700_000_000.123_456, 1_700_000_000.123_456);
  } finally {
    await mounts.undo();
  }
  packed = await packTree(upper, join(folder, 'layer.zst'));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const list = (tree: string) =>
  execFileSync('find', ['.', '-printf', '%p %y %m %U:%G %s %l\\0'], {
    cwd: tree,
    encoding: 'latin1',
  })
    .split('\0')
    .sort();
/** Per file, what is no attribute of this machine's file system. */
const attributes = (tree: string) =>
  execFileSync('getfattr', ['-Rhd', '-e', 'hex', '-m', '-', '.'], { cwd: tree, encoding: 'latin1' })
    .split('\n\n')
    .map((file) => file.split('\n').filter((line) => !/overlay\.(origin|impure|uuid)/.test(line)))
    .filter((lines) => lines.length > 1)
    .map((lines) => lines.join('\n'))
    .sort();

describe('a layer', () => {
  test('is the same tree after it was packed and unpacked', async () => {
    const tree = join(folder, 'again');
    await unpackTree(join(folder, 'layer.zst'), tree, packed);
    expect(list(tree)).toEqual(list(upper));
    expect(attributes(tree)).toEqual(attributes(upper));
    for (const name of [
      'security.capability',
      'system.posix_acl_access',
      'user.note',
      'overlay.opaque',
    ])
      expect(attributes(tree).join('\n')).toContain(name);
    const [ping, same] = [
      await lstat(join(tree, 'ping')),
      await lstat(join(tree, 'zz-same-as-ping')),
    ];
    expect(same.ino).toBe(ping.ino);
    const before = await lstat(join(upper, 'ping'), { bigint: true });
    expect((await lstat(join(tree, 'ping'), { bigint: true })).mtimeNs).toBe(before.mtimeNs);
    const gone = await lstat(join(tree, 'etc/gone-1'));
    expect([gone.isCharacterDevice(), gone.rdev]).toEqual([true, 0]);
    expect(await packTree(tree, join(folder, 'again.zst'))).toEqual(packed);
  });

  test('hides below it what the original hid', async () => {
    const tree = join(folder, 'hides');
    await unpackTree(join(folder, 'layer.zst'), tree, packed);
    const mounts = new Mounts();
    const target = join(folder, 'view');
    await mountOverlay(mounts, { directory: folder, layers: ['lower', 'hides'], target });
    try {
      expect(await readdir(join(target, 'etc'))).toEqual(['link', 'old.d']);
      expect(await readdir(join(target, 'etc/old.d'))).toEqual(['new']);
    } finally {
      await mounts.undo();
    }
  });

  test('has the marks of OCI in its archive, and no attribute of this machine', async () => {
    const names: string[] = [];
    const records = new Set<string>();
    const archive = createReadStream(join(folder, 'layer.zst')).pipe(createZstdDecompress());
    for await (const part of readTar(archive))
      if (part.type === 'entry') {
        names.push(part.entry.path);
        for (const key of part.entry.pax.keys()) records.add(key);
      }
    expect(names).toContain('./etc/.wh.gone-1');
    expect(names).toContain('./etc/.wh.gone-2');
    expect(names[names.indexOf('./etc/old.d') + 1]).toBe('./etc/old.d/.wh..wh..opq');
    expect([...records].filter((key) => key.includes('overlay'))).toEqual([]);
  });

  test('with a file whose name would mean a removed one is not shared', async () => {
    const tree = join(folder, 'unfit');
    await mkdir(tree);
    await writeFile(join(tree, '.wh.x'), '');
    // More than pipes hold: who stops reading must not wait for what was never read.
    await writeFile(join(tree, 'large'), Buffer.alloc(20_000_000));
    await expect(packTree(tree, join(folder, 'unfit.zst'))).rejects.toThrow(
      /cannot be shared.*\.wh\.x/,
    );
  });
});

type Member = {
  name: string;
  letter?: string;
  link?: string;
  content?: string;
  device?: number[];
  pax?: Record<string, string>;
};

async function* archive(members: readonly Member[]): AsyncGenerator<Uint8Array> {
  for (const {
    name,
    letter = '0',
    link = '',
    content = '',
    device = [0, 0],
    pax = {},
  } of members) {
    const header = makeHeader({ name, letter, mode: 0o644, size: content.length });
    header.write(link, 157);
    const [major = 0, minor = 0] = device;
    header.write(major.toString(8).padStart(7, '0'), 329);
    header.write(minor.toString(8).padStart(7, '0'), 337);
    header.fill(' ', 148, 156);
    const sum = header.reduce((all, byte) => all + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    const records = new Map(Object.entries(pax).map(([key, value]) => [key, Buffer.from(value)]));
    yield* entryBlocks({ pax: records, header });
    yield Buffer.from(content);
    yield padding(content.length);
  }
  yield tarEnd;
}

const root = { name: '.', letter: '5' };
const etc = { name: './etc', letter: '5' };

async function unpacked(members: readonly Member[]): Promise<string[]> {
  const names: string[] = [];
  for await (const part of readTar(fromOciLayer(archive(members))))
    if (part.type === 'entry') names.push(`${part.entry.kind} ${part.entry.path}`);
  return names;
}

describe('an archive from elsewhere', () => {
  test('that is sound is taken', async () => {
    const members = [
      root,
      { name: './dev', letter: '5' },
      { name: './dev/null', letter: '3', device: [1, 3] },
      etc,
      { name: './etc/.wh..wh..opq' },
      { name: './etc/.wh.gone' },
      { name: './etc/hosts', content: 'x' },
      { name: './etc/same', letter: '1', link: './etc/hosts' },
    ];
    expect(await unpacked(members)).toEqual([
      'directory .',
      'directory ./dev',
      'character device ./dev/null',
      'directory ./etc',
      'character device ./etc/gone',
      'file ./etc/hosts',
      'hardlink ./etc/same',
    ]);
  });

  test.each([
    ['a path upwards', [root, { name: './../x' }], /leads out of it/],
    ['an absolute path', [root, { name: '/etc/passwd' }], /leads out of it/],
    [
      'a path upwards in a record',
      [root, { name: './x', pax: { path: './etc/../../x' } }],
      /leads out/,
    ],
    [
      'a file behind a symbolic link',
      [root, { name: './a', letter: '2', link: '/etc' }, { name: './a/passwd' }],
      /does not lie in a directory/,
    ],
    [
      'a directory that becomes a link',
      [root, etc, { name: './etc', letter: '2', link: '/' }],
      /comes twice/,
    ],
    [
      'a hard link out of it',
      [root, { name: './x', letter: '1', link: '/etc/shadow' }],
      /which is no file of it/,
    ],
    [
      'a hard link to a later file',
      [root, { name: './x', letter: '1', link: './y' }, { name: './y' }],
      /no file of it/,
    ],
    [
      "the host's disk",
      [root, { name: './sda', letter: '4', device: [8, 0] }],
      /block device \(8:0\)/,
    ],
    [
      'memory as a device',
      [root, { name: './mem', letter: '3', device: [1, 1] }],
      /character device \(1:1\)/,
    ],
    [
      'a usual device at another place',
      [root, { name: './null', letter: '3', device: [1, 3] }],
      /character device/,
    ],
    [
      'an attribute of overlayfs',
      [root, { ...etc, pax: { 'SCHILY.xattr.trusted.overlay.redirect': '/' } }],
      /has the record/,
    ],
    [
      'an unknown record',
      [root, { name: './x', pax: { 'GNU.sparse.major': '1' } }],
      /has the record/,
    ],
    ['a removed parent', [root, { name: './.wh..' }], /no sound mark/],
    ['a mark with content', [root, { name: './.wh.x', content: 'x' }], /no sound mark/],
    ['a mark of what it also has', [root, { name: './x' }, { name: './.wh.x' }], /no sound mark/],
    [
      'an opaque mark elsewhere',
      [root, etc, { name: './x' }, { name: './etc/.wh..wh..opq' }],
      /does not follow/,
    ],
    ['a root that is a link', [{ name: '.', letter: '2', link: '/' }], /its root is no directory/],
  ] as [string, Member[], RegExp][])('with %s is refused', async (_, members, why) => {
    await expect(unpacked(members)).rejects.toThrow(why);
  });

  test('that is cut off anywhere, or has a byte changed in a header, is refused', async () => {
    const parts: Uint8Array[] = [];
    for await (const part of archive([root, etc, { name: './etc/hosts', content: 'x' }]))
      parts.push(part);
    const whole = Buffer.concat(parts);
    const take = async (bytes: Buffer) => {
      for await (const _ of fromOciLayer(
        (async function* () {
          yield bytes;
        })(),
      ));
    };
    await take(whole);
    for (let size = 1; size < whole.length - 1024; size += 100)
      await expect(take(whole.subarray(0, size))).rejects.toThrow(/ends in the middle/);
    const changed = Buffer.from(whole);
    changed[2] = 0x78;
    await expect(take(changed)).rejects.toThrow(/sum is wrong/);
  });

  test('with more bytes than announced, or other content, is refused', async () => {
    const file = join(folder, 'layer.zst');
    const small = unpackTree(file, join(folder, 'small'), { ...packed, tarSize: 1024 });
    await expect(small).rejects.toThrow(/more bytes than the 1024/);
    const other = { ...packed, diffId: `sha256:${'0'.repeat(64)}` };
    await expect(unpackTree(file, join(folder, 'other'), other)).rejects.toThrow(
      /content is sha256/,
    );
  });

  test('goes both ways without a change', async () => {
    const members = [root, etc, { name: './etc/.wh..wh..opq' }, { name: './etc/.wh.gone' }];
    const once: Uint8Array[] = [];
    for await (const part of archive(members)) once.push(part);
    const twice: Uint8Array[] = [];
    for await (const part of toOciLayer(fromOciLayer(archive(members)))) twice.push(part);
    const names = async (bytes: Uint8Array[]) => {
      const found: string[] = [];
      for await (const part of readTar(
        (async function* () {
          yield* bytes;
        })(),
      ))
        if (part.type === 'entry') found.push(part.entry.path);
      return found;
    };
    expect(await names(twice)).toEqual(await names(once));
  });
});
