import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { pipeline } from 'node:stream/promises';
import { run } from '../exec.ts';
import type { Tools } from '../tools/tools.ts';

export type Compression = 'xz' | 'zstd' | 'none';

export const suffix: Record<Compression, string> = { xz: '.xz', zstd: '.zst', none: '' };

/** `<image>.partial` while it is written, so that a kill leaves nothing under the final name. */
export const partial = '.partial';

/**
 * Compresses the image beside it with all cores.
 *
 * xz splits the input into blocks in its multi-threaded mode, and `-T+1` asks for that mode even
 * with one core (xz(1)): so the bytes do not depend on how many cores the machine has.
 */
export async function compressImage(o: {
  image: string;
  compression: Exclude<Compression, 'none'>;
  level: number;
  tools: Tools;
  log: string;
  onProgress: (done: number) => void;
}): Promise<string> {
  const target = `${o.image}${suffix[o.compression]}`;
  const temporary = `${target}${partial}`;
  await rm(temporary, { force: true });
  const cores = availableParallelism();
  const watch = setInterval(() => {
    stat(temporary).then(
      ({ size }) => o.onProgress(size),
      () => undefined,
    );
  }, 500);
  try {
    if (o.compression === 'zstd')
      await o.tools.run(
        'usr/bin/zstd',
        ['-q', '-f', `-${o.level}`, `-T${cores}`, '-o', temporary, o.image],
        { log: o.log },
      );
    else await xz(o, cores, temporary);
  } finally {
    clearInterval(watch);
  }
  await run('sync', [temporary]);
  await rename(temporary, target);
  return target;
}

/** xz has no option for its output's name; the shell only redirects. */
async function xz(
  o: { image: string; level: number; tools: Tools; log: string },
  cores: number,
  target: string,
): Promise<void> {
  const command = [
    ...o.tools.command('usr/bin/xz'),
    '--stdout',
    `-${o.level}`,
    `-T+${cores}`,
    o.image,
  ];
  await run('sh', ['-c', 'out=$1; shift; exec "$@" > "$out"', 'xz', target, ...command], {
    log: o.log,
  });
}

/** SHA-256 (hex) and size of a file. */
export async function fileDigest(path: string): Promise<{ sha256: string; size: number }> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 4 * 1024 * 1024 }), hash);
  return { sha256: hash.digest('hex'), size: (await stat(path)).size };
}
