import { readFile } from 'node:fs/promises';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { BuildError, exitCode, isErrno } from '../errors.ts';
import { byName } from '../inspect/file-system.ts';
import { digestOf } from '../plan/digest.ts';
import { replaceFile } from '../state.ts';

/** Name of the lock file, beside gateway.yaml. */
export const lockName = 'gateway.lock';

/** One package as it is locked. */
export type Pin = {
  version: string;
  /** Of the .deb; a manifest has none. */
  sha256?: string | undefined;
};

export type Pins = Record<string, Pin>;

/** One line a package, so that a change of one is a change of one line. */
const pinText = z
  .string()
  .regex(/^\S+( sha256:[0-9a-f]{64})?$/, "must be 'VERSION sha256:HEX'")
  .transform((text): Pin => {
    const [version = '', hash] = text.split(' sha256:');
    return { version, ...(hash === undefined ? {} : { sha256: hash }) };
  });

const pins = z.record(z.string(), pinText);

const lockSchema = z.strictObject({
  version: z.literal(1),
  archive: z.strictObject({
    /** Names the layers that were made for this lock: a cache or registry that has them is enough. */
    state: z.string(),
    suite: z.string(),
    components: z.array(z.string()),
    mirror: z.string().nullable(),
    security_mirror: z.string().nullable(),
  }),
  base: z.union([
    z.strictObject({ kind: z.literal('debian'), asks: z.array(z.string()), packages: pins }),
    z.strictObject({
      kind: z.enum(['raspios', 'file', 'url']),
      name: z.string(),
      url: z.string(),
      download_sha256: z.string().optional(),
      download_size: z.number().optional(),
      extract_sha256: z.string(),
      extract_size: z.number().optional(),
      init_format: z
        .enum(['systemd', 'cloudinit', 'cloudinit-rpi', 'rpi-preseed', 'none'])
        .optional(),
    }),
  ]),
  /** By stage: what it asks for, and all that came with it. */
  stages: z.record(z.string(), z.strictObject({ asks: z.array(z.string()), packages: pins })),
  /** By the processor of the machine that builds (Debian's name): amd64, arm64. */
  tools: z.record(z.string(), pins),
});

/** What an image is made of, to the last package. */
export type Lock = Omit<z.output<typeof lockSchema>, 'version'>;
export type LockedBase = Lock['base'];

/**
 * Reads a lock file; undefined if there is none.
 * @throws BuildError if it is none, or of a later version.
 */
export async function readLock(path: string): Promise<Lock | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  return parseLock(text, path);
}

export function parseLock(text: string, path: string): Lock {
  try {
    const { version: _, ...lock } = lockSchema.parse(parse(text));
    return lock;
  } catch (cause) {
    const detail = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new BuildError({
      what: 'The lock file cannot be read',
      where: path,
      detail,
      fix: 'Take it from version control, or make it anew: pi-gateway-image lock update',
      code: exitCode.usage,
      cause,
    });
  }
}

export async function requireLock(path: string): Promise<Lock> {
  const lock = await readLock(path);
  if (lock) return lock;
  throw new BuildError({
    what: 'There is no lock file',
    where: path,
    fix: 'Make it: pi-gateway-image lock update; then keep it in version control',
    code: exitCode.usage,
  });
}

/** The lock as YAML: sorted, one line a package, the same bytes for the same lock. */
export function lockText(lock: Lock): string {
  const written = (packages: Pins) =>
    sortedRecord(packages, ({ version, sha256 }) =>
      sha256 === undefined ? version : `${version} sha256:${sha256}`,
    );
  const { base } = lock;
  const content = {
    version: 1,
    archive: lock.archive,
    base: base.kind === 'debian' ? { ...base, packages: written(base.packages) } : base,
    stages: sortedRecord(lock.stages, (stage) => ({
      asks: stage.asks,
      packages: written(stage.packages),
    })),
    tools: sortedRecord(lock.tools, written),
  };
  return [
    '# What the image is made of: base, packages and the tools that write it. Keep it in version control.',
    '# Written by `pi-gateway-image lock update`; used by `build --locked` (docs/reproducible.md).',
    stringify(content, { lineWidth: 0 }),
  ].join('\n');
}

function sortedRecord<In, Out>(record: Record<string, In>, map: (value: In) => Out) {
  return Object.fromEntries(
    Object.entries(record)
      .sort(([a], [b]) => byName(a, b))
      .map(([key, value]): [string, Out] => [key, map(value)]),
  );
}

export async function writeLock(path: string, lock: Lock): Promise<void> {
  await replaceFile(path, lockText(lock));
}

/** Every package of the image by name: the base's and, of these stages or of all, theirs. */
export function imagePins(lock: Lock, stages?: readonly string[]): Pins {
  const parts = Object.entries(lock.stages)
    .filter(([name]) => stages?.includes(name) ?? true)
    .map(([, stage]) => stage.packages);
  return Object.assign({}, lock.base.kind === 'debian' ? lock.base.packages : {}, ...parts);
}

/** Names layers by the packages that are locked, where those of the archive's state hold others. */
export function contentState(lock: Lock): string {
  const { archive, base, stages } = lock;
  return `lock ${digestOf([archive.mirror, archive.security_mirror, base, stages])}`;
}

/** apt_preferences(5): a priority above 1000 also goes back to an older version. */
export function aptPreferences(packages: Pins): string {
  return Object.entries(packages)
    .sort(([a], [b]) => byName(a, b))
    .map(([name, { version }]) => `Package: ${name}\nPin: version ${version}\nPin-Priority: 1001\n`)
    .join('\n');
}
