import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { BuildError, exitCode } from '../errors.ts';
import type { Lock, Pins } from '../lock/lock-file.ts';

const remoteImage = z.object({
  url: z.string(),
  name: z.string(),
  downloadSize: z.number().optional(),
  downloadSha256: z.string().optional(),
  extractSize: z.number().optional(),
  extractSha256: z.string(),
  initFormat: z.enum(['systemd', 'cloudinit', 'cloudinit-rpi', 'rpi-preseed', 'none']).optional(),
});

const versions = z.record(z.string(), z.string());

/** What a rebuild takes from manifest.json; it has more. */
const manifestSchema = z.object({
  name: z.string(),
  source_date_epoch: z.number(),
  archive_state: z.string(),
  base: z.object({
    kind: z.enum(['debian', 'raspios', 'file', 'url']),
    mirrors: z
      .object({ mirror: z.string().nullable(), security_mirror: z.string().nullable() })
      .optional(),
    source: z.union([
      remoteImage,
      z.object({ suite: z.string(), components: z.array(z.string()) }),
    ]),
  }),
  config: z.record(z.string(), z.unknown()),
  stages: z.array(z.object({ name: z.string() })),
  layers: z.array(z.object({ id: z.string(), digest: z.string() })),
  packages: versions,
  tools: versions,
  tools_architecture: z.string(),
  artifacts: z.array(z.object({ file: z.string(), sha256: z.string() })),
});

export type Manifest = z.output<typeof manifestSchema>;

/** Reads a manifest by its own path, or the one beside an image. */
export async function readManifest(target: string): Promise<{ path: string; manifest: Manifest }> {
  const path = target.endsWith('.json') ? target : join(dirname(target), 'manifest.json');
  try {
    return { path, manifest: manifestSchema.parse(JSON.parse(await readFile(path, 'utf8'))) };
  } catch (cause) {
    throw new BuildError({
      what: 'There is no manifest that tells how to rebuild this image',
      where: path,
      detail: cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause),
      fix: 'Give the manifest.json of the build, or an image that lies beside it; build --raw-only makes none',
      code: exitCode.usage,
      cause,
    });
  }
}

/** SHA-256 of the raw image, as the manifest says. */
export function rawDigest(manifest: Manifest): string {
  const raw = manifest.artifacts.find(({ file }) => file === `${manifest.name}.img`);
  if (raw) return raw.sha256;
  throw new BuildError({
    what: `The manifest does not tell the SHA-256 of ${manifest.name}.img`,
    where: 'artifacts',
    code: exitCode.usage,
  });
}

/**
 * What a build must keep to so that its packages are those of the manifest. Hashes of the packages are
 * not in it: whether all is the same, the image's own digest says.
 */
export function manifestLock(manifest: Manifest): Lock {
  const { base, config } = manifest;
  const pins = (packages: Record<string, string>): Pins =>
    Object.fromEntries(
      Object.entries(packages).map(([name, version]) => [name, { version }] as const),
    );
  const debian = z
    .object({ suite: z.string(), components: z.array(z.string()) })
    .parse(config.debian);
  const packages = pins(manifest.packages);
  const archive = {
    state: manifest.archive_state,
    ...debian,
    mirror: base.mirrors?.mirror ?? null,
    security_mirror: base.mirrors?.security_mirror ?? null,
  };
  const tools = { [manifest.tools_architecture]: pins(manifest.tools) };
  const { source } = base;
  if (base.kind === 'debian' || !('url' in source))
    return { archive, base: { kind: 'debian', asks: [], packages }, stages: {}, tools };
  return {
    archive,
    base: {
      kind: base.kind,
      name: source.name,
      url: source.url,
      download_sha256: source.downloadSha256,
      download_size: source.downloadSize,
      extract_sha256: source.extractSha256,
      extract_size: source.extractSize,
      init_format: source.initFormat,
    },
    // The image's own packages are in this list, too; those are there already.
    stages: Object.fromEntries(
      manifest.stages.map(({ name }) => [name, { asks: [], packages }] as const),
    ),
    tools,
  };
}
