import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { editDistance } from '../config/nearest.ts';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import { download } from './download.ts';

/** An image to download: from an os_list, or by its URL alone. */
export type RemoteImage = {
  url: string;
  name: string;
  downloadSize?: number | undefined;
  downloadSha256?: string | undefined;
  extractSize?: number | undefined;
  extractSha256?: string | undefined;
  releaseDate?: string | undefined;
  /** How Raspberry Pi Imager customises it; not known for a direct URL. */
  initFormat?: InitFormat | undefined;
};

const initFormats = ['systemd', 'cloudinit', 'cloudinit-rpi', 'rpi-preseed', 'none'] as const;
export type InitFormat = (typeof initFormats)[number];

const sha256 = z.string().regex(/^[0-9a-f]{64}$/i, 'must be 64 hex digits');

/** What we need of an image's entry; Raspberry Pi Imager's os_list has more, and gets more. */
const imageEntry = z.looseObject({
  name: z.string(),
  url: z.url({ protocol: /^https?$/ }),
  extract_size: z.number().int().positive(),
  extract_sha256: sha256,
  image_download_size: z.number().int().positive(),
  image_download_sha256: sha256.optional(),
  release_date: z.string().optional(),
  init_format: z.enum(['', ...initFormats]).optional(),
});

/** Any entry, so that a mistake in one image doesn't take away the others. */
type Entry = {
  name: string;
  url?: unknown;
  subitems_url?: unknown;
  subitems?: unknown;
  [key: string]: unknown;
};

/** Lists that one lookup fetches at most. */
const maxLists = 40;

/**
 * Finds the image that the configuration asks for: `url`, or `image` in `os_list`. Lists that the
 * list points to (`subitems_url`) are only fetched if the name is not found before.
 * @param directory the download cache, as for {@link download}.
 * @throws BuildError that lists the names nearest to the one asked for.
 */
export async function resolveRaspios(
  options: Config['raspios'],
  directory: string,
  signal?: AbortSignal,
): Promise<RemoteImage> {
  if (options.url) return direct(options.url, options);
  const more: string[] = [];
  const skipped: string[] = [];
  const names: string[] = [];
  const queue = [options.os_list];
  for (let n = 0; n < queue.length && n < maxLists; n++) {
    const list = queue[n] ?? '';
    try {
      const entries = flatten(await readList(list, directory, signal));
      const found = entries.find((entry) => entry.name === options.image && !isFolder(entry));
      if (found) return pinned(source(found, list), options);
      const folder = entries.find((entry) => entry.name === options.image);
      if (folder) throw notAnImage(folder, list);
      for (const entry of entries) {
        if (typeof entry.subitems_url === 'string') more.push(entry.subitems_url);
        if (!isFolder(entry)) names.push(entry.name);
      }
    } catch (error) {
      // Another vendor's broken list must not hide this one's images.
      if (n === 0 || (error instanceof BuildError && error.code !== exitCode.source)) throw error;
      skipped.push(`${list}: ${messageOf(error)}`);
    }
    for (const url of more.splice(0)) if (!queue.includes(url)) queue.push(url);
  }
  throw new BuildError({
    what: `There is no image '${options.image}' in the list`,
    where: options.os_list,
    fix: `Set raspios.image to one of its names. The nearest: ${nearNames(options.image, names)}`,
    ...(skipped.length > 0 ? { detail: `Not read:\n${skipped.join('\n')}` } : {}),
    code: exitCode.source,
  });
}

function direct(url: string, options: Config['raspios']): RemoteImage {
  const checked = options.sha256 ?? options.extract_sha256 ?? options.signature;
  if (new URL(url).protocol === 'http:' && !checked)
    throw new BuildError({
      what: 'An image over plain http can be replaced by anyone on the way, and nothing would tell',
      where: `raspios.url ${url}`,
      fix: 'Take an https URL, or set raspios.sha256',
      code: exitCode.usage,
    });
  return {
    url,
    name: decodeURIComponent(new URL(url).pathname.split('/').at(-1) ?? '') || url,
    downloadSha256: options.sha256 ?? undefined,
    extractSha256: options.extract_sha256 ?? undefined,
  };
}

