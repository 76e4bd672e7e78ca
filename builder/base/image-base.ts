import { mkdir, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileDigest } from '../artifact/compress.ts';
import type { Mounts } from '../chroot/mounts.ts';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import { run } from '../exec.ts';
import type { ImageLayout } from '../image/assemble.ts';
import type { LayerStore } from '../layer/store.ts';
import { digestOf } from '../plan/digest.ts';
import type { Progress } from '../ui/progress.ts';
import { type Base, newestFile } from './base.ts';
import { bootMountPoint, type DiskLayout, readDiskLayout } from './disk-layout.ts';
import { download } from './download.ts';
import { type RemoteImage, resolveRaspios } from './os-list.ts';
import { checkDownloadSignature } from './signature.ts';
import { findRawImage, unpackImage } from './unpack.ts';

type Choice = Exclude<Config['base'][number], 'debian'>;

export type ImageBaseContext = {
  root: string;
  cache: string;
  config: Config;
  store: LayerStore;
  scratch: string;
  mounts: Mounts;
  progress: Progress;
  /** Where the same choice was found the last time: asked again only on `--refresh`. */
  remembered: RemoteImage | undefined;
};

/** A finished image, unpacked and checked. */
type Fetched = { path: string; sha256: string; source: RemoteImage };

/**
 * Makes a base of a finished image (Raspberry Pi OS, a file, a URL): its root partition is mounted
 * read-only as the lowest layer, its boot partition copied into a layer above it. Nothing of it is
 * changed; the mount goes with the build's namespace.
 */
export async function openImageBase(b: ImageBaseContext, choice: Choice): Promise<Base> {
  const kind = typeof choice === 'string' ? choice : 'file' in choice ? 'file' : 'url';
  const image = await fetchImage(b, choice);
  const disk = await readDiskLayout(image.path);
  for (const note of disk.notes) b.progress.say(note);
  const tree = join(b.scratch, 'base');
  await mountRoot(b.mounts, image.path, disk, tree);
  const bootMount = await bootMountPoint(tree);
  const bootLayer = digestOf(['bootfs', 1, image.sha256, bootMount]);
  let info = await b.store.find(bootLayer);
  info ??= await b.progress.step('base bootfs', async () => {
    const begun = performance.now();
    const layer = join(b.scratch, 'bootfs');
    await copyBoot(image.path, disk, join(layer, bootMount));
    const date = await newestFile(join(tree, 'usr'), Date.now());
    return await b.store.commit(bootLayer, layer, {
      title: `base ${kind} bootfs`,
      seconds: (performance.now() - begun) / 1000,
      facts: { date },
    });
  });
  return {
    kind,
    description: image.source.name,
    digest: digestOf(['image', image.sha256]),
    date: Number(info.facts.date),
    initFormat: initFormat(image.source.initFormat, kind),
    layout: imageLayout(disk, bootMount),
    layers: [tree, b.store.tree(bootLayer)],
    source: image.source,
  };
}

const formats = ['cloudinit', 'cloudinit-rpi', 'systemd', 'rpi-preseed', 'none'] as const;

/** Raspberry Pi OS since trixie takes cloud-init files in its own form; of others nothing is known. */
function initFormat(given: string | undefined, kind: Base['kind']): Base['initFormat'] {
  return (
    formats.find((format) => format === given) ?? (kind === 'raspios' ? 'cloudinit-rpi' : 'none')
  );
}

