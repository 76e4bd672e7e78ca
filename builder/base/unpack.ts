import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import {
  chmod,
  type FileHandle,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  stat,
  statfs,
} from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { BuildError, exitCode, isErrno, messageOf } from '../errors.ts';
import { runStream } from '../exec.ts';
import { replaceFile } from '../state.ts';
import { megabytes } from '../ui/present.ts';

export type UnpackOptions = {
  /** `.img`, `.img.xz`, `.img.gz`, `.img.zst` or a simple `.zip`; told by content, not by name. */
  path: string;
  /** What to call it in messages, if its path says nothing: a URL. */
  name?: string | undefined;
  /** Of the archive, if known: what it unpacks to is then remembered. */
  archiveSha256?: string | undefined;
  /** Cache of raw images. */
  directory: string;
  /** What the raw image must be, if known. */
  size?: number | undefined;
  sha256?: string | undefined;
  /** Raw bytes so far and, if known, in all. */
  onProgress?: ((done: number, total?: number) => void) | undefined;
  signal?: AbortSignal | undefined;
};

/** A raw disk image, read-only, as `<directory>/<sha256>.img`. */
export type RawImage = { path: string; sha256: string; size: number };

type Format = 'xz' | 'gzip' | 'zstd' | 'zip' | 'raw';

/** First bytes of each format, by its specification. */
const signatures: readonly [Format, Buffer][] = [
  ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ['gzip', Buffer.from([0x1f, 0x8b])],
  ['zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
  ['zip', Buffer.from('PK\x03\x04', 'latin1')],
];

/**
 * xz(1) with `-T0` uses every core where the archive has more than one block, and by itself no more
 * than a quarter of the memory. zstd and gzip have nothing to divide.
 */
const commands = {
  xz: ['xz', '--decompress', '--stdout', '--threads=0'],
  gzip: ['gzip', '--decompress', '--stdout'],
  zstd: ['zstd', '--decompress', '--stdout', '--quiet'],
} as const;

/**
 * Unpacks an image into a sparse raw file, checking size and SHA-256 as it is written. What has its
 * final name is whole and on the disk; an image that is there is not unpacked again.
 * @throws BuildError with code `source` (damaged, or not the expected image) or `host` (disk full).
 */
export async function unpackImage(options: UnpackOptions): Promise<RawImage> {
  const { directory } = options;
  const cached = await findRawImage(options);
  if (cached) return cached;
  await mkdir(directory, { recursive: true });
  const format = await formatOf(options.path);
  const partial = join(directory, 'unpacking.partial');
  await rm(partial, { force: true });
  try {
    await checkSpace(options);
    const writer = await SparseWriter.create(partial, options);
    try {
      await unpack(format, options, (bytes) => writer.writeAll(bytes));
      await writer.finish();
    } finally {
      await writer.close();
    }
    const { size } = writer;
    const sha256 = writer.digest();
    checkContent(options, size, sha256);
    await chmod(partial, 0o444);
    const path = join(directory, `${sha256}.img`);
    await rename(partial, path);
    const parent = await open(directory, 'r');
    await parent.sync();
    await parent.close();
    if (options.archiveSha256)
      await replaceFile(
        recordPath(directory, options.archiveSha256),
        JSON.stringify({ sha256, size }),
      );
    return { path, sha256, size };
  } catch (error) {
    await rm(partial, { force: true });
    if (isErrno(error, 'ENOSPC') || isErrno(error, 'EDQUOT'))
      throw noSpace(directory, 'The disk became full while the image was unpacked', error);
    throw error;
  }
}

/** The raw image, if it was unpacked before. */
export async function findRawImage(
  o: Pick<UnpackOptions, 'directory' | 'archiveSha256' | 'size' | 'sha256'>,
): Promise<RawImage | undefined> {
  const recorded = o.archiveSha256 ? await readRecord(o.directory, o.archiveSha256) : undefined;
  const sha256 = o.sha256 ?? recorded?.sha256;
  if (!sha256) return undefined;
  const path = join(o.directory, `${sha256}.img`);
  const found = await stat(path).catch(() => undefined);
  const expected = o.size ?? (recorded?.sha256 === sha256 ? recorded.size : undefined);
  if (!found || (expected !== undefined && found.size !== expected)) return undefined;
  return { path, sha256, size: found.size };
}

function recordPath(directory: string, archiveSha256: string): string {
  return join(directory, `from-${archiveSha256}.json`);
}

/** A missing or broken record only costs unpacking again. */
async function readRecord(
  directory: string,
  archiveSha256: string,
): Promise<{ sha256: string; size: number } | undefined> {
  try {
    return JSON.parse(await readFile(recordPath(directory, archiveSha256), 'utf8'));
  } catch {
    return undefined;
  }
}

/** How a file is compressed, by its first bytes. */
export async function formatOf(path: string): Promise<Format> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(6), 0, 6, 0);
    if (bytesRead === 0)
      throw new BuildError({
        what: 'The image is empty',
        where: path,
        fix: 'Delete it and get it again',
        code: exitCode.source,
      });
    const match = signatures.find(([, magic]) => buffer.subarray(0, magic.length).equals(magic));
    return match?.[0] ?? 'raw';
  } finally {
    await file.close();
  }
}

