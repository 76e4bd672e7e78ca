import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { readDiskLayout } from '../base/disk-layout.ts';
import { replaceFile } from '../state.ts';

const block = 4096;
const zeros = Buffer.alloc(block);

/** Blocks of the image, first to last, both included. */
export type Range = { first: number; last: number };

/**
 * Writes the image's block map (bmap 2.0, as bmaptool(1) makes and reads it).
 *
 * A block is mapped if a file system has it in use, whether or not it is zero: a flashing tool leaves
 * the others as they are, so a block that must be zero has to be written over what an old card holds.
 * Holes in the image file would not tell this.
 */
export async function writeBmap(image: string, path: string): Promise<void> {
  const layout = await readDiskLayout(image);
  const { size } = await stat(image);
  const blocks = Math.ceil(size / block);
  const file = await open(image);
  try {
    const used = new Uint8Array(blocks);
    await markOutside(file, used, layout.boot, layout.root, size);
    if (layout.table === 'gpt') markGpt(used, size, layout.sectorSize);
    await markFat(file, used, layout.boot.startBytes);
    await markExt4(file, used, layout.root);
    const ranges = toRanges(used);
    await replaceFile(path, await render(file, ranges, size, blocks));
  } finally {
    await file.close();
  }
}

type Extent = { startBytes: number; sizeBytes: number };

/** What lies outside the partitions counts if it is not zero: partition tables, boot loaders. */
async function markOutside(
  file: FileHandle,
  used: Uint8Array,
  boot: Extent,
  root: Extent,
  size: number,
): Promise<void> {
  const gaps: [number, number][] = [
    [0, boot.startBytes],
    [boot.startBytes + boot.sizeBytes, root.startBytes],
    [root.startBytes + root.sizeBytes, size],
  ];
  for (const [from, to] of gaps) await markNonZero(file, used, from, to - from);
  used[0] = 1;
}

/**
 * Both copies of a GPT as a whole: its checksum is also of the entries that are empty.
 * Protective MBR, header and at least 16 KiB of entries; the second copy without MBR (UEFI 2.10 §5.3).
 */
function markGpt(used: Uint8Array, size: number, sector: number): void {
  const entries = 16384;
  mark(used, 0, 2 * sector + entries);
  mark(used, size - sector - entries, sector + entries);
}

/**
 * Reserved sectors, both tables, the FAT16 root directory and every allocated cluster.
 * Offsets: Microsoft FAT specification (fatgen103), BIOS parameter block.
 */
async function markFat(file: FileHandle, used: Uint8Array, start: number): Promise<void> {
  const bpb = await read(file, start, 512);
  const sector = bpb.readUInt16LE(11);
  const cluster = (bpb[13] ?? 0) * sector;
  const reserved = bpb.readUInt16LE(14);
  const tables = bpb[16] ?? 0;
  const rootEntries = bpb.readUInt16LE(17);
  const sectors = bpb.readUInt16LE(19) || bpb.readUInt32LE(32);
  const tableSectors = bpb.readUInt16LE(22) || bpb.readUInt32LE(36);
  const rootSectors = Math.ceil((rootEntries * 32) / sector);
  const data = (reserved + tables * tableSectors + rootSectors) * sector;
  const clusters = Math.floor((sectors * sector - data) / cluster);
  // The number of clusters alone decides which FAT it is (fatgen103); one of FAT12 is tiny.
  if (clusters < 4085) return mark(used, start, sectors * sector);
  const width = clusters < 65525 ? 2 : 4;
  mark(used, start, data);
  const table = await read(file, start + reserved * sector, tableSectors * sector);
  for (let index = 2; index < clusters + 2; index++) {
    const entry =
      width === 2 ? table.readUInt16LE(index * 2) : table.readUInt32LE(index * 4) & 0x0fffffff;
    if (entry !== 0) mark(used, start + data + (index - 2) * cluster, cluster);
  }
}

/** Group descriptor flag: the block bitmap was never written (kernel, ext4/group_descr.rst). */
const blockUninit = 0x2;

/**
 * Every block that the groups' bitmaps say is in use. Offsets: kernel, Documentation/filesystems/ext4
 * (super.rst, group_descr.rst). In a group without a bitmap, only backups of the superblock and the
 * descriptors can lie, and those are not zero.
 */
