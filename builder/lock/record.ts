import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileDigest } from '../artifact/compress.ts';
import type { Base } from '../base/base.ts';
import type { MadePackages } from '../build.ts';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import { hostArchitecture } from '../tools/tools.ts';
import { table } from '../ui/present.ts';
import { type ArchiveIndex, fetchIndex, readIndex } from './archive-index.ts';
import { layerPackages, treeMirrors } from './guard.ts';
import type { Lock, LockedBase, Pins } from './lock-file.ts';

/**
 * The lock of what a build made: versions from the layers' own package databases, hashes from the
 * archive's signed index, or from the downloads that apt has checked against it.
 * @throws BuildError that lists the packages whose hash nobody knows any more.
 */
export async function recordLock(
  made: MadePackages,
  o: { cache: string; config: Config; old: Lock | undefined },
): Promise<Lock> {
  const { base, steps, store } = made;
  const { debian } = o.config;
  const tree = (digest: string) => join(store.directory, store.tree(digest));
  const baseTree = made.baseLayer === undefined ? undefined : tree(made.baseLayer);
  let below = (baseTree && (await layerPackages(baseTree))) || {};
  const basePackages = below;
  const stages: { name: string; asks: string[]; versions: Record<string, string> }[] = [];
  for (const step of steps) {
    const now = (await layerPackages(tree(step.digest))) ?? below;
    // The first layer on an image base has all of the image's packages in its database.
    const known = Object.keys(below).length > 0 ? below : now;
    stages.push({
      name: step.stage.stage.definition.name,
      asks: [...step.stage.packages],
      versions: Object.fromEntries(
        Object.entries(now).filter(
          ([name, version]) => known[name] !== version || step.stage.packages.includes(name),
        ),
      ),
    });
    below = now;
  }
  const hashes = await Hashes.open(o, base.kind, {
    arm64: [
      ...Object.keys(basePackages),
      ...stages.flatMap((stage) => Object.keys(stage.versions)),
    ],
    tools: Object.keys(made.tools.versions),
  });
  const locked: Lock = {
    archive: {
      state: made.archiveState,
      suite: debian.suite,
      components: [...debian.components],
      ...(baseTree
        ? await treeMirrors(baseTree)
        : { mirror: debian.mirror, security_mirror: debian.security_mirror }),
    },
    base: lockedBase(base, debian.packages, await hashes.pins(basePackages, 'arm64')),
    stages: {},
    tools: {
      ...o.old?.tools,
      [hostArchitecture]: await hashes.pins(made.tools.versions, hostArchitecture),
    },
  };
  for (const { name, asks, versions } of stages)
    locked.stages[name] = { asks, packages: await hashes.pins(versions, 'arm64') };
  hashes.refuseUnknown();
  return locked;
}

function lockedBase(base: Base, asks: readonly string[], packages: Pins): LockedBase {
  if (base.kind === 'debian') return { kind: 'debian', asks: [...asks], packages };
  const { source } = base;
  if (!('url' in source) || source.extractSha256 === undefined)
    throw new Error('an image base does not know its own digest');
  return {
    kind: base.kind,
    name: source.name,
    // A file's own path is this machine's; its digest names it.
    url: base.kind === 'file' ? source.name : source.url,
    download_sha256: source.downloadSha256,
    download_size: source.downloadSize,
    extract_sha256: source.extractSha256,
    extract_size: source.extractSize,
    init_format: source.initFormat,
  };
}

/** Hashes of packages by name and version. */
class Hashes {
  readonly #index: ReadonlyMap<string, ArchiveIndex>;
  readonly #archives: string;
  readonly #files: readonly string[];
  readonly #unknown: string[][] = [];

  private constructor(
    index: ReadonlyMap<string, ArchiveIndex>,
    archives: string,
    files: readonly string[],
  ) {
    this.#index = index;
    this.#archives = archives;
    this.#files = files;
  }

  static async open(
    o: { cache: string; config: Config },
    kind: Base['kind'],
    names: { arm64: readonly string[]; tools: readonly string[] },
  ): Promise<Hashes> {
    const lists = await fetchIndex(o.cache, o.config.debian);
    // An image base has archives of its own: its sessions' lists tell.
    const imageLists = kind === 'debian' ? lists : join(o.cache, 'apt', kind, 'lists');
    const archives = join(o.cache, 'apt', kind, 'archives');
    const arm64 = await readIndex(imageLists, 'arm64', new Set(names.arm64));
    const tools = await readIndex(lists, hostArchitecture, new Set(names.tools));
    return new Hashes(
      new Map([
        ['arm64', arm64],
        // On an arm64 host both are of one archive.
        [hostArchitecture, hostArchitecture === 'arm64' ? new Map([...tools, ...arm64]) : tools],
      ]),
      archives,
      await readdir(archives).catch(() => []),
    );
  }

  async pins(versions: Record<string, string>, architecture: string): Promise<Pins> {
    const pins: Pins = {};
    for (const [name, version] of Object.entries(versions)) {
      const sha256 =
        this.#index
          .get(architecture)
          ?.get(name)
          ?.find((pin) => pin.version === version)?.sha256 ??
        (await this.#downloaded(name, version));
      if (sha256 === undefined) this.#unknown.push([name, version]);
      else pins[name] = { version, sha256 };
    }
    return pins;
  }

  /** apt writes a version's colon as %3a into the file's name. */
  async #downloaded(name: string, version: string): Promise<string | undefined> {
    const start = `${name}_${version.replaceAll(':', '%3a')}_`;
    const file = this.#files.find((one) => one.startsWith(start) && one.endsWith('.deb'));
    return file === undefined ? undefined : (await fileDigest(join(this.#archives, file))).sha256;
  }

  refuseUnknown(): void {
    if (this.#unknown.length === 0) return;
    throw new BuildError({
      what: 'The archive no longer has these packages of the cached layers, so that their hashes are not known',
      where: 'lock update --current',
      detail: table(this.#unknown),
      fix: 'Lock the newest packages: pi-gateway-image lock update, without --current',
      code: exitCode.source,
    });
  }
}

/** Adds to a lock what another configuration needs beside it. */
export function mergeLocks(old: Lock, more: Lock): Lock {
  const stages = { ...old.stages };
  for (const [name, stage] of Object.entries(more.stages)) {
    const known = stages[name];
    stages[name] = {
      asks: [...new Set([...(known?.asks ?? []), ...stage.asks])].sort(),
      packages: { ...stage.packages, ...known?.packages },
    };
  }
  return { ...old, stages, tools: { ...more.tools, ...old.tools } };
}