type Sink = (bytes: AsyncIterable<Uint8Array>) => Promise<void>;

async function unpack(format: Format, o: UnpackOptions, sink: Sink): Promise<void> {
  if (format === 'raw') return await sink(createReadStream(o.path, { highWaterMark: 1 << 20 }));
  if (format === 'zip') return await unzip(o, sink);
  const [command, ...args] = commands[format];
  try {
    await runStream(command, args, sink, { stdin: o.path, signal: o.signal });
  } catch (error) {
    // Only the command's own complaint means a damaged archive: it is there, and wrote till then.
    if (error instanceof BuildError && error.code === exitCode.failed)
      throw damaged(o, error.detail);
    throw error;
  }
}

/** Where a zip's one image lies in the archive. */
type ZipEntry = { offset: number; packedSize: number; method: number };

async function unzip(o: UnpackOptions, sink: Sink): Promise<void> {
  const entry = await onlyEntry(o);
  const packed = createReadStream(o.path, {
    start: entry.offset,
    end: entry.offset + entry.packedSize - 1,
  });
  if (entry.method === 0) return await sink(packed);
  try {
    await sink(pipeline(packed, createInflateRaw(), () => undefined));
  } catch (error) {
    if (error instanceof Error && 'code' in error && String(error.code).startsWith('Z_'))
      throw damaged(o, messageOf(error));
    throw error;
  }
}

/**
 * Reads a zip's end record, its one directory entry and that entry's local header (PKWARE
 * APPNOTE 4.3.7, 4.3.12, 4.3.16). Simple means: one file, stored or deflated, not encrypted, no
 * ZIP64; anything else is refused.
 */
