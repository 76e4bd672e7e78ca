import { createReadStream } from 'node:fs';
import { type Partition, readDiskLayout } from '../base/disk-layout.ts';
import { output } from '../exec.ts';
import { withCard } from './card.ts';

/** One place of a disk that holds a secret. */
export type Occurrence = {
  /** The secret's name, never its value. */
  secret: string;
  /** Bytes from the start of the disk. */
  offset: number;
  /** Number of the partition; undefined outside of all. */
  partition: number | undefined;
  /**
   * On the root partition the path of the file, with all its names; `<journal>`, `<inode N>` (deleted,
   * but not freed), `<metadata>` or `<free space>`. `<boot>` on the boot partition, `<outside>` elsewhere.
   */
  place: string;
};

/**
 * Looks through all bytes of the disk of a VM that has ended, in use or not, for secrets.
 * Finds what is stored as it is: not what a program compressed or encoded (journald compresses fields
 * above 512 bytes: journald.conf(5), Compress=).
 * @param secrets by name.
 */
export async function secretsOnDisk(
  directory: string,
  secrets: Readonly<Record<string, string>>,
): Promise<Occurrence[]> {
  return await withCard(directory, (card) => secretsInImage(card, secrets));
}

/** {@link secretsOnDisk} of a raw image with an ext4 root partition. */
export async function secretsInImage(
  image: string,
  secrets: Readonly<Record<string, string>>,
): Promise<Occurrence[]> {
  const found = await findInStream(createReadStream(image, { highWaterMark: piece }), secrets);
  const { boot, root } = await readDiskLayout(image);
  const isIn = (offset: number, { startBytes, sizeBytes }: Partition) =>
    offset >= startBytes && offset < startBytes + sizeBytes;
  const blocks = found
    .filter(({ offset }) => isIn(offset, root))
    .map(({ offset }) => Math.floor((offset - root.startBytes) / block));
  const places = await placesOfBlocks(image, root, [...new Set(blocks)]);
  return found.map(({ secret, offset }) => {
    if (isIn(offset, root)) {
      const place = places.get(Math.floor((offset - root.startBytes) / block)) ?? '<metadata>';
      return { secret, offset, partition: root.number, place };
    }
    if (isIn(offset, boot)) return { secret, offset, partition: boot.number, place: '<boot>' };
    return { secret, offset, partition: undefined, place: '<outside>' };
  });
}

/** Bytes read at a time. */
const piece = 4 * 1024 * 1024;

/** Block size of the root file system, as the image's mke2fs sets it. */
const block = 4096;

/** Every occurrence of each secret in a stream of bytes, also where it lies across two pieces. */
export async function findInStream(
  pieces: AsyncIterable<Uint8Array>,
  secrets: Readonly<Record<string, string>>,
): Promise<{ secret: string; offset: number }[]> {
  const wanted = Object.entries(secrets).map(([secret, value]) => {
    if (value === '') throw new Error(`the secret '${secret}' is empty, so it would be everywhere`);
    return { secret, bytes: Buffer.from(value) };
  });
  const kept = Math.max(0, ...wanted.map(({ bytes }) => bytes.length - 1));
  const found: { secret: string; offset: number }[] = [];
  let before = Buffer.alloc(0);
  let start = 0;
  for await (const next of pieces) {
    const window = Buffer.concat([before, next]);
    for (const { secret, bytes } of wanted)
      for (let at = window.indexOf(bytes); at >= 0; at = window.indexOf(bytes, at + 1))
        // What ends within the part that was seen already was found there.
        if (at + bytes.length > before.length) found.push({ secret, offset: start + at });
    before = window.subarray(Math.max(0, window.length - kept));
    start += window.length - before.length;
  }
  return found.sort((a, b) => a.offset - b.offset);
}

/** Inode of the journal (kernel documentation, filesystems/ext4, Special inodes). */
const journalInode = 8;

/** What holds each block of an ext4 file system, by debugfs(8) icheck, ncheck and testb. */
async function placesOfBlocks(
  image: string,
  { startBytes }: Partition,
  blocks: readonly number[],
): Promise<Map<number, string>> {
  const debugfs = (request: string) =>
    output('debugfs', ['-R', request, `${image}?offset=${startBytes}`]);
  const places = new Map<number, string>();
  for (const some of chunks(blocks, 200)) {
    const inodes = new Map<number, number>();
    for (const [, number, inode] of (await debugfs(`icheck ${some.join(' ')}`)).matchAll(
      /^(\d+)\t(\d+)$/gm,
    ))
      inodes.set(Number(number), Number(inode));
    const names = await namesOfInodes(debugfs, [...new Set(inodes.values())]);
    for (const number of some) {
      const inode = inodes.get(number);
      if (inode !== undefined)
        places.set(
          number,
          inode === journalInode ? '<journal>' : (names.get(inode) ?? `<inode ${inode}>`),
        );
      else {
        const state = await debugfs(`testb ${number}`);
        places.set(number, /marked in use/.test(state) ? '<metadata>' : '<free space>');
      }
    }
  }
  return places;
}

async function namesOfInodes(
  debugfs: (request: string) => Promise<string>,
  inodes: readonly number[],
): Promise<Map<number, string>> {
  const names = new Map<number, string>();
  if (inodes.length === 0) return names;
  for (const [, inode, path = ''] of (await debugfs(`ncheck ${inodes.join(' ')}`)).matchAll(
    /^(\d+)\t(.+)$/gm,
  )) {
    const other = names.get(Number(inode));
    // Of old, debugfs begins a path with two slashes.
    const name = path.replace(/^\/+/, '/');
    names.set(Number(inode), other === undefined ? name : `${other}, ${name}`);
  }
  return names;
}

function chunks<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, index) =>
    all.slice(index * size, (index + 1) * size),
  );
}
