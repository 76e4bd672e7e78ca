import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  statfs,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { settingsFile } from '../../firstboot/settings.ts';
import { fileDigest } from '../artifact/compress.ts';
import { type Partition, readDiskLayout } from '../base/disk-layout.ts';
import { formatOf, unpackImage } from '../base/unpack.ts';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import { output, run } from '../exec.ts';
import { writeBmap } from '../image/bmap.ts';
import { runs } from '../qemu/vm.ts';
import { megabytes } from '../ui/present.ts';
import type { Progress } from '../ui/progress.ts';
import type { Device } from './devices.ts';

/** A device and what is made for it: an image, or a folder with the files for its boot partition. */
export type Target = { device: Device; path: string };

export type PersonalizeRequest = {
  /** Raw, or compressed by xz, zstd, gzip or zip; never changed. */
  image: string;
  targets: readonly Target[];
  /** Folders with the files alone instead of images. */
  filesOnly: boolean;
  /** Replaces what is there. */
  force: boolean;
  progress: Progress;
  signal: AbortSignal;
};

export type Personalized = {
  device: Device;
  path: string;
  /** Bytes of the file; null for a folder. */
  size: number | null;
  sha256: string | null;
  /** Block map of the image; null where the source has none. */
  bmap: string | null;
};

/** Present on the boot partition of each image that has our first-boot service. */
const example = `${settingsFile}.example`;

/** Its content is secret, and a digest of it lets guesses at a weak password be tried. */
const secretMode = 0o600;

const environment = { MTOOLS_SKIP_CHECK: '1' };

/**
 * Makes a copy of the image for each device with its settings on the boot partition, without root.
 * All are put in their place together, when the last one is whole; whatever ends it before leaves
 * nothing.
 * @throws BuildError: code `usage` if something is in the way, `source` if the image is not one of
 *   ours, `host` if the disk is too small, `interrupted`.
 */
export async function personalize(o: PersonalizeRequest): Promise<Personalized[]> {
  await checkTargets(o);
  const folder = dirname(o.targets[0]?.path ?? '.');
  const firstMade = await makeFolder(folder);
  try {
    return await withScratch(folder, (scratch) => personalizeIn(o, scratch));
  } catch (error) {
    if (firstMade !== undefined) await removeEmpty(folder, firstMade);
    // Ctrl-C reaches the command that runs, too: its end may be seen before our own signal.
    await new Promise((next) => setImmediate(next));
    if (o.signal.aborted) throw interrupted();
    throw error;
  }
}

async function personalizeIn(o: PersonalizeRequest, scratch: string): Promise<Personalized[]> {
  const { progress } = o;
  const packed = (await formatOf(o.image)) !== 'raw';
  const raw = packed
    ? await progress.step('unpack', async (ui) => {
        const unpacked = await unpackImage({
          path: o.image,
          directory: join(scratch, 'source'),
          signal: o.signal,
          onProgress: (done, total) => ui.progress(done, total),
        });
        return unpacked.path;
      })
    : o.image;
  const { boot } = await readDiskLayout(raw);
  await checkBootPartition(o.image, raw, boot);
  if (!o.filesOnly) await checkSpace(raw, o.targets.length, scratch);
  const withBmap = await isThere(`${rawName(o.image)}.bmap`);
  const made: { from: string; to: string }[] = [];
  const results: Personalized[] = [];
  for (const [index, target] of o.targets.entries()) {
    const work = join(scratch, `device-${index}`);
    await mkdir(work, { mode: 0o700 });
    const settings = join(work, settingsFile);
    await writeFile(settings, target.device.text, { mode: secretMode });
    if (o.filesOnly) {
      made.push({ from: settings, to: join(target.path, settingsFile) });
      results.push({ ...target, size: null, sha256: null, bmap: null });
      continue;
    }
    results.push(
      await progress.step(target.device.name, async () => {
        const files = await makeImage({ ...o, raw, boot, work, settings, target, withBmap });
        made.push(...files.moves);
        return files.result;
      }),
    );
    o.signal.throwIfAborted();
  }
  for (const { from, to } of made) {
    if (o.filesOnly) await mkdir(dirname(to), { recursive: true, mode: 0o700 });
    await rename(from, to);
  }
  return results;
}

