import { closeSync, openSync } from 'node:fs';
import { access, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DiskLayout, readDiskLayout } from '../base/disk-layout.ts';
import { formatOf, unpackImage } from '../base/unpack.ts';
import { BuildError, exitCode } from '../errors.ts';
import { readExt4 } from './ext4.ts';
import { readFat } from './fat.ts';
import type { FileSystem } from './file-system.ts';

export type OpenImage = {
  /** As it was given. */
  path: string;
  /** The raw image: `path` itself, or where it was unpacked to. */
  raw: string;
  /** Of the raw image, in bytes. */
  size: number;
  layout: DiskLayout;
  boot: FileSystem;
  root: FileSystem;
  close(): Promise<void>;
};

/**
 * Opens a disk image for reading: raw, or compressed by xz, zstd, gzip or zip (then it is unpacked
 * to a temporary file). Needs neither root nor a mount.
 */
export async function openImage(path: string): Promise<OpenImage> {
  await access(path).catch((cause) => {
    throw new BuildError({
      what: 'There is no such image, or it cannot be read',
      where: path,
      fix: 'Give the path of an .img, .img.xz or .img.zst',
      code: exitCode.usage,
      cause,
    });
  });
  const scratch = await mkdtemp(join(tmpdir(), 'pi-gateway-inspect-'));
  let descriptor: number | undefined;
  const close = async () => {
    if (descriptor !== undefined) closeSync(descriptor);
    descriptor = undefined;
    await rm(scratch, { recursive: true, force: true });
  };
  try {
    const raw =
      (await formatOf(path)) === 'raw'
        ? path
        : (await unpackImage({ path, directory: scratch })).path;
    const layout = await readDiskLayout(raw);
    descriptor = openSync(raw, 'r');
    return {
      path,
      raw,
      size: (await stat(raw)).size,
      layout,
      boot: await readFat(raw, layout.boot, join(scratch, 'boot')),
      root: readExt4(descriptor, layout.root.startBytes, path),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens an image, hands it to `use`, and closes it whatever happens. */
export async function withImage<T>(
  path: string,
  use: (image: OpenImage) => T | Promise<T>,
): Promise<T> {
  const image = await openImage(path);
  try {
    return await use(image);
  } finally {
    await image.close();
  }
}
