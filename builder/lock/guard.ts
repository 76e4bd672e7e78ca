import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Base } from '../base/base.ts';
import type { RemoteImage } from '../base/os-list.ts';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import { packagesOf } from '../inspect/dpkg.ts';
import type { PreparedStage } from '../overlay/prepare.ts';
import { hostArchitecture } from '../tools/tools.ts';
import { fetchIndex, readIndex } from './archive-index.ts';
import {
  driftOf,
  missingFrom,
  refuseDrift,
  refuseMissing,
  refuseUnlocked,
  unlocked,
} from './compare.ts';
import { contentState, imagePins, type Lock, type Pins } from './lock-file.ts';

/** A lock that a build keeps to. */
export type LockUse = {
  lock: Lock;
  /** The file that it is from, for messages. */
  from: string;
  /** Refuses what the lock does not name; else that is let in, as the archive has it. */
  complete: boolean;
};

export function baseKind(choice: Config['base'][number]): Base['kind'] {
  if (typeof choice === 'string') return choice;
  return 'file' in choice ? 'file' : 'url';
}

/** Keeps one image's build to a lock. */
export class LockGuard {
  readonly lock: Lock;
  readonly pins: Pins;
  readonly #use: LockUse;
  readonly #stages: readonly PreparedStage[];

  constructor(use: LockUse, stages: readonly PreparedStage[]) {
    this.lock = use.lock;
    this.#use = use;
    this.#stages = stages;
    this.pins = imagePins(use.lock);
  }

  get toolPins(): Pins | undefined {
    return this.lock.tools[hostArchitecture];
  }

  /** States of the archive whose layers may be what is locked, the likelier first. */
  get states(): readonly [string, string] {
    return [this.lock.archive.state, contentState(this.lock)];
  }

  /**
   * The configuration with the base and the mirrors that are locked.
   * @throws BuildError that lists what the lock is not of.
   */
  config(config: Config): Config {
    const { base, archive } = this.lock;
    const choice = config.base.find((one) => baseKind(one) === base.kind);
    const { debian } = config;
    if (this.#use.complete)
      refuseUnlocked(
        unlocked(this.lock, {
          suite: debian.suite,
          components: debian.components,
          mirror: debian.mirror,
          base: {
            kind: choice === undefined ? config.base.map(baseKind).join(' or ') : base.kind,
            asks: debian.packages,
          },
          stages: Object.fromEntries(
            this.#stages
              .filter((stage) => stage.packages.length > 0)
              .map((stage) => [stage.stage.definition.name, stage.packages]),
          ),
          tools: hostArchitecture,
        }),
        this.#use.from,
      );
    return {
      ...config,
      base: choice === undefined ? config.base : [choice],
      debian: {
        ...debian,
        mirror: debian.mirror ?? archive.mirror,
        security_mirror: debian.security_mirror ?? archive.security_mirror,
      },
    };
  }

  /** The locked image to start from; undefined for the Debian base. */
  get image(): RemoteImage | undefined {
    const { base } = this.lock;
    if (base.kind === 'debian') return undefined;
    return {
      name: base.name,
      url: base.url,
      downloadSha256: base.download_sha256,
      downloadSize: base.download_size,
      extractSha256: base.extract_sha256,
      extractSize: base.extract_size,
      initFormat: base.init_format,
    };
  }

  /** @throws BuildError if the image that was opened is not the locked one. */
  checkImage(base: Base): void {
    const wanted = this.image?.extractSha256;
    if (wanted === undefined || !('url' in base.source)) return;
    const found = base.source.extractSha256;
    if (found === wanted) return;
    throw new BuildError({
      what: `The base image is not as ${this.#use.from} locks it`,
      where: base.source.url,
      detail: `locked: ${wanted}\nfound:  ${found}`,
      fix: 'Get the locked image, or lock the new one: pi-gateway-image lock update',
      code: exitCode.source,
    });
  }

  /** True if a tree's packages are the locked ones (all of the base's, for the base). */
  fits(installed: Record<string, string>): boolean {
    return driftOf(installed, this.pins, this.#use.complete).length === 0;
  }

  /** True if the tree is a Debian base of the locked packages that names the locked mirrors. */
  async fitsBase(tree: string): Promise<boolean> {
    const { archive } = this.lock;
    const mirrors = await treeMirrors(tree);
    return (
      this.fits((await layerPackages(tree)) ?? {}) &&
      (archive.mirror === null || archive.mirror === mirrors.mirror) &&
      (archive.security_mirror === null || archive.security_mirror === mirrors.security_mirror)
    );
  }

  /** @throws BuildError that names each installed package that is not the locked one. */
  checkInstalled(installed: Record<string, string>, where: string): void {
    refuseDrift(driftOf(installed, this.pins, this.#use.complete), where, this.#use.from);
  }

  /** Locked packages of the base and of this image's stages that are not in `have`. */
  #needed(have: Record<string, string>): Pins {
    const all = imagePins(
      this.lock,
      this.#stages.map((stage) => stage.stage.definition.name),
    );
    return Object.fromEntries(
      Object.entries(all).filter(([name, pin]) => have[name] !== pin.version),
    );
  }

  /**
   * Asks the archive, before anything is made, whether it has what must be fetched.
   * @param need tools: the tools tree is missing; have: packages that layers of the cache hold.
   */
  async checkArchive(
    cache: string,
    debian: Config['debian'],
    need: { tools: boolean; have: Record<string, string> },
  ): Promise<void> {
    const image = this.#needed(need.have);
    const tools = need.tools ? (this.toolPins ?? {}) : {};
    const lists = await fetchIndex(cache, debian);
    const missing = [
      ...missingFrom(image, await readIndex(lists, 'arm64', new Set(Object.keys(image)))),
      ...missingFrom(tools, await readIndex(lists, hostArchitecture, new Set(Object.keys(tools)))),
    ];
    refuseMissing(
      missing,
      debian.snapshot ?? debian.mirror ?? 'the mirror of this host',
      this.#use.from,
    );
  }

  /** The same for an image base, whose archives only its own apt knows: from the lists that it fetched. */
  async checkLists(lists: string, have: Record<string, string>): Promise<void> {
    const needed = this.#needed(have);
    const index = await readIndex(lists, 'arm64', new Set(Object.keys(needed)));
    refuseMissing(missingFrom(needed, index), 'the archives of the base image', this.#use.from);
  }
}

/** Installed packages by a tree's dpkg database; undefined if the layer did not touch it. */
export async function layerPackages(tree: string): Promise<Record<string, string> | undefined> {
  const text = await readFile(join(tree, 'var/lib/dpkg/status'), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : packagesOf(text);
}

/** The mirrors that a Debian base's apt sources name. */
export async function treeMirrors(
  tree: string,
): Promise<{ mirror: string | null; security_mirror: string | null }> {
  const text = await readFile(join(tree, 'etc/apt/sources.list.d/debian.sources'), 'utf8');
  const stanzas = text.split('\n\n').map((stanza) => ({
    uri: /^URIs: (\S+)$/m.exec(stanza)?.[1]?.replace(/\/$/, ''),
    suite: /^Suites: (\S+)$/m.exec(stanza)?.[1] ?? '',
  }));
  const of = (security: boolean) =>
    stanzas.find(({ suite }) => suite.endsWith('-security') === security)?.uri ?? null;
  return { mirror: of(false), security_mirror: of(true) };
}
