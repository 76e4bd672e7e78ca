import { copyFile, lstat, mkdir, open, readdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { BuildError, exitCode } from '../errors.ts';
import { run, runPipe } from '../exec.ts';
import type { Tools } from '../tools/tools.ts';
import { measureTree, rootfsBytes } from './size.ts';

/** Identities and places of the partitions; all fixed, so that equal trees give equal images. */
export type ImageLayout = {
  table: 'dos' | 'gpt';
  /** MBR: eight hex digits. GPT: a UUID. */
  diskId: string;
  boot: {
    startBytes: number;
    sizeBytes: number;
    label: string;
    volumeId: string;
    partUuid?: string | undefined;
  };
  root: { label: string; uuid: string; partUuid?: string | undefined };
  /** Where the root tree has what goes on the boot partition. */
  bootMount: '/boot/firmware' | '/boot';
};

const sector = 512;
const mebibyte = 1024 * 1024;

/**
 * Writes a whole disk image of the tree: partition table, FAT boot partition, ext4 root. Needs no
 * loop device and no mount: mkfs.fat, mtools and mke2fs write at an offset in the file.
 * @returns the root partition's place in bytes.
 */
export async function assembleImage(o: {
  tree: string;
  image: string;
  scratch: string;
  layout: ImageLayout;
  headroom: number;
  sourceDateEpoch: number;
  tools: Tools;
  log: string;
  onPhase: (phase: string) => void;
}): Promise<{ rootStart: number; rootSize: number }> {
  const { layout } = o;
  o.onPhase('measuring');
  const bootPrefix = `${layout.bootMount}/`;
  const size = await measureTree(o.tree, (path) => path.startsWith(bootPrefix));
  const rootStart =
    Math.ceil((layout.boot.startBytes + layout.boot.sizeBytes) / (4 * mebibyte)) * 4 * mebibyte;
  const rootSize = rootfsBytes(size, o.headroom);
  // A GPT keeps its second copy in the last 33 sectors; 1 MiB keeps the end aligned.
  const total = rootStart + rootSize + (layout.table === 'gpt' ? mebibyte : 0);
  await rm(o.image, { force: true });
  const file = await open(o.image, 'w');
  await file.truncate(total);
  await file.close();

  o.onPhase('partition table');
  await run('sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', o.image], {
    input: partitionScript(layout, rootStart, rootSize),
    log: o.log,
  });
  o.onPhase('partitions (FAT and ext4)');
  // Both end before a failure of either is told: nobody writes to the file any more then.
  const written = await Promise.allSettled([
    writeBoot(o, join(o.tree, layout.bootMount)),
    writeRoot(o, rootStart, rootSize, size.inodes),
  ]);
  for (const part of written) if (part.status === 'rejected') throw part.reason;
  return { rootStart, rootSize };
}

/** sfdisk(8) script; types 0c (FAT32 LBA) and 83, or the GPT's basic data and Linux root types. */
function partitionScript(layout: ImageLayout, rootStart: number, rootSize: number): string {
  const dos = layout.table === 'dos';
  const line = (start: number, size: number, type: string, uuid: string | undefined) =>
    `start=${start / sector}, size=${size / sector}, type=${type}${!dos && uuid ? `, uuid=${uuid}` : ''}`;
  return [
    `label: ${layout.table}`,
    `label-id: ${dos ? `0x${layout.diskId}` : layout.diskId}`,
    'unit: sectors',
    line(
      layout.boot.startBytes,
      layout.boot.sizeBytes,
      dos ? 'c' : 'EBD0A0A2-B9E5-4433-87C0-68B6B72699C7',
      layout.boot.partUuid,
    ),
    line(
      rootStart,
      rootSize,
      dos ? '83' : '0FC63DAF-8483-4772-8E79-3D69D8477DE4',
      layout.root.partUuid,
    ),
    '',
  ].join('\n');
}

type Context = Parameters<typeof assembleImage>[0];

