import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import { runSink, runStream } from '../exec.ts';
import { fromOciLayer, toOciLayer } from './layer-tar.ts';

/** A compressed layer in a file, and what names it. */
export type Packed = {
  /** SHA-256 of the compressed bytes: `sha256:…`. */
  digest: string;
  /** Compressed bytes. */
  size: number;
  /** SHA-256 of the archive before compression: names the content, whatever compressed it. */
  diffId: string;
  /** Bytes of that archive. */
  tarSize: number;
};

/** Levels above 3 take several times as long for a few per cent. */
const compression = {
  params: {
    [constants.ZSTD_c_compressionLevel]: 3,
    [constants.ZSTD_c_checksumFlag]: 1,
  },
};

/** Bytes that are handed to the compressor at once: each handing over costs a change of threads. */
const chunkBytes = 256 * 1024;

/** Packs an overlayfs directory as an OCI layer (tar+zstd); the same tree gives the same bytes. */
export async function packTree(
  tree: string,
  file: string,
  tar: readonly string[] = ['tar'],
): Promise<Packed> {
  const [command = '', ...args] = tar;
  const content = new Counter();
  const blob = new Counter();
  await runStream(
    command,
    [
      ...args,
      '--create',
      '--file=-',
      `--directory=${tree}`,
      '--format=posix',
      '--pax-option=delete=atime,delete=ctime',
      '--sort=name',
      '--numeric-owner',
      '--xattrs',
      '--xattrs-include=*',
      '--one-file-system',
      '.',
    ],
    (bytes) =>
      pipeline(
        content.through(gather(toOciLayer(bytes))),
        createZstdCompress(compression),
        (compressed) => blob.through(compressed),
        createWriteStream(file),
      ),
    { stdin: '/dev/null' },
  );
  return {
    digest: blob.digest(),
    size: blob.size,
    diffId: content.digest(),
    tarSize: content.size,
  };
}

/**
 * Unpacks a layer that {@link packTree} made into a new directory. Needs root.
 * @throws BuildError with code `source` if its content is not the one that was named.
 */
export async function unpackTree(
  file: string,
  tree: string,
  expected: Pick<Packed, 'diffId' | 'tarSize'>,
): Promise<void> {
  await mkdir(tree, { recursive: true });
  const content = new Counter(expected.tarSize);
  const decompress = createZstdDecompress();
  decompress.on('error', () => undefined); // pipeline reports it
  try {
    await pipeline(createReadStream(file), decompress, (bytes: AsyncIterable<Uint8Array>) =>
      runSink(
        'tar',
        [
          '--extract',
          '--file=-',
          `--directory=${tree}`,
          '--numeric-owner',
          '--same-owner',
          '--preserve-permissions',
          '--delay-directory-restore',
          '--xattrs',
          '--xattrs-include=*',
        ],
        gather(fromOciLayer(content.through(bytes))),
      ),
    );
  } catch (cause) {
    if (cause instanceof BuildError) throw cause;
    throw new BuildError({
      what: `The layer cannot be unpacked: ${messageOf(cause)}`,
      code: exitCode.source,
      cause,
    });
  }
  if (content.digest() !== expected.diffId)
    throw new BuildError({
      what: `The layer's content is ${content.digest()}, expected ${expected.diffId}`,
      code: exitCode.source,
    });
}

/** Counts and hashes what passes through; more than `limit` bytes are refused. */
export class Counter {
  readonly #hash = createHash('sha256');
  readonly #limit: number;
  size = 0;

  constructor(limit = Number.POSITIVE_INFINITY) {
    this.#limit = limit;
  }

  async *through(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of bytes) {
      this.size += chunk.length;
      if (this.size > this.#limit)
        throw new BuildError({
          what: `There are more bytes than the ${this.#limit} that were announced`,
          code: exitCode.source,
        });
      this.#hash.update(chunk);
      yield chunk;
    }
  }

  /** As OCI writes it: `sha256:` and 64 hex digits. */
  digest(): string {
    return `sha256:${this.#hash.copy().digest('hex')}`;
  }
}

async function* gather(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of bytes) {
    parts.push(part);
    size += part.length;
    if (size < chunkBytes) continue;
    yield Buffer.concat(parts);
    parts = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(parts);
}

/** The digest of a document, as OCI writes it. */
export function sha256Digest(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