async function onlyEntry(o: UnpackOptions): Promise<ZipEntry> {
  const file = await open(o.path, 'r');
  try {
    const { size } = await file.stat();
    const tail = await readAt(file, Math.max(0, size - 65_557), Math.min(size, 65_557));
    const at = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
    if (at < 0 || at + 22 > tail.length) throw damaged(o, 'the end of the zip is missing');
    const entries = tail.readUInt16LE(at + 10);
    if (entries !== 1) throw notSimple(o, `it holds ${entries} files`);
    const entry = await readAt(file, tail.readUInt32LE(at + 16), 46);
    if (entry.length < 46 || entry.readUInt32LE(0) !== 0x02014b50)
      throw damaged(o, 'the directory of the zip is damaged');
    const method = entry.readUInt16LE(10);
    if (entry.readUInt16LE(8) & 1) throw notSimple(o, 'it is encrypted');
    if (method !== 0 && method !== 8) throw notSimple(o, `it uses compression method ${method}`);
    const sizes = [entry.readUInt32LE(20), entry.readUInt32LE(24), entry.readUInt32LE(42)];
    if (sizes.includes(0xffffffff)) throw notSimple(o, 'it is a ZIP64 (over 4 GB)');
    const [packedSize = 0, , start = 0] = sizes;
    const local = await readAt(file, start, 30);
    if (local.length < 30 || local.readUInt32LE(0) !== 0x04034b50)
      throw damaged(o, 'the file header in the zip is damaged');
    const offset = start + 30 + local.readUInt16LE(26) + local.readUInt16LE(28);
    return { offset, packedSize, method };
  } finally {
    await file.close();
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}

function notSimple(o: UnpackOptions, why: string): BuildError {
  return new BuildError({
    what: `This zip cannot be used as an image: ${why}`,
    where: o.name ?? o.path,
    fix: 'Unpack it, and give the .img (or .img.xz) that is in it',
    code: exitCode.source,
  });
}

function damaged(o: UnpackOptions, detail: string | undefined): BuildError {
  return new BuildError({
    what: 'The compressed image is damaged or cut short',
    where: o.name ?? o.path,
    detail,
    fix: 'Delete it and get it again',
    code: exitCode.source,
  });
}

/** ext4's block size in every image: smaller holes would gain nothing. */
const block = 4096;
const zeros = Buffer.alloc(block);

/** Writes a file with holes for blocks of zeros, and takes its SHA-256 on the way. */
class SparseWriter {
  size = 0;
  readonly #file: FileHandle;
  readonly #hash = createHash('sha256');
  readonly #o: UnpackOptions;

  private constructor(file: FileHandle, options: UnpackOptions) {
    this.#file = file;
    this.#o = options;
  }

  static async create(path: string, options: UnpackOptions): Promise<SparseWriter> {
    return new SparseWriter(await open(path, 'wx'), options);
  }

  async writeAll(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of chunks) {
      this.#o.signal?.throwIfAborted();
      this.#hash.update(chunk);
      await this.#writeData(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length));
      this.size += chunk.length;
      if (this.#o.size !== undefined && this.size > this.#o.size)
        throw wrongImage(this.#o, `more than the expected ${this.#o.size} bytes`);
      this.#o.onProgress?.(this.size, this.#o.size);
    }
  }

  /** Writes what is not zero, each run of blocks in one go; blocks are aligned in the file. */
  async #writeData(chunk: Buffer): Promise<void> {
    let from = 0;
    for (let at = 0; at < chunk.length; ) {
      const end = Math.min(chunk.length, at + block - ((this.size + at) % block));
      if (chunk.compare(zeros, 0, end - at, at, end) === 0) {
        await this.#write(chunk.subarray(from, at), this.size + from);
        from = end;
      }
      at = end;
    }
    await this.#write(chunk.subarray(from), this.size + from);
  }

  async #write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const rest = bytes.length - done;
      done += (await this.#file.write(bytes, done, rest, position + done)).bytesWritten;
    }
  }

  async finish(): Promise<void> {
    await this.#file.truncate(this.size);
    await this.#file.sync();
  }

  digest(): string {
    return this.#hash.digest('hex');
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

function checkContent(o: UnpackOptions, size: number, sha256: string): void {
  if (o.size !== undefined && size !== o.size)
    throw wrongImage(o, `${size} bytes, expected ${o.size}`);
  if (o.sha256 !== undefined && sha256 !== o.sha256)
    throw wrongImage(o, `SHA-256 ${sha256}, expected ${o.sha256}`);
}

function wrongImage(o: UnpackOptions, why: string): BuildError {
  return new BuildError({
    what: `The unpacked image is not the expected one: ${why}`,
    where: o.name ?? o.path,
    fix: 'Check the image and the size and SHA-256 that are expected of it once unpacked',
    code: exitCode.source,
  });
}

/** The archive's own size is the least that the image needs. */
async function checkSpace(o: UnpackOptions): Promise<void> {
  const { bavail, bsize } = await statfs(o.directory);
  const free = bavail * bsize;
  const needed = (await stat(o.path)).size;
  if (needed > free)
    throw noSpace(
      o.directory,
      `No space to unpack the image: it needs more than ${megabytes(needed)}, ${megabytes(free)} are free`,
    );
}

function noSpace(directory: string, what: string, cause?: unknown): BuildError {
  return new BuildError({
    what,
    where: directory,
    fix: 'Free some space, or set paths.cache to another disk',
    code: exitCode.host,
    cause,
  });
}
