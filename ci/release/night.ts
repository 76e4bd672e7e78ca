import { copyFile, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileDigest, partial } from '../../builder/artifact/compress.ts';
import { diffImages } from '../../builder/inspect/diff.ts';
import { digestOf } from '../../builder/plan/digest.ts';
import { formatSums, sumsName } from '../../builder/trust/release-folder.ts';
import { changelog } from './changelog.ts';
import { listFile, ReleaseFolder } from './folder.ts';
import { type ImagerList, type Inputs, type Look, type Release, releaseId } from './release.ts';

/** A raw image that was built tonight. */
export type BuiltImage = {
  path: string;
  /** SHA-256 of its base's content. */
  base: string;
  packages: Record<string, string>;
};

/** What a night has others do. Each throws a BuildError, which ends the night without a release. */
export type NightWork = {
  look(): Promise<Look>;
  build(): Promise<BuiltImage>;
  /**
   * Known vulnerabilities of the image's packages, as JSON; throws where the policy does not allow them.
   * Null: there are no security data.
   */
  vulnerabilities: ((image: string) => Promise<string>) | null;
  /** Null: the image is not to be started. */
  bootTest: ((image: string) => Promise<void>) | null;
  /** Compresses, checks and describes the image. @returns the folder with the results. */
  artifacts(url: string): Promise<string>;
  /** Signs all files of a release and verifies that as a stranger would. Null: there is no key. */
  sign: ((directory: string) => Promise<void>) | null;
  source(): Promise<{ commit: string | null; uncommitted: boolean }>;
  commitsSince(commit: string): Promise<string[]>;
};

export type NightOptions = {
  /** Folder of the releases. */
  folder: string;
  /** Where that folder will be downloaded from. */
  url: string;
  /** How many releases are kept, the new one among them; at least 1. */
  keep: number;
  now: Date;
  /** Told before each step. */
  onStep: (step: string) => void;
};

export type NightResult =
  | { released: Release; reason: string }
  | { released: undefined; reason: string };

/**
 * One night: looks for what has changed since the last release, builds, tests, and publishes. Whatever
 * goes wrong, also SIGKILL at any instant, leaves the last release as it was.
 */
export async function night(o: NightOptions, work: NightWork): Promise<NightResult> {
  const folder = await ReleaseFolder.open(o.folder);
  const last = folder.latest;
  o.onStep('looking for changes');
  const look = await work.look();
  const known = [last?.look, await folder.looked()];
  if (
    last &&
    look.archive !== null &&
    known.some((one) => digestOf(one ?? null) === digestOf(look))
  )
    return nothing(`nothing has changed since ${last.id}: sources, configuration, package archive`);

  o.onStep('building');
  const built = await work.build();
  const inputs: Inputs = {
    sources: look.sources,
    config: look.config,
    packages: digestOf(built.packages),
    base: built.base,
  };
  const raw = await fileDigest(built.path);
  const changed = last ? changedInputs(last.inputs, inputs) : ['all: it is the first'];
  if (last && (changed.length === 0 || raw.sha256 === last.imager.extract_sha256)) {
    await folder.remember(look);
    return nothing(
      changed.length === 0
        ? `nothing has changed since ${last.id}: sources, configuration, base, packages`
        : `${changed.join(', ')} changed since ${last.id}, but the image is the same, byte for byte`,
    );
  }

  if (work.vulnerabilities) o.onStep('known vulnerabilities');
  const vulnerabilities = await work.vulnerabilities?.(built.path);
  if (work.bootTest) {
    o.onStep('boot test');
    await work.bootTest(built.path);
  }
  const id = releaseId(o.now);
  o.onStep('artifacts');
  const results = await work.artifacts(`${o.url.replace(/\/$/, '')}/${id}`);
  const staged = await folder.stage(id);
  await copyResults(results, staged, o.onStep);

  if (vulnerabilities !== undefined)
    await writeFile(join(staged, 'vulnerabilities.json'), vulnerabilities);

  const list = await imagerList(staged);
  const [imager] = list.os_list;
  if (!imager) throw new Error('the Imager manifest of the build lists no image');
  const retained = folder.releases.slice(0, Math.max(0, o.keep - 1));
  const release: Release = {
    id,
    created: o.now.toISOString(),
    previous: last?.id ?? null,
    inputs,
    look,
    ...(await work.source()),
    boot_test: work.bootTest ? 'passed' : 'skipped',
    signed: work.sign !== null,
    file: basename(new URL(imager.url).pathname),
    imager: {
      ...imager,
      name: `${imager.name} ${o.now.toISOString().slice(0, 16).replace('T', ' ')}`,
      description: `${imager.description}${work.bootTest ? '' : ' (not boot-tested)'}`,
    },
    retained: retained.map((one) => one.id),
  };
  o.onStep('comparing');
  await writeChangelog(folder, release, built.path, staged, work);
  await writeJson(join(staged, 'release.json'), release);
  await writeJson(join(staged, listFile), {
    ...list,
    os_list: [release, ...retained].map((one) => one.imager),
  } satisfies ImagerList);
  await writeSums(staged);
  if (work.sign) {
    o.onStep('signing');
    await work.sign(staged);
  }
  await folder.publish(release, o.onStep);
  return { released: release, reason: `changed: ${changed.join(', ')}` };
}