async function writeBoot(o: Context, source: string): Promise<void> {
  const { boot } = o.layout;
  const environment = { SOURCE_DATE_EPOCH: String(o.sourceDateEpoch) };
  const clusters = boot.sizeBytes >= 34 * mebibyte ? ['-F', '32', '-s', '1'] : ['-F', '16'];
  await o.tools.run(
    'usr/sbin/mkfs.fat',
    [
      ...clusters,
      '--invariant',
      '-i',
      boot.volumeId,
      '-n',
      boot.label,
      '--offset',
      String(boot.startBytes / sector),
      o.image,
      String(boot.sizeBytes / 1024),
    ],
    { log: o.log, env: environment },
  );
  // FAT has no owners or modes, but dates: a copy whose dates are all the build's own.
  const staged = join(o.scratch, 'bootfs');
  await rm(staged, { recursive: true, force: true });
  const names = await stage(source, staged, o.sourceDateEpoch);
  if (names.length === 0)
    throw new BuildError({
      what: 'The boot partition would be empty: nothing to start the Pi with',
      where: o.layout.bootMount,
      code: exitCode.failed,
    });
  await o.tools.run(
    'usr/bin/mtools',
    [
      '-c',
      'mcopy',
      '-i',
      `${o.image}@@${boot.startBytes}`,
      '-s',
      '-m',
      '-Q',
      ...names.map((name) => join(staged, name)),
      '::',
    ],
    {
      log: o.log,
      env: environment,
      fix: 'If the boot partition is full, raise image.boot_size in gateway.yaml',
    },
  );
  await rm(staged, { recursive: true, force: true });
}

/** Copies a tree with the same date on all of it; returns the sorted names at its top. */
async function stage(source: string, target: string, date: number): Promise<string[]> {
  await mkdir(target, { recursive: true });
  const names = (await readdir(source)).sort();
  for (const name of names) {
    const from = join(source, name);
    const to = join(target, name);
    const kind = await lstat(from);
    if (kind.isDirectory()) await stage(from, to, date);
    else await copyFile(from, to);
    await utimes(to, date, date);
  }
  return names;
}

/**
 * tar puts the tree in one order with clamped dates, and mke2fs (≥ 1.47.1) fills the file system
 * from that archive: the kernel's directory order, inode numbers and change times play no part.
 */
async function writeRoot(
  o: Context,
  rootStart: number,
  rootSize: number,
  inodes: number,
): Promise<void> {
  const { root } = o.layout;
  const blocks = Math.floor(rootSize / 4096);
  const inodeCount = Math.max(Math.ceil(inodes * 1.1), Math.ceil(rootSize / 16384));
  const tar = [
    ...o.tools.command('usr/bin/tar'),
    '--create',
    '--file=-',
    `--directory=${o.tree}`,
    '--format=posix',
    '--pax-option=delete=atime,delete=ctime',
    '--sort=name',
    `--mtime=@${o.sourceDateEpoch}`,
    '--clamp-mtime',
    '--numeric-owner',
    '--xattrs',
    '--xattrs-include=*',
    '--xattrs-exclude=trusted.overlay.*',
    '--one-file-system',
    `--exclude=.${o.layout.bootMount}/*`,
    '--anchored',
    '.',
  ];
  const mke2fs = [
    ...o.tools.command('usr/sbin/mke2fs'),
    '-q',
    '-F',
    '-t',
    'ext4',
    '-b',
    '4096',
    '-I',
    '256',
    '-N',
    String(inodeCount),
    '-m',
    '1',
    '-L',
    root.label,
    '-U',
    root.uuid,
    '-E',
    `offset=${rootStart},hash_seed=${root.uuid},root_owner=0:0,nodiscard,lazy_itable_init=0,lazy_journal_init=0`,
    '-d',
    '-',
    o.image,
    `${blocks * 4}k`,
  ];
  await runPipe(tar, mke2fs, {
    env: {
      TZ: 'UTC',
      MKE2FS_CONFIG: join(o.tools.root, 'etc/mke2fs.conf'),
      SOURCE_DATE_EPOCH: String(o.sourceDateEpoch),
    },
    fix: 'If it says "no space", free some or set paths.output to another disk; if the file system is too small, raise image.headroom',
  });
}
