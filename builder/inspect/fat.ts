import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { output, run } from '../exec.ts';
import { byName, type FileEntry, type FileSystem } from './file-system.ts';

/**
 * Copies a FAT file system's files out with mtools and reads them there: a boot partition is small.
 * @param directory a folder that lives as long as the result.
 */
export async function readFat(
  image: string,
  partition: { startBytes: number; sizeBytes: number },
  directory: string,
): Promise<FileSystem> {
  await mkdir(directory, { recursive: true });
  const place = `${image}@@${partition.startBytes}`;
  const environment = { MTOOLS_SKIP_CHECK: '1' };
  const listing = await output('mdir', ['-i', place, '::'], { env: environment });
  const top = await output('mdir', ['-a', '-b', '-i', place, '::'], { env: environment });
  if (top.trim())
    await run('mcopy', ['-s', '-n', '-i', place, '::*', directory], { env: environment });
  const files = new Map<string, FileEntry>();
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort(byName)) {
    const kind = statSync(join(directory, name));
    // FAT has neither owners nor modes.
    files.set(`/${name}`, {
      kind: kind.isDirectory() ? 'directory' : 'file',
      size: kind.isDirectory() ? 0 : kind.size,
      mode: 0o755,
      uid: 0,
      gid: 0,
    });
  }
  return {
    type: 'vfat',
    size: partition.sizeBytes,
    used: partition.sizeBytes - freeBytes(listing),
    files: new Map([...files].sort(([a], [b]) => byName(a, b))),
    content: (path) => pieces(join(directory, path)),
  };
}

/** mdir's last line: `        431 104 512 bytes free`. */
function freeBytes(listing: string): number {
  return Number(/^\s*([\d ]+) bytes free/m.exec(listing)?.[1]?.replaceAll(' ', '') ?? 0);
}

const piece = 1024 * 1024;

function* pieces(path: string): Iterable<Buffer> {
  const descriptor = openSync(path, 'r');
  try {
    for (;;) {
      const buffer = Buffer.allocUnsafe(piece);
      const length = readSync(descriptor, buffer, 0, piece, null);
      if (length === 0) return;
      yield buffer.subarray(0, length);
    }
  } finally {
    closeSync(descriptor);
  }
}