function nothing(reason: string): NightResult {
  return { released: undefined, reason };
}

function changedInputs(before: Inputs, after: Inputs): string[] {
  const keys = ['sources', 'config', 'base', 'packages'] as const;
  return keys.filter((key) => before[key] !== after[key]);
}

/** Checksums and signatures are made anew, of what is released. */
const remade = /^(\.|SHA256SUMS$)|\.minisig$/;

async function copyResults(
  from: string,
  to: string,
  onStep: (step: string) => void,
): Promise<void> {
  const names = (await readdir(from)).sort();
  const compressed = names.some((name) => /\.img\.(xz|zst)$/.test(name));
  for (const name of names) {
    const inCompressed = compressed && name.endsWith('.img');
    if (remade.test(name) || name.endsWith(partial) || inCompressed) continue;
    if (!(await stat(join(from, name))).isFile()) continue;
    onStep(`copying ${name}`);
    await copyFile(join(from, name), join(to, name));
  }
}

async function imagerList(directory: string): Promise<ImagerList> {
  const name = (await readdir(directory)).find((one) => one.endsWith('.rpi-imager-manifest'));
  if (!name) throw new Error('the build left no Imager manifest');
  return JSON.parse(await readFile(join(directory, name), 'utf8')) as ImagerList;
}

async function writeChangelog(
  folder: ReleaseFolder,
  release: Release,
  image: string,
  staged: string,
  work: NightWork,
): Promise<void> {
  const before = folder.latest;
  const old = before && folder.file(before, before.file);
  // Of old releases, a runner has only their release.json at hand.
  const there = old !== undefined && (await stat(old).catch(() => undefined)) !== undefined;
  const diff = there ? await diffImages(old, image) : undefined;
  const commits = before?.commit ? await work.commitsSince(before.commit) : [];
  if (diff)
    await writeJson(join(staged, 'changelog.json'), {
      ...diff,
      a: before?.id,
      b: release.id,
      commits,
    });
  await writeFile(join(staged, 'CHANGELOG.md'), changelog(release, diff, commits));
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** SHA256SUMS of all files, as sha256sum(1) checks it and `sign` signs it. */
async function writeSums(directory: string): Promise<void> {
  const sums: [string, string][] = [];
  for (const name of (await readdir(directory)).sort())
    sums.push([name, (await fileDigest(join(directory, name))).sha256]);
  await writeFile(join(directory, sumsName), formatSums(sums));
}