async function markExt4(file: FileHandle, used: Uint8Array, root: Extent): Promise<void> {
  const at = (bytes: number) => root.startBytes + bytes;
  const superblock = await read(file, at(1024), 1024);
  const size = 1024 << superblock.readUInt32LE(24);
  const first = superblock.readUInt32LE(20);
  const wide = (superblock.readUInt32LE(96) & 0x80) !== 0; // INCOMPAT_64BIT
  const count = superblock.readUInt32LE(4) + (wide ? superblock.readUInt32LE(336) * 2 ** 32 : 0);
  const perGroup = superblock.readUInt32LE(32);
  const width = wide ? superblock.readUInt16LE(254) : 32;
  const groups = Math.ceil((count - first) / perGroup);
  const descriptors = await read(file, at((first + 1) * size), groups * width);
  for (let group = 0; group < groups; group++) {
    const entry = descriptors.subarray(group * width, (group + 1) * width);
    const start = first + group * perGroup;
    const blocks = Math.min(perGroup, count - start);
    if (entry.readUInt16LE(18) & blockUninit) {
      await markNonZero(file, used, at(start * size), blocks * size);
      continue;
    }
    const place = entry.readUInt32LE(0) + (wide ? entry.readUInt32LE(32) * 2 ** 32 : 0);
    const bitmap = await read(file, at(place * size), Math.ceil(blocks / 8));
    for (let index = 0; index < blocks; index++)
      if ((bitmap[index >> 3] ?? 0) & (1 << (index & 7)))
        mark(used, at((start + index) * size), size);
  }
}

async function markNonZero(
  file: FileHandle,
  used: Uint8Array,
  start: number,
  length: number,
): Promise<void> {
  const end = start + length;
  for (let index = Math.floor(start / block); index * block < end; index++) {
    const begin = Math.max(start, index * block);
    const data = await read(file, begin, Math.min((index + 1) * block, end) - begin);
    if (!data.equals(zeros.subarray(0, data.length))) used[index] = 1;
  }
}

function mark(used: Uint8Array, start: number, length: number): void {
  used.fill(1, Math.floor(start / block), Math.ceil((start + length) / block));
}

function toRanges(used: Uint8Array): Range[] {
  const ranges: Range[] = [];
  for (let index = 0; index < used.length; index++) {
    if (!used[index]) continue;
    const first = index;
    while (index + 1 < used.length && used[index + 1]) index++;
    ranges.push({ first, last: index });
  }
  return ranges;
}

async function read(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

/** Bytes read at a time. */
const piece = 4 * 1024 * 1024;

async function rangeDigest(file: FileHandle, range: Range, size: number): Promise<string> {
  const hash = createHash('sha256');
  const end = Math.min((range.last + 1) * block, size);
  for (let at = range.first * block; at < end; at += piece)
    hash.update(await read(file, at, Math.min(piece, end - at)));
  return hash.digest('hex');
}

async function render(
  file: FileHandle,
  ranges: readonly Range[],
  size: number,
  blocks: number,
): Promise<string> {
  const mapped = ranges.reduce((sum, range) => sum + range.last - range.first + 1, 0);
  const lines: string[] = [];
  for (const range of ranges) {
    const name = range.first === range.last ? `${range.first}` : `${range.first}-${range.last}`;
    lines.push(`        <Range chksum="${await rangeDigest(file, range, size)}"> ${name} </Range>`);
  }
  const document = (checksum: string) =>
    [
      '<?xml version="1.0" ?>',
      '<bmap version="2.0">',
      `    <ImageSize> ${size} </ImageSize>`,
      `    <BlockSize> ${block} </BlockSize>`,
      `    <BlocksCount> ${blocks} </BlocksCount>`,
      `    <MappedBlocksCount> ${mapped} </MappedBlocksCount>`,
      '    <ChecksumType> sha256 </ChecksumType>',
      `    <BmapFileChecksum> ${checksum} </BmapFileChecksum>`,
      '    <BlockMap>',
      ...lines,
      '    </BlockMap>',
      '</bmap>',
      '',
    ].join('\n');
  // The file's checksum is of the file with zeros in the checksum's own place.
  const checksum = createHash('sha256')
    .update(document('0'.repeat(64)))
    .digest('hex');
  return document(checksum);
}
