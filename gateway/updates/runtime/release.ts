import * as z from 'zod';
import { type PublicKey, SignatureError, verifyFile } from '../../../builder/trust/minisign.ts';
import { GatewayError } from '../../errors.ts';

/** What the publisher of runtimes says, and what of it a device takes; no effects. */

export const version = z
  .string()
  .regex(/^(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})$/, 'must be like 1.2.3');

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** Bytes; a runtime has some three. */
export const longestBundle = 32 * 1024 * 1024;

export const release = z.strictObject({
  version,
  /** The oldest runtime that can be replaced by it. */
  minimum: version,
  /** Name of the bundle, beside the index. */
  file: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$/),
  size: z.number().int().min(1).max(longestBundle),
  sha256,
});
export type Release = z.output<typeof release>;

export const releaseIndex = z.strictObject({
  format: z.literal(1),
  /** Grows with each index: an older one is no news. */
  serial: z.number().int().min(1),
  issued_at: z.iso.datetime(),
  /** Who withholds newer ones can do so until then. */
  expires_at: z.iso.datetime(),
  releases: z.array(release).max(100),
});
export type ReleaseIndex = z.output<typeof releaseIndex>;

/** manifest.json in a bundle: every other file of it, by its path. */
export const manifest = z.strictObject({
  format: z.literal(1),
  version,
  minimum: version,
  files: z.record(
    z.string().regex(/^([a-z0-9][A-Za-z0-9_-]*\/)?[A-Za-z0-9][A-Za-z0-9._-]*$/),
    sha256,
  ),
});
export type Manifest = z.output<typeof manifest>;

export function compareVersions(a: string, b: string): number {
  const [x, y] = [a.split('.').map(Number), b.split('.').map(Number)];
  for (let i = 0; i < 3; i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

const refuse = (message: string, fix: string) => new GatewayError(message, fix, 'refused');

/** The newest index that was ever taken. */
export type Seen = { serial: number; issued_at: string };

/**
 * Reads an index, if it is signed by a key of the image, not over, and not older than what was seen.
 * @throws GatewayError if it is not to be taken.
 */
export function readIndex(
  content: Buffer,
  signature: string,
  keys: readonly PublicKey[],
  seen: Seen | undefined,
  now: number,
): ReleaseIndex {
  try {
    verifyFile(content, signature, keys);
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error;
    throw refuse(
      `The list of runtimes is not taken: ${error.message}`,
      'Somebody may stand between, or the address is another publisher’s: see updates.runtime in the settings',
    );
  }
  let index: ReleaseIndex;
  try {
    index = releaseIndex.parse(JSON.parse(content.toString('utf8')));
  } catch {
    throw refuse(
      'The list of runtimes is signed, but of a form that this version does not know',
      'Flash a newer image',
    );
  }
  if (Date.parse(index.expires_at) <= now)
    throw refuse(
      `The list of runtimes was good until ${index.expires_at}`,
      'Its publisher has to sign a new one; if the clock of the gateway is wrong: timedatectl',
    );
  if (
    seen &&
    (index.serial < seen.serial ||
      (index.serial === seen.serial && index.issued_at !== seen.issued_at))
  )
    throw refuse(
      `The list of runtimes has number ${index.serial}, and number ${seen.serial} was there already`,
      'Somebody may hand out an old one; try again later',
    );
  return index;
}

/** The newest runtime that can replace this one. @returns undefined if there is none. */
export function newest(index: ReleaseIndex, current: string): Release | undefined {
  return index.releases
    .filter(
      (one) =>
        compareVersions(one.version, current) > 0 && compareVersions(one.minimum, current) <= 0,
    )
    .sort((a, b) => compareVersions(b.version, a.version))[0];
}