type ImageRequest = PersonalizeRequest & {
  raw: string;
  boot: Partition;
  work: string;
  settings: string;
  target: Target;
  withBmap: boolean;
};

async function makeImage(
  o: ImageRequest,
): Promise<{ moves: { from: string; to: string }[]; result: Personalized }> {
  const { path, device } = o.target;
  const copy = join(o.work, basename(rawName(path)));
  await run('cp', ['--reflink=auto', '--sparse=always', o.raw, copy], { signal: o.signal });
  await chmod(copy, secretMode);
  await writeSettings(copy, o.boot, o.settings, o.work);
  const bmap = o.withBmap ? `${copy}.bmap` : undefined;
  if (bmap) await writeBmap(copy, bmap);
  o.signal.throwIfAborted();
  const image = await compressAs(path, copy, o.signal);
  const { sha256, size } = await fileDigest(image);
  const sums = join(o.work, `${basename(path)}.sha256`);
  // As sha256sum(1) --check reads it.
  await writeFile(sums, `${sha256}  ${basename(path)}\n`);
  const moves = [image, ...(bmap ? [bmap] : []), sums].map((from) => ({
    from,
    to: join(dirname(path), basename(from)),
  }));
  for (const { from } of moves) await chmod(from, secretMode);
  await run(
    'sync',
    moves.map(({ from }) => from),
  );
  return {
    moves,
    result: {
      device,
      path,
      size,
      sha256,
      bmap: bmap ? join(dirname(path), basename(bmap)) : null,
    },
  };
}

/** Writes the owner's file into the FAT partition, and reads it back. */
async function writeSettings(
  image: string,
  boot: Partition,
  settings: string,
  work: string,
): Promise<void> {
  const place = `${image}@@${boot.startBytes}`;
  await run('mcopy', ['-n', '-i', place, settings, `::${settingsFile}`], {
    env: environment,
    fix: 'The boot partition may be full: look at it with pi-gateway-image inspect IMAGE',
  });
  const back = join(work, 'read-back');
  await run('mcopy', ['-n', '-i', place, `::${settingsFile}`, back], { env: environment });
  if (!(await readFile(back)).equals(await readFile(settings)))
    throw new BuildError({
      what: `${settingsFile} cannot be read back from the boot partition as it was written`,
      where: image,
      fix: 'Check the image: fsck.fat -n on its boot partition',
    });
  await rm(back);
}

/** The file that the name asks for: raw, .xz or .zst. xz(1) and zstd(1) put it beside, with its mode. */
async function compressAs(path: string, image: string, signal: AbortSignal): Promise<string> {
  if (path.endsWith('.xz')) {
    await run('xz', ['--threads=0', '-6', image], { signal });
    return `${image}.xz`;
  }
  if (path.endsWith('.zst')) {
    await run('zstd', ['--quiet', '--threads=0', '--rm', image], { signal });
    return `${image}.zst`;
  }
  return image;
}

/** Without the ending of a compressed file: what a .bmap beside it is named after. */
export function rawName(path: string): string {
  return path.replace(/\.(xz|zst|gz|zip)$/, '');
}

async function checkTargets(o: PersonalizeRequest): Promise<void> {
  for (const { path } of o.targets) {
    if (resolve(path) === resolve(o.image) || (await sameFile(path, o.image)))
      throw new BuildError({
        what: 'The result would replace the image itself',
        where: path,
        fix: 'Give another name with --output',
        code: exitCode.usage,
      });
    if (!o.filesOnly && /\.(gz|zip)$/.test(path))
      throw new BuildError({
        what: 'The result can be a raw image, .xz or .zst',
        where: path,
        fix: 'Give a name that ends with .img, .img.xz or .img.zst',
        code: exitCode.usage,
      });
    if (o.force) continue;
    for (const there of o.filesOnly ? [path] : [path, `${path}.sha256`, `${rawName(path)}.bmap`])
      if (await isThere(there))
        throw new BuildError({
          what: 'There is something of that name already',
          where: there,
          fix: 'Give another --output, or --force to replace it',
          code: exitCode.usage,
        });
  }
}

