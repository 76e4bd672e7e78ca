import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import { run } from '../exec.ts';
import type { ImageLayout } from '../image/assemble.ts';
import { installedPackages } from '../layer/apply.ts';
import type { LayerStore } from '../layer/store.ts';
import type { Pins } from '../lock/lock-file.ts';
import { digestOf } from '../plan/digest.ts';
import type { Tools } from '../tools/tools.ts';
import { assembleDebian, debianRecipe } from './debian.ts';
import type { RemoteImage } from './os-list.ts';

/** What every base gives to the steps after it, whatever it was made from. */
export type Base = {
  kind: 'debian' | 'raspios' | 'file' | 'url';
  /** For people: `Debian trixie (312 packages)`. */
  description: string;
  /** Of its content. */
  digest: string;
  /** Its newest file's date, in seconds: no file of the image is newer. */
  date: number;
  /** What Raspberry Pi Imager must know to apply customisation (os_list `init_format`). */
  initFormat: 'cloudinit' | 'cloudinit-rpi' | 'systemd' | 'rpi-preseed' | 'none';
  layout: ImageLayout;
  /** Overlay layers, lowest first: names in the layer store, or absolute paths. */
  layers: readonly string[];
  /** Where it came from, for manifest.json and the next build. */
  source: RemoteImage | { suite: string; components: readonly string[] };
};

/** Day of Debian 13's release: password ages are counted from here, not from the build. */
const trixieRelease = Date.UTC(2025, 7, 9) / 1000;

const mebibyte = 1024 * 1024;

/** What the Debian base's layer records of itself. */
export const debianFacts = z.strictObject({
  date: z.number().int().min(0),
  versions: z.record(z.string(), z.string()),
});

export type DebianFacts = z.output<typeof debianFacts>;

/** Name of the Debian base's layer, known before it is made. */
export function debianLayer(config: Config, tools: { digest: string }, freshness: string): string {
  return digestOf(['base', debianRecipe(config, tools), freshness]);
}

/** The Debian base, if the store has it. */
export async function findDebian(
  config: Config,
  tools: Tools,
  store: LayerStore,
  freshness: string,
): Promise<Base | undefined> {
  const layer = debianLayer(config, tools, freshness);
  const info = await store.find(layer);
  if (!info) return undefined;
  const facts = info.facts as DebianFacts;
  return {
    kind: 'debian',
    description: `Debian ${config.debian.suite} (${Object.keys(facts.versions).length} packages)`,
    digest: digestOf([debianRecipe(config, tools), facts.versions]),
    date: facts.date,
    initFormat: 'cloudinit',
    layout: debianLayout(config),
    layers: [store.tree(layer)],
    source: { suite: config.debian.suite, components: config.debian.components },
  };
}

/** Makes the Debian base and puts it into the store. */
export async function makeDebian(
  config: Config,
  tools: Tools,
  store: LayerStore,
  o: {
    freshness: string;
    scratch: string;
    log: string;
    onLine: (line: string) => void;
    pins?: Pins | undefined;
    /** Refuses the packages that came by throwing. */
    check?: ((versions: Record<string, string>) => void) | undefined;
  },
): Promise<void> {
  const started = Date.now();
  const work = join(o.scratch, 'debian');
  const root = join(work, 'fs');
  await mkdir(work, { recursive: true });
  await assembleDebian(config, tools, {
    root,
    log: o.log,
    onLine: o.onLine,
    sourceDateEpoch: trixieRelease,
    pins: o.pins,
  });
  const versions = await installedPackages(root);
  o.check?.(versions);
  await store.commit(debianLayer(config, tools, o.freshness), root, {
    title: `base debian ${config.debian.suite}`,
    seconds: (Date.now() - started) / 1000,
    facts: {
      date: await newestFile(join(root, 'usr'), started),
      versions,
    } satisfies DebianFacts,
  });
}

/** Raspberry Pi OS's layout; identities follow from the image's name alone. */
function debianLayout(config: Config): ImageLayout {
  const identity = digestOf(['disk', config.name]);
  return {
    table: 'dos',
    diskId: identity.slice(0, 8),
    boot: {
      startBytes: 8 * mebibyte,
      sizeBytes: config.image.boot_size,
      label: 'bootfs',
      volumeId: identity.slice(8, 16),
    },
    root: { label: 'rootfs', uuid: uuidFrom(identity.slice(16)) },
    bootMount: '/boot/firmware',
  };
}

/** A UUID of version 8 (RFC 9562: made of one's own data) from 32 hex digits. */
export function uuidFrom(hex: string): string {
  const digits = `${hex.slice(0, 12)}8${hex.slice(13, 16)}8${hex.slice(17, 32)}`;
  return [8, 4, 4, 4, 12]
    .map((length, index, all) => {
      const start = all.slice(0, index).reduce((sum, n) => sum + n, 0);
      return digits.slice(start, start + length);
    })
    .join('-');
}

/**
 * Date (seconds) of the newest file below `directory` that is older than `before` (milliseconds):
 * files carry the date of their package, except those that the build itself made.
 */
export async function newestFile(directory: string, before: number): Promise<number> {
  const { stdout } = await run('find', [directory, '-type', 'f', '-printf', '%T@\\n']);
  const dates = stdout.split('\n').filter(Boolean).map(Number);
  const newest = dates.reduce(
    (best, date) => (date * 1000 < before && date > best ? date : best),
    0,
  );
  if (newest === 0)
    throw new BuildError({
      what: 'The base holds no files',
      where: directory,
      code: exitCode.source,
    });
  return Math.floor(newest);
}