async function readList(url: string, directory: string, signal?: AbortSignal): Promise<Entry[]> {
  const { path } = await download({ url, directory, retries: 2, signal });
  let list: unknown;
  try {
    list = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw notAList(url, messageOf(error));
  }
  const parsed = z.looseObject({ os_list: z.array(z.unknown()) }).safeParse(list);
  if (!parsed.success) throw notAList(url, 'it has no os_list');
  return entriesOf(parsed.data.os_list);
}

function notAList(url: string, why: string): BuildError {
  return new BuildError({
    what: `This is no os_list of Raspberry Pi Imager: ${why}`,
    where: url,
    fix: 'Check raspios.os_list',
    code: exitCode.source,
  });
}

function entriesOf(items: readonly unknown[]): Entry[] {
  return items.filter(
    (item): item is Entry =>
      typeof item === 'object' && item !== null && 'name' in item && typeof item.name === 'string',
  );
}

/** All entries of a list, those in folders after the folder. */
function flatten(entries: readonly Entry[]): Entry[] {
  return entries.flatMap((entry) => [entry, ...flatten(insideOf(entry))]);
}

function insideOf(entry: Entry): Entry[] {
  return Array.isArray(entry.subitems) ? entriesOf(entry.subitems) : [];
}

function isFolder(entry: Entry): boolean {
  return entry.url === undefined;
}

function notAnImage(folder: Entry, list: string): BuildError {
  const inside = flatten(insideOf(folder)).filter((entry) => !isFolder(entry));
  return new BuildError({
    what: `'${folder.name}' is a group of images, not an image`,
    where: list,
    fix:
      inside.length > 0
        ? `Set raspios.image to one of: ${quoted(inside.map((entry) => entry.name))}`
        : 'Set raspios.image to the name of an image',
    code: exitCode.usage,
  });
}

function source(entry: Entry, list: string): RemoteImage {
  const parsed = imageEntry.safeParse(entry);
  if (!parsed.success)
    throw new BuildError({
      what: `The list's entry for '${entry.name}' cannot be used: ${parsed.error.issues
        .map((issue) => `${issue.path.join('.')}: ${issue.message}`)
        .join('; ')}`,
      where: list,
      fix: 'Take another list, or set raspios.url and raspios.sha256',
      code: exitCode.source,
    });
  const image = parsed.data;
  return {
    url: image.url,
    name: image.name,
    downloadSize: image.image_download_size,
    downloadSha256: image.image_download_sha256?.toLowerCase(),
    extractSize: image.extract_size,
    extractSha256: image.extract_sha256.toLowerCase(),
    releaseDate: image.release_date,
    // An empty one means that Imager offers no customisation (os_list schema).
    initFormat: image.init_format === '' ? 'none' : image.init_format,
  };
}

/** The checksums of the configuration are stronger than the list's, which may move on. */
function pinned(image: RemoteImage, options: Config['raspios']): RemoteImage {
  const pins = [
    ['sha256', options.sha256, image.downloadSha256],
    ['extract_sha256', options.extract_sha256, image.extractSha256],
  ] as const;
  for (const [key, pin, listed] of pins) {
    if (pin && listed && pin !== listed)
      throw new BuildError({
        what: `The list now has another image '${image.name}'${image.releaseDate ? ` (${image.releaseDate})` : ''} than raspios.${key} asks for: ${listed}, not ${pin}`,
        where: image.url,
        fix: `Set raspios.url to the older image, or raspios.${key} to the new one's`,
        code: exitCode.source,
      });
  }
  return {
    ...image,
    downloadSha256: options.sha256 ?? image.downloadSha256,
    extractSha256: options.extract_sha256 ?? image.extractSha256,
  };
}

/** The five names with the fewest letters to change, whatever their case. */
function nearNames(name: string, names: readonly string[]): string {
  const distance = (other: string) => editDistance(name.toLowerCase(), other.toLowerCase());
  const near = [...new Set(names)]
    .map((other) => ({ other, distance: distance(other) }))
    .toSorted((a, b) => a.distance - b.distance)
    .slice(0, 5)
    .map(({ other }) => other);
  return near.length > 0 ? quoted(near) : 'none, the list is empty';
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}
