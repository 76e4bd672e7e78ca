import { access, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DiskLayout, readDiskLayout } from '../base/disk-layout.ts';
import { unpackImage } from '../base/unpack.ts';
import { BuildError, exitCode } from '../errors.ts';
import { output, run } from '../exec.ts';

/** An image opened for reading, without root and without mounting it. */
export type OpenImage = { raw: string; layout: DiskLayout; scratch: string };

/** Hands an image (.img, .xz, .zst, .gz) to `work` in raw form; removes what it had to unpack. */
export async function withImage<T>(
  path: string,
  work: (image: OpenImage) => Promise<T>,
): Promise<T> {
  await access(path).catch((cause) => {
    throw new BuildError({
      what: 'There is no such image',
      where: path,
      fix: 'Check the path; builds leave theirs in output/<name>/',
      code: exitCode.usage,
      cause,
    });
  });
  const scratch = await mkdtemp(join(tmpdir(), 'pi-gateway-inspect-'));
  try {
    const raw = path.endsWith('.img')
      ? path
      : (await unpackImage({ path, directory: join(scratch, 'raw') })).path;
    return await work({ raw, layout: await readDiskLayout(raw), scratch });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A file of the root partition; undefined if there is none. */
export async function readRootFile(image: OpenImage, path: string): Promise<string | undefined> {
  const { stdout, stderr } = await run('debugfs', ['-R', `cat "${path}"`, rootDevice(image)]);
  return /File not found/.test(stderr) ? undefined : stdout;
}

/** e2fsprogs' way to name a file system that starts inside a file. */
export function rootDevice(image: OpenImage): string {
  return `${image.raw}?offset=${image.layout.root.startBytes}`;
}

export type CatalogEntry = { mode: number; uid: number; gid: number; size: number };

/** Every path of the root partition with mode, owner and size: one debugfs(8) run a directory level. */
export async function catalog(image: OpenImage): Promise<Map<string, CatalogEntry>> {
  const found = new Map<string, CatalogEntry>();
  let level = [''];
  while (level.length > 0) {
    const script = level.map((path) => `ls -p "${path || '/'}"`).join('\n');
    const text = await output('debugfs', ['-f', '-', rootDevice(image)], { input: `${script}\n` });
    const next: string[] = [];
    let index = -1;
    for (const line of text.split('\n')) {
      if (line.startsWith('debugfs: ')) {
        index += 1;
        continue;
      }
      const [, , mode = '', uid, gid, name = '', size] = line.split('/');
      if (!name || name === '.' || name === '..') continue;
      const path = `${level[index] ?? ''}/${name}`;
      const entry = {
        mode: Number.parseInt(mode, 8),
        uid: Number(uid),
        gid: Number(gid),
        size: Number(size || 0),
      };
      found.set(path, entry);
      if ((entry.mode & 0o170000) === 0o040000) next.push(path);
    }
    level = next;
  }
  return found;
}

/** Copies both partitions' files into a folder: rootfs/ and bootfs/. */
export async function extract(image: OpenImage, folder: string): Promise<void> {
  await mkdir(join(folder, 'rootfs'), { recursive: true });
  await mkdir(join(folder, 'bootfs'), { recursive: true });
  await run('debugfs', ['-R', `rdump / "${join(folder, 'rootfs')}"`, rootDevice(image)]);
  const partition = `${image.raw}@@${image.layout.boot.startBytes}`;
  await run('mcopy', ['-s', '-n', '-Q', '-i', partition, '::*', join(folder, 'bootfs')]);
}

/** Installed packages by name, from a dpkg status file. */
export function packagesOf(status: string): Record<string, string> {
  const packages: Record<string, string> = {};
  for (const paragraph of status.split('\n\n')) {
    const name = /^Package: (.*)$/m.exec(paragraph)?.[1];
    const version = /^Version: (.*)$/m.exec(paragraph)?.[1];
    if (name && version && /^Status: install ok installed$/m.test(paragraph))
      packages[name] = version;
  }
  return packages;
}
