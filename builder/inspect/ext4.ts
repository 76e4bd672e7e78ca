import { readSync } from 'node:fs';
import { BuildError, exitCode } from '../errors.ts';
import { byName, type FileEntry, type FileSystem } from './file-system.ts';
import { extendedAttributes } from './xattr.ts';

/*
 * Reads ext4 as the kernel's documentation lays it out (Documentation/filesystems/ext4). debugfs(8)
 * could do it too, but prints for people and takes minutes for the contents of 30 000 files.
 */

const feature = { metaBlockGroups: 0x10, bits64: 0x80, inlineData: 0x8000, encrypted: 0x10000 };
const flag = { extents: 0x80000, inlineData: 0x10000000 };
const rootInode = 2;
const extentMagic = 0xf30a;

/** Lengths above this mark an extent that is allocated but reads as zeros. */
const longestWritten = 32768;

const kinds: Record<number, FileEntry['kind']> = {
  1: 'fifo',
  2: 'character',
  4: 'directory',
  6: 'block',
  8: 'file',
  10: 'link',
  12: 'socket',
};

type Volume = {
  blockSize: number;
  size: number;
  used: number;
  /** Bytes at an offset of the file system. */
  read(at: number, length: number): Buffer;
  inode(number: number): Buffer;
};

/** Blocks of a file from `first`; `at` is a byte offset, or undefined where it reads as zeros. */
type Extent = { first: number; count: number; at: number | undefined };

/**
 * Reads the whole tree of an ext4 file system that starts at `start` bytes of the open image.
 * @throws BuildError with code `source` if it is damaged or uses what this does not read.
 */
export function readExt4(descriptor: number, start: number, image: string): FileSystem {
  const volume = openVolume(descriptor, start, image);
  const files = new Map<string, FileEntry>();
  const inodes = new Map<string, Buffer>();
  const visited = new Set<number>();
  const pending: [number, string][] = [[rootInode, '']];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const [number, path] = next;
    if (visited.has(number)) throw damaged(image, `directory ${path} is in itself`);
    visited.add(number);
    for (const [name, child] of names(volume, volume.inode(number), image)) {
      const inner = `${path}/${name}`;
      const inode = volume.inode(child);
      const entry = describe(volume, inode, image);
      files.set(inner, entry);
      if (entry.kind === 'directory') pending.push([child, inner]);
      else if (entry.kind === 'file') inodes.set(inner, Buffer.from(inode));
    }
  }
  return {
    type: 'ext4',
    size: volume.size,
    used: volume.used,
    files: new Map([...files].sort(([a], [b]) => byName(a, b))),
    content: (path) => content(volume, inodes.get(path), image),
  };
}

function openVolume(descriptor: number, start: number, image: string): Volume {
  const read = (at: number, length: number) => {
    const buffer = Buffer.allocUnsafe(length);
    if (readSync(descriptor, buffer, 0, length, start + at) !== length)
      throw damaged(image, 'it is cut off');
    return buffer;
  };
  const head = read(1024, 1024);
  if (head.readUInt16LE(0x38) !== 0xef53) throw damaged(image, 'its superblock is not there');
  const incompatible = head.readUInt32LE(0x60);
  if (incompatible & (feature.metaBlockGroups | feature.encrypted))
    throw damaged(image, 'it uses meta_bg or encryption, which inspect does not read');
  const blockSize = 1024 << head.readUInt32LE(0x18);
  const wide = (incompatible & feature.bits64) !== 0;
  const count = (low: number, high: number) =>
    head.readUInt32LE(low) + (wide ? head.readUInt32LE(high) * 2 ** 32 : 0);
  const blocks = count(0x04, 0x150);
  const perGroup = head.readUInt32LE(0x28);
  const inodeSize = head.readUInt16LE(0x58);
  const descriptorSize = wide ? head.readUInt16LE(0xfe) : 32;
  const descriptors = (head.readUInt32LE(0x14) + 1) * blockSize;
  const tables = new Map<number, Buffer>();
  const table = (group: number) => {
    const known = tables.get(group);
    if (known) return known;
    const place = read(descriptors + group * descriptorSize, descriptorSize);
    const block = place.readUInt32LE(0x08) + (wide ? place.readUInt32LE(0x28) * 2 ** 32 : 0);
    const made = read(block * blockSize, perGroup * inodeSize);
    tables.set(group, made);
    return made;
  };
  return {
    blockSize,
    size: blocks * blockSize,
    used: (blocks - count(0x0c, 0x158)) * blockSize,
    read,
    inode: (number) => {
      const index = (number - 1) % perGroup;
      const inodes = table(Math.floor((number - 1) / perGroup));
      return inodes.subarray(index * inodeSize, (index + 1) * inodeSize);
    },
  };
}

