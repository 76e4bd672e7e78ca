import { readFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { takeBuildLock } from '../chroot/lock.ts';
import { freshScratch } from '../chroot/scratch.ts';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import { exportOci } from '../oci/export.ts';
import { readState } from '../state.ts';
import { findTools, type Tools } from '../tools/tools.ts';
import { type LayerName, Sharing } from './sharing.ts';
import { LayerStore } from './store.ts';

type Project = { root: string; config: Config };

/** What the last build of this configuration left in the cache. */
type LastBuild = { cache: string; store: LayerStore; tools: Tools; layers: readonly LayerName[] };

async function lastBuild({ root, config }: Project): Promise<LastBuild> {
  const cache = resolve(root, config.paths.cache);
  const store = new LayerStore(cache);
  const { layers } = await readState(cache, config.name);
  const tools = await findTools(cache, config.debian);
  const found = await Promise.all(layers.map(({ digest }) => store.find(digest)));
  if (!tools || layers.length === 0 || found.includes(undefined))
    throw new BuildError({
      what: `The cache does not have the layers of '${config.name}'`,
      where: cache,
      fix: 'Build it first: npm run image',
      code: exitCode.usage,
    });
  return { cache, store, tools, layers };
}

/** Puts the last build's layers where `cache.push` says. Needs root. */
export async function pushLast(
  project: Project,
  note: (text: string) => void,
): Promise<{ trees: number; bytes: number }> {
  const { config, root } = project;
  if (!config.cache.push)
    throw new BuildError({
      what: 'There is nowhere to push to',
      where: 'cache.push in gateway.yaml',
      fix: 'Set it, e.g. --set cache.push=oci://registry.example.org/gateway/layers',
      code: exitCode.usage,
    });
  await takeBuildLock();
  const { cache, store, tools, layers } = await lastBuild(project);
  const scratch = await freshScratch(cache);
  const warnings: string[] = [];
  const say = (text: string) => warnings.push(text);
  const sharing = await Sharing.open({ root, config, cache, store, scratch, say });
  const pushed = await sharing.push({ tools, source: config.debian, layers }, (_, work) =>
    work({ note, progress: () => undefined }),
  );
  // Asked for by name, unlike after a build, it has to say that it failed.
  if (warnings.length > 0)
    throw new BuildError({
      what: warnings.join('\n').replace(/^Warning: /, ''),
      code: exitCode.source,
    });
  return pushed;
}

/** Writes the last build's root file system as an OCI archive. Needs root. */
export async function exportLast(
  project: Project,
  file: string | undefined,
  note: (text: string) => void,
): Promise<{ file: string; digest: string; bytes: number; layers: number }> {
  const { config, root } = project;
  await takeBuildLock();
  const { cache, store, tools, layers } = await lastBuild(project);
  const infos = await Promise.all(layers.map(({ digest }) => store.find(digest)));
  if (!infos[0]?.title.startsWith('base '))
    throw new BuildError({
      what: 'Only images on the Debian base can be exported: the lowest layer of others is a disk image',
      fix: "Build with --set 'base=[debian]'",
      code: exitCode.usage,
    });
  const trees = layers.map(({ id, digest }) => ({
    title: id,
    tree: join(store.directory, store.tree(digest)),
  }));
  const record = JSON.parse(
    await readFile(join(trees.at(-1)?.tree ?? '', 'usr/share/pi-gateway/image.json'), 'utf8'),
  ) as { source_date_epoch: number; stages: string[]; base: { description: string } };
  const target = resolve(
    file ?? join(root, config.paths.output, config.name, `${config.name}.oci.tar`),
  );
  const made = await exportOci(
    {
      layers: trees,
      labels: {
        'org.opencontainers.image.title': config.name,
        'org.opencontainers.image.description': 'Root file system of a Raspberry Pi gateway',
        'pi-gateway.base': record.base.description,
        'pi-gateway.stages': record.stages.join(' '),
      },
      created: record.source_date_epoch,
      tag: config.name,
    },
    {
      file: target,
      scratch: await freshScratch(cache),
      tar: tools.command('usr/bin/tar'),
      onLayer: note,
    },
  );
  return {
    file: relative(process.cwd(), target),
    digest: made.digest,
    bytes: made.layers.reduce((sum, layer) => sum + layer.size, 0),
    layers: made.layers.length,
  };
}
