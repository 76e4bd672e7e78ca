import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { at, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import type { PinnedImage } from './app.ts';
import { type Owner, podman } from './owner.ts';
import { archivesFolder } from './places.ts';
import { imageDigest, imageReference } from './template.ts';

/**
 * Images by digest: found among those that are there, loaded from the image's own archives, or pulled from the
 * registry that their name says.
 */

/** The image as a unit names it: what was looked at is what runs. */
export function pinnedName({ reference, digest }: PinnedImage): string {
  return `${reference.replace(/:[^:/]+$/, '')}@${digest}`;
}

/**
 * A name of ours beside the image's own: when a newer one takes that, the old one is still found by name and digest,
 * and is there for a roll-back.
 */
const keptName = ({ reference, digest }: PinnedImage): string =>
  `${reference.replace(/:[^:/]+$/, '')}:pi-gateway-${digest.slice('sha256:'.length, 'sha256:'.length + 16)}`;

/**
 * @param how `newest` asks the registry even if there is one of the name; where no registry answers, what is
 *   there counts: it may have been loaded from a file.
 */
export async function resolveImage(
  system: System,
  owner: Owner,
  wanted: { reference: string; digest: string | null },
  how: 'there' | 'newest',
): Promise<PinnedImage> {
  const found = await findImage(system, owner, wanted, how);
  await podman(owner, 'tag', pinnedName(found), keptName(found));
  return found;
}

/** Forgets images that are not among those to keep; one that a container still has stays. */
export async function dropImages(
  owner: Owner,
  images: readonly PinnedImage[],
  keep: readonly PinnedImage[],
): Promise<void> {
  const kept = new Set(keep.flatMap((one) => [keptName(one), one.reference]));
  const names = images.flatMap((one) => [keptName(one), one.reference]);
  for (const name of new Set(names.filter((one) => !kept.has(one))))
    await podman(owner, 'rmi', '--ignore', name).catch(() => '');
}

async function findImage(
  system: System,
  owner: Owner,
  { reference, digest }: { reference: string; digest: string | null },
  how: 'there' | 'newest',
): Promise<PinnedImage> {
  const name = digest === null ? reference : pinnedName({ reference, digest });
  let there = await digestOf(owner, name);
  if (there === undefined && (await loadArchives(system, owner)))
    there = await digestOf(owner, name);
  if (there !== undefined && (how === 'there' || digest !== null))
    return { reference, digest: digest ?? there };
  try {
    await podman(owner, 'pull', '--quiet', '--retry=2', name);
  } catch (cause) {
    if (there !== undefined) return { reference, digest: there };
    throw new GatewayError(
      `The image ${name} is not on this device, and cannot be pulled: ${lastLine(cause)}`,
      'Is there a way to the internet? Or bring it as a file: podman save --format oci-archive elsewhere, and here: sudo pi-gateway container load FILE',
    );
  }
  const pulled = await digestOf(owner, name);
  if (pulled === undefined)
    throw new GatewayError(
      `The image ${name} was pulled and is not there`,
      'See what Podman has: sudo pi-gateway container images',
    );
  return { reference, digest: digest ?? pulled };
}

async function digestOf(owner: Owner, name: string): Promise<string | undefined> {
  const text = await podman(owner, 'image', 'inspect', '--format', '{{.Digest}}', name).catch(
    () => '',
  );
  const parsed = imageDigest.safeParse(text.trim());
  return parsed.success ? parsed.data : undefined;
}

/** Loads what the image of the device brought. @returns whether there was anything. */
async function loadArchives(system: System, owner: Owner): Promise<boolean> {
  const folder = at(system, archivesFolder);
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const archives = names.filter((one) => one.endsWith('.tar')).sort();
  for (const file of archives) await loadImage(owner, join(folder, file));
  return archives.length > 0;
}

/**
 * Loads an archive, as `podman save` or `skopeo copy` write it: OCI or Docker's.
 * @param as the image's name, if the archive has none.
 * @returns the names of the images in it.
 */
export async function loadImage(owner: Owner, file: string, as?: string): Promise<string[]> {
  if (as !== undefined && !imageReference.safeParse(as).success)
    throw new GatewayError(
      `${as} is no name for an image`,
      'Name registry, path and version, e.g. docker.io/grafana/grafana:12.1.1',
      'refused',
    );
  const said = await owner.feed(file, 'podman', ['load', '--quiet']).catch((cause: unknown) => {
    throw new GatewayError(
      `${file} does not load: ${lastLine(cause)}`,
      'It must be an image as podman save or skopeo copy write it: an OCI archive, or Docker’s',
      'refused',
    );
  });
  const found = [...said.matchAll(/^Loaded images?: *(.+)$/gm)].flatMap((one) =>
    (one[1] ?? '').split(/,\s*/),
  );
  const [first] = found;
  if (first === undefined)
    throw new GatewayError(`${file} has no image in it`, 'Write it anew', 'refused');
  if (as !== undefined) {
    await podman(owner, 'tag', first, as);
    return [as];
  }
  if (found.every((one) => one.startsWith('sha256:')))
    throw new GatewayError(
      `The image in ${file} has no name, so no app finds it`,
      'Give it one: sudo pi-gateway container load FILE --as docker.io/grafana/grafana:12.1.1',
      'refused',
    );
  return found;
}

function lastLine(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause);
  return (text.trim().split('\n').at(-1) ?? '').slice(0, 300);
}