async function fetchImage(b: ImageBaseContext, choice: Choice): Promise<Fetched> {
  if (typeof choice === 'object' && 'file' in choice) return await localImage(b, choice);
  const downloads = join(b.cache, 'downloads');
  const source: RemoteImage =
    choice === 'raspios'
      ? (b.remembered ?? (await resolveRaspios(b.config.raspios, downloads)))
      : { name: choice.url, url: choice.url, downloadSha256: choice.sha256 };
  const raw = await findRawImage({
    directory: join(b.cache, 'bases'),
    archiveSha256: source.downloadSha256,
    size: source.extractSize,
    sha256: source.extractSha256,
  });
  if (raw) {
    b.progress.cached('download');
    return { ...raw, source };
  }
  const packed = await b.progress.step('download', (ui) =>
    download({
      url: source.url,
      directory: downloads,
      size: source.downloadSize,
      sha256: source.downloadSha256,
      onProgress: ui.progress,
    }),
  );
  const { signature } = b.config.raspios;
  if (choice === 'raspios' && signature)
    await checkDownloadSignature({
      file: packed.path,
      url: source.url,
      signature: { ...signature, keyring: resolve(b.root, signature.keyring) },
      directory: downloads,
    });
  return await unpack(b, packed.path, { ...source, downloadSha256: packed.sha256 });
}

async function localImage(
  b: ImageBaseContext,
  choice: { file: string; sha256?: string | undefined },
): Promise<Fetched> {
  const path = resolve(b.root, choice.file);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile())
    throw new BuildError({
      what: found ? 'The base is not a file' : 'There is no such base image',
      where: path,
      fix: 'Check base: - file: … in gateway.yaml',
      code: exitCode.source,
    });
  if (choice.sha256) {
    const { sha256 } = await b.progress.step('checksum of the base', () => fileDigest(path));
    if (sha256 !== choice.sha256)
      throw new BuildError({
        what: `The base's SHA-256 is ${sha256}, expected ${choice.sha256}`,
        where: path,
        fix: 'Get the image anew, or correct sha256 in gateway.yaml',
        code: exitCode.source,
      });
  }
  return await unpack(b, path, { name: choice.file, url: path });
}

async function unpack(b: ImageBaseContext, path: string, source: RemoteImage): Promise<Fetched> {
  const image = await b.progress.step('unpack', (ui) =>
    unpackImage({
      path,
      name: source.url,
      archiveSha256: source.downloadSha256,
      directory: join(b.cache, 'bases'),
      size: source.extractSize,
      sha256: source.extractSha256,
      onProgress: ui.progress,
    }),
  );
  return { ...image, source: { ...source, extractSize: image.size, extractSha256: image.sha256 } };
}

/** noload: a read-only mount must not replay the journal, that is, write (ext4(5)). */
async function mountRoot(
  mounts: Mounts,
  image: string,
  disk: DiskLayout,
  tree: string,
): Promise<void> {
  await mkdir(tree, { recursive: true });
  const { startBytes, sizeBytes } = disk.root;
  await mounts.mount(tree, [
    '-t',
    'ext4',
    '-o',
    `loop,ro,noload,offset=${startBytes},sizelimit=${sizeBytes}`,
    image,
  ]);
}

async function copyBoot(image: string, disk: DiskLayout, target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  await run('mcopy', [
    '-s',
    '-m',
    '-n',
    '-Q',
    '-i',
    `${image}@@${disk.boot.startBytes}`,
    '::*',
    target,
  ]);
  if ((await readdir(target)).length === 0)
    throw new BuildError({
      what: 'The boot partition is empty',
      where: image,
      code: exitCode.source,
    });
}

/** The base's own identities stay: its fstab and kernel command line name them. */
function imageLayout(disk: DiskLayout, bootMount: '/boot/firmware' | '/boot'): ImageLayout {
  return {
    table: disk.table,
    diskId: disk.diskId,
    boot: {
      startBytes: disk.boot.startBytes,
      sizeBytes: disk.boot.sizeBytes,
      label: disk.boot.label || 'bootfs',
      volumeId: disk.boot.uuid.replace('-', '') || '00000000',
      partUuid: disk.table === 'gpt' ? disk.boot.partUuid : undefined,
    },
    root: {
      label: disk.root.label || 'rootfs',
      uuid: disk.root.uuid,
      partUuid: disk.table === 'gpt' ? disk.root.partUuid : undefined,
    },
    bootMount,
  };
}
