import { mkdir, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BuildError, exitCode, isErrno, messageOf } from '../errors.ts';
import { run } from '../exec.ts';

/**
 * An empty `<cache>/tmp` for this build. What a killed build left there is removed: the build lock
 * says that nobody uses it, and its mounts went with its namespace.
 */
export async function freshScratch(cache: string): Promise<string> {
  const scratch = join(cache, 'tmp');
  try {
    await rm(scratch, { recursive: true, force: true });
    await mkdir(scratch, { recursive: true });
  } catch (cause) {
    throw new BuildError({
      what: `The cache directory cannot be used: ${messageOf(cause)}`,
      where: cache,
      fix: 'Set paths.cache in gateway.yaml to a directory on a local disk (ext4, xfs or btrfs)',
      code: exitCode.host,
      cause,
    });
  }
  return scratch;
}

/** Bytes that a first build needs at its peak: tools, base, layers, raw image and its compressed copy. */
const roomForFirstBuild = 6e9;

/**
 * Checks that the cache's file system has room and can hold overlayfs layers.
 * @throws BuildError that says what the directory lacks.
 */
export async function checkCacheDisk(cache: string, scratch: string, warm: boolean): Promise<void> {
  const { bavail, bsize } = await statfs(cache);
  const free = bavail * bsize;
  const wanted = warm ? roomForFirstBuild / 4 : roomForFirstBuild;
  if (free < wanted)
    throw new BuildError({
      what: `Too little disk space: ${gigabytes(free)} GB free, a build needs about ${gigabytes(wanted)} GB`,
      where: cache,
      fix: 'Free some, run `pi-gateway-image cache prune`, or set paths.cache in gateway.yaml to another disk',
      code: exitCode.host,
    });
  const probe = join(scratch, 'probe');
  for (const name of ['lower', 'upper', 'work', 'root'])
    await mkdir(join(probe, name), { recursive: true });
  await writeFile(join(probe, 'lower', 'file'), '');
  await run(
    'mount',
    [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${join(probe, 'lower')},upperdir=${join(probe, 'upper')},workdir=${join(probe, 'work')}`,
      join(probe, 'root'),
    ],
    {
      fix: 'Set paths.cache in gateway.yaml to a directory on ext4, xfs or btrfs (overlayfs layers cannot lie on overlayfs, NFS or FAT)',
    },
  );
  await run('umount', [join(probe, 'root')]);
  await rm(probe, { recursive: true });
}

/** Bytes as gigabytes with one decimal. */
export function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(1);
}

/** Bytes that a directory's files take on disk; 0 if it does not exist. */
export async function diskUsage(directory: string): Promise<number> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    const sizes = await Promise.all(
      entries
        .filter((entry) => entry.isFile())
        .map(
          async (entry) =>
            (await stat(join(entry.parentPath, entry.name)).catch(() => undefined))?.blocks ?? 0,
        ),
    );
    return sizes.reduce((sum, blocks) => sum + blocks * 512, 0);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 0;
    throw error;
  }
}
