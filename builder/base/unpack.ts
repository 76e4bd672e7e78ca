import { createHash } from 'node:crypto';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BuildError, exitCode } from '../errors.ts';
import { stream } from '../exec.ts';

export type Unpacked = { path: string; sha256: string; size: number };

const piece = 64 * 1024;

/** Programs by the first bytes of what they unpack (magic numbers of the xz, gzip and zstd formats). */
const formats: { magic: Buffer; command: readonly string[] }[] = [
  { magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), command: ['xz', '-dcT0'] },
  { magic: Buffer.from([0x1f, 0x8b]), command: ['gzip', '-dc'] },
  { magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), command: ['zstd', '-dc'] },
];

/**
 * Unpacks an image (.xz, .gz, .zst, or raw) to `<directory>/<sha256>.img`, with holes where it is
 * zero, and checks size and SHA-256 on the way.
 * @throws BuildError (source) for a cut off or damaged archive or another content than expected.
 */
export async function unpackImage(o: {
  path: string;
  directory: string;
  size?: number | undefined;
  sha256?: string | undefined;
  onProgress?: (done: number, total?: number) => void;
}): Promise<Unpacked> {
  if (o.sha256) {
    const path = join(o.directory, `${o.sha256}.img`);
    const known = await stat(path).catch(() => undefined);
    if (known) return { path, sha256: o.sha256, size: known.size };
  }
  await mkdir(o.directory, { recursive: true });
  const temporary = join(o.directory, `unpacking.${process.pid}`);
  try {
    const got = await writeSparse(await unpacker(o.path), temporary, o);
    if (o.size !== undefined && got.size !== o.size)
      throw bad(o.path, `The image has ${got.size} bytes, expected ${o.size}`);
    if (o.sha256 && got.sha256 !== o.sha256)
      throw bad(o.path, `The image's SHA-256 is ${got.sha256}, expected ${o.sha256}`);
    const path = join(o.directory, `${got.sha256}.img`);
    await rename(temporary, path);
    return { path, ...got };
  } finally {
    await rm(temporary, { force: true });
  }
}

function bad(where: string, what: string): BuildError {
  return new BuildError({ what, where, fix: 'Remove the file and get it anew', code: exitCode.source });
}

async function unpacker(path: string): Promise<readonly string[]> {
  const file = await open(path);
  const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 0).finally(() => file.close());
  if (buffer.subarray(0, 4).toString('latin1') === 'PK\x03\x04')
    throw new BuildError({
      what: 'Zip archives are not unpacked',
      where: path,
      fix: 'Unzip it, and give the .img inside',
      code: exitCode.source,
    });
  const format = formats.find(({ magic }) => buffer.subarray(0, magic.length).equals(magic));
  return [...(format?.command ?? ['cat']), path];
}

async function writeSparse(
  command: readonly string[],
  target: string,
  o: { path: string; size?: number | undefined; onProgress?: (done: number, total?: number) => void },
): Promise<{ sha256: string; size: number }> {
  const hash = createHash('sha256');
  const file = await open(target, 'w');
  const zeros = Buffer.alloc(piece);
  let size = 0;
  try {
    await stream(
      command,
      async (chunk) => {
        hash.update(chunk);
        for (let at = 0; at < chunk.length; at += piece) {
          const part = chunk.subarray(at, at + piece);
          if (!part.equals(zeros.subarray(0, part.length))) await file.write(part, 0, part.length, size + at);
        }
        size += chunk.length;
        o.onProgress?.(size, o.size);
      },
      (text) => bad(o.path, `The image cannot be unpacked: ${text}`),
    );
    await file.truncate(size);
    await file.sync();
  } finally {
    await file.close();
  }
  return { sha256: hash.digest('hex'), size };
}