function describe(volume: Volume, inode: Buffer, image: string): FileEntry {
  const mode = inode.readUInt16LE(0);
  const kind = kinds[mode >> 12];
  if (!kind) throw damaged(image, `an inode has the impossible mode 0${mode.toString(8)}`);
  const sized = kind === 'file' || kind === 'link';
  const attributes = extendedAttributes(inode, (block) =>
    volume.read(block * volume.blockSize, volume.blockSize),
  );
  const target = kind === 'link' ? linkTarget(volume, inode, image) : device(kind, inode);
  return {
    kind,
    size: sized ? sizeOf(inode) : 0,
    mode: mode & 0o7777,
    uid: inode.readUInt16LE(0x02) + inode.readUInt16LE(0x78) * 65536,
    gid: inode.readUInt16LE(0x18) + inode.readUInt16LE(0x7a) * 65536,
    ...(target === undefined ? {} : { target }),
    modified: inode.readInt32LE(0x10),
    ...(attributes === undefined ? {} : { attributes }),
  };
}

function sizeOf(inode: Buffer): number {
  return inode.readUInt32LE(0x04) + inode.readUInt32LE(0x6c) * 2 ** 32;
}

function linkTarget(volume: Volume, inode: Buffer, image: string): string {
  const size = sizeOf(inode);
  // Up to 59 bytes lie in the inode itself.
  if (size < 60) return inode.subarray(0x28, 0x28 + size).toString('utf8');
  return Buffer.concat([...content(volume, inode, image)]).toString('utf8');
}

function device(kind: FileEntry['kind'], inode: Buffer): string | undefined {
  if (kind !== 'character' && kind !== 'block') return undefined;
  const old = inode.readUInt32LE(0x28);
  if (old) return `${(old >> 8) & 0xff}:${old & 0xff}`;
  const wide = inode.readUInt32LE(0x2c);
  return `${(wide >> 8) & 0xfff}:${(wide & 0xff) | ((wide >> 12) & 0xfff00)}`;
}

/** A directory's entries; the index blocks of a large one look like empty entries here. */
function* names(volume: Volume, inode: Buffer, image: string): Iterable<[string, number]> {
  for (const block of content(volume, inode, image))
    for (let at = 0; at + 8 <= block.length; ) {
      const number = block.readUInt32LE(at);
      const length = block.readUInt16LE(at + 4);
      if (length < 8) throw damaged(image, 'a directory entry has no length');
      const name = block.toString('utf8', at + 8, at + 8 + (block[at + 6] ?? 0));
      if (number !== 0 && name !== '.' && name !== '..') yield [name, number];
      at += length;
    }
}

/** Bytes read at a time. */
const piece = 1024 * 1024;

/** A multiple of the block size at a time, so that no directory entry is divided. */
function* content(volume: Volume, inode: Buffer | undefined, image: string): Iterable<Buffer> {
  if (!inode) return;
  const flags = inode.readUInt32LE(0x20);
  if (flags & flag.inlineData || !(flags & flag.extents))
    throw damaged(image, 'a file is stored without extents, which inspect does not read');
  const { blockSize } = volume;
  const size = sizeOf(inode);
  let at = 0;
  const zeros = function* (until: number) {
    for (; at < until; at += piece) yield Buffer.alloc(Math.min(piece, until - at));
    at = until;
  };
  for (const extent of extents(volume, inode.subarray(0x28, 0x64), image)) {
    yield* zeros(Math.min(extent.first * blockSize, size));
    const end = Math.min((extent.first + extent.count) * blockSize, size);
    if (extent.at === undefined) yield* zeros(end);
    else
      for (const begin = at; at < end; ) {
        const length = Math.min(piece, end - at);
        yield volume.read(extent.at + (at - begin), length);
        at += length;
      }
  }
  yield* zeros(size);
}

function* extents(volume: Volume, node: Buffer, image: string): Iterable<Extent> {
  if (node.readUInt16LE(0) !== extentMagic) throw damaged(image, 'an extent tree is broken');
  const { blockSize } = volume;
  const depth = node.readUInt16LE(6);
  for (let index = 1; index <= node.readUInt16LE(2); index++) {
    const at = index * 12;
    if (depth > 0) {
      const block = node.readUInt32LE(at + 4) + node.readUInt16LE(at + 8) * 2 ** 32;
      yield* extents(volume, volume.read(block * blockSize, blockSize), image);
      continue;
    }
    const length = node.readUInt16LE(at + 4);
    const block = node.readUInt16LE(at + 6) * 2 ** 32 + node.readUInt32LE(at + 8);
    yield {
      first: node.readUInt32LE(at),
      count: length > longestWritten ? length - longestWritten : length,
      at: length > longestWritten ? undefined : block * blockSize,
    };
  }
}

function damaged(image: string, why: string): BuildError {
  return new BuildError({
    what: `The ext4 file system cannot be read: ${why}`,
    where: image,
    fix: 'Check the image: its SHA-256, and e2fsck -fn on its root partition',
    code: exitCode.source,
  });
}