async function checkBootPartition(image: string, raw: string, boot: Partition): Promise<void> {
  const listing = await output('mdir', ['-b', '-i', `${raw}@@${boot.startBytes}`, '::'], {
    env: environment,
  });
  // FAT's names have no case.
  const names = new Set(listing.split('\n').map((line) => line.replace(/^::\//, '').toLowerCase()));
  if (!names.has(example))
    throw new BuildError({
      what: `The image has no first-boot service that reads ${settingsFile}: its boot partition has no ${example}`,
      where: image,
      fix: 'Give an image that this builder made, with the stage firstboot on',
      code: exitCode.source,
    });
  if (names.has(settingsFile))
    throw new BuildError({
      what: `The image is of one device already: its boot partition has a ${settingsFile}`,
      where: image,
      // Deleting the file would leave its bytes, and so another device's secrets, on the partition.
      fix: 'Give the image as it was built',
      code: exitCode.source,
    });
}

/** Each copy takes what the image has in use, unless the file system lets copies share blocks. */
async function checkSpace(raw: string, copies: number, scratch: string): Promise<void> {
  const { blocks } = await stat(raw);
  // stat(2): st_blocks counts units of 512 bytes.
  const needed = blocks * 512 * copies;
  const { bavail, bsize } = await statfs(scratch);
  const free = bavail * bsize;
  if (needed <= free || (await sharesBlocks(raw, scratch))) return;
  throw new BuildError({
    what: `No space for ${copies} ${copies === 1 ? 'image' : 'images'}: ${megabytes(needed)} are needed, ${megabytes(free)} are free`,
    where: dirname(scratch),
    fix: 'Free some space, give --output on another disk, or make the files alone with --files-only',
    code: exitCode.host,
  });
}

async function sharesBlocks(raw: string, scratch: string): Promise<boolean> {
  const probe = join(scratch, 'probe');
  const { exitCode: code } = await run('cp', ['--reflink=always', raw, probe], { okCodes: [1] });
  await rm(probe, { force: true });
  return code === 0;
}

const prefix = '.pi-gateway-personalize-';

/**
 * A folder for what is not whole yet, on the results' own file system, so that they are renamed into
 * place. Those of processes that were killed are removed: they hold secrets.
 */
async function withScratch<T>(folder: string, work: (scratch: string) => Promise<T>): Promise<T> {
  for (const name of await readdir(folder)) {
    const owner = name.startsWith(prefix) && /^(\d+)-/.exec(name.slice(prefix.length))?.[1];
    if (owner && !runs(Number(owner)))
      await rm(join(folder, name), { recursive: true, force: true });
  }
  const scratch = await mkdtemp(join(folder, `${prefix}${process.pid}-`));
  try {
    return await work(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Makes a folder with those that it lies in; gives the outermost one that was not there. */
async function makeFolder(folder: string): Promise<string | undefined> {
  try {
    return await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new BuildError({
      what: 'The folder for the results cannot be made',
      where: folder,
      detail: messageOf(cause),
      fix: 'Give another place with --output',
      code: exitCode.usage,
      cause,
    });
  }
}

/** Removes folders that were made for nothing, from the inner one out. */
async function removeEmpty(folder: string, outermost: string): Promise<void> {
  for (let at = folder; ; at = dirname(at)) {
    await rmdir(at).catch(() => undefined);
    if (at === outermost || at === dirname(at)) return;
  }
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

async function sameFile(a: string, b: string): Promise<boolean> {
  const [one, two] = await Promise.all([a, b].map((path) => stat(path).catch(() => undefined)));
  return one !== undefined && one.ino === two?.ino && one.dev === two.dev;
}

function interrupted(): BuildError {
  return new BuildError({
    what: 'Interrupted: nothing was made',
    code: exitCode.interrupted,
    fix: 'Start it again when it suits',
  });
}
