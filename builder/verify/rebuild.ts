import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileDigest } from '../artifact/compress.ts';
import { formatOf, unpackImage } from '../base/unpack.ts';
import { buildOn } from '../build.ts';
import { giveToCaller } from '../build-command.ts';
import { type Config, configSchema } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import { BuildHost } from '../host.ts';
import { type Explanation, explainImages } from '../inspect/explain.ts';
import { baseKind } from '../lock/guard.ts';
import { orderStages } from '../plan/order.ts';
import { type LoadedStage, loadStages } from '../stages.ts';
import type { Progress } from '../ui/progress.ts';
import { type Manifest, manifestLock, rawDigest, readManifest } from './manifest.ts';

export type RebuildRequest = {
  root: string;
  /** An image that lies beside its manifest, or a manifest. */
  target: string;
  /** A cache whose layers are believed; by default an empty one, so that everything is made anew. */
  cache?: string | undefined;
  /** The project's cache: the empty one lies below it. */
  projectCache: string;
  /** Where the rebuilt image is kept. */
  keep?: string | undefined;
  spaceCheck: boolean;
  progress: Progress;
};

export type Rebuild = {
  manifest: string;
  /** SHA-256 of the raw images: as the manifest says, and as rebuilt. */
  expected: string;
  rebuilt: string;
  same: boolean;
  /** The cache was empty: nothing that was made before had a part in it. */
  fromNothing: boolean;
  /** Layers that are made of other things here than there: other files, stages or packages. */
  otherLayers: string[];
  /** What differs, if the image itself is at hand. */
  differences: Explanation | undefined;
  /** Where the rebuilt image lies. */
  kept: string | undefined;
};

/**
 * Builds an image again as its manifest says (configuration, versions, date) and compares it byte for
 * byte. Needs the private namespace. The stages and files are those of this project.
 * @throws BuildError with code `source` if the image is not the one of the manifest, or what it was
 *   made of is no longer to be had.
 */
export async function rebuild(o: RebuildRequest): Promise<Rebuild> {
  const { path, manifest } = await readManifest(o.target);
  const expected = rawDigest(manifest);
  const image = o.target.endsWith('.json') ? await imageBeside(path, manifest) : o.target;
  if (image !== undefined) await checkImage(image, expected, path);
  const cache = o.cache ?? join(o.projectCache, 'tmp', `verify-${crypto.randomUUID()}`);
  // Below the scratch folder, which the next build clears if this one is killed.
  const output = join(cache, 'tmp', 'verify-output');
  const { config, stages } = await project(o.root, manifest, { cache, output });
  const lock = manifestLock(manifest);
  try {
    const host = await BuildHost.open({
      cache,
      archiveState: manifest.archive_state,
      refresh: false,
      spaceCheck: o.spaceCheck,
      slots: 1,
    });
    try {
      const made = await buildOn(host, {
        root: o.root,
        config,
        stages,
        refresh: false,
        spaceCheck: o.spaceCheck,
        rawOnly: true,
        lock: { lock, from: basename(path), complete: false },
        progress: o.progress,
      });
      const { sha256 } = await o.progress.step('checksum', () => fileDigest(made.image));
      const same = sha256 === expected;
      const differences =
        same || image === undefined
          ? undefined
          : await o.progress.step('compare', () => explainImages(image, made.image));
      if (o.keep !== undefined) {
        await copyFile(made.image, o.keep);
        await giveToCaller(o.root, o.keep);
      }
      return {
        manifest: path,
        expected,
        rebuilt: sha256,
        same,
        fromNothing: o.cache === undefined,
        otherLayers: otherLayers(manifest, made.layers),
        differences,
        kept: o.keep,
      };
    } finally {
      await host.close();
    }
  } finally {
    if (o.cache === undefined) await rm(cache, { recursive: true, force: true });
  }
}

async function imageBeside(path: string, manifest: Manifest): Promise<string | undefined> {
  const image = join(dirname(path), `${manifest.name}.img`);
  return (await formatOf(image).catch(() => undefined)) === undefined ? undefined : image;
}

/** Refuses an image that is not the manifest's before anything is built. */
async function checkImage(image: string, expected: string, manifest: string): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'pi-gateway-verify-'));
  try {
    const raw =
      (await formatOf(image)) === 'raw'
        ? image
        : (await unpackImage({ path: image, directory: scratch })).path;
    const { sha256 } = await fileDigest(raw);
    if (sha256 !== expected)
      throw new BuildError({
        what: 'The image is not the one that the manifest is of',
        where: image,
        detail: `manifest: ${expected}\nimage:    ${sha256}`,
        fix: `Get both again from where they came from, or give the right manifest (${manifest})`,
        code: exitCode.source,
      });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The manifest's configuration, for the stages that this project has. */
async function project(
  root: string,
  manifest: Manifest,
  folders: { cache: string; output: string },
): Promise<{ config: Config; stages: LoadedStage[] }> {
  const extensions = Array.isArray(manifest.config.extensions)
    ? manifest.config.extensions.filter((name) => typeof name === 'string')
    : [];
  const all = await loadStages(root, extensions);
  const stages = manifest.stages.map(({ name }) => {
    const stage = all.find((one) => one.definition.name === name);
    if (stage) return { ...stage, name, needs: stage.definition.needs ?? [] };
    throw new BuildError({
      what: `This project has no stage '${name}', which the image was made with`,
      where: 'stages',
      fix: 'Check out the revision of the project that the image was made from',
      code: exitCode.usage,
    });
  });
  const parsed = configSchema(stages.map((stage) => stage.definition)).safeParse(manifest.config);
  if (!parsed.success)
    throw new BuildError({
      what: "The manifest's configuration is not one of this project",
      where: 'config in manifest.json',
      detail: parsed.error.issues
        .map((issue) => `${issue.path.join('.')}: ${issue.message}`)
        .join('\n'),
      fix: 'Check out the revision of the project that the image was made from',
      code: exitCode.usage,
    });
  const config = parsed.data as Config;
  return {
    stages: orderStages(stages),
    config: {
      ...config,
      base: config.base.filter((choice) => baseKind(choice) === manifest.base.kind),
      image: { ...config.image, source_date_epoch: manifest.source_date_epoch },
      paths: { cache: resolve(folders.cache), output: resolve(folders.output) },
      // Nobody else's layers: they would prove nothing.
      cache: { ...config.cache, push: null, pull: [] },
    },
  };
}

function otherLayers(
  manifest: Manifest,
  made: readonly { id: string; digest: string }[],
): string[] {
  const known = new Map(manifest.layers.map(({ id, digest }) => [id, digest]));
  const ids = new Set([...known.keys(), ...made.map(({ id }) => id)]);
  const now = new Map(made.map(({ id, digest }) => [id, digest]));
  return [...ids].filter((id) => known.get(id) !== now.get(id));
}
