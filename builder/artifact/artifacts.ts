import { readFile, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StageDefinition } from '../../stages/define.ts';
import type { Base } from '../base/base.ts';
import type { Config } from '../config/schema.ts';
import { writeBmap } from '../image/bmap.ts';
import { digestOf } from '../plan/digest.ts';
import type { Resources } from '../resources.ts';
import { replaceFile } from '../state.ts';
import { hostArchitecture, type Tools } from '../tools/tools.ts';
import { envelopeSuffix, formatSums, signatureName, sumsName } from '../trust/release-folder.ts';
import { textDigest, writeTrust } from '../trust/write.ts';
import { megabytes } from '../ui/present.ts';
import type { Progress, StepTiming } from '../ui/progress.ts';
import { compressImage, fileDigest, suffix } from './compress.ts';
import { iconFile, imagerManifest } from './imager-manifest.ts';

export type Artifact = { file: string; size: number; sha256: string };

export type Artifacts = {
  directory: string;
  /** Name of the file to flash. */
  released: string;
  files: readonly Artifact[];
};

export type ArtifactRequest = {
  /** The project's folder. */
  root: string;
  directory: string;
  image: string;
  imageDigest: string;
  config: Config;
  base: Base;
  tools: Tools;
  stages: readonly StageDefinition[];
  packages: Record<string, string>;
  layers: readonly { id: string; digest: string }[];
  sourceDateEpoch: number;
  /** Names the state of the package archives that the layers were made at. */
  archiveState: string;
  /** The mirrors that the Debian base names. */
  mirrors: { mirror: string | null; security_mirror: string | null } | undefined;
  progress: Progress;
  log: string;
  /** performance.now() at the start of the build. */
  started: number;
  /** What the build has needed at its peak up to now. */
  resources: () => Promise<Resources>;
};

/** What identifies a set of artifacts, so that an unchanged one is not made again. */
type Manifest = { artifacts_digest: string; artifacts: Artifact[]; durations: StepTiming[] };

/** Makes everything beside the raw image: compressed copy, bmap, checksums, manifests, summary. */
export async function writeArtifacts(o: ArtifactRequest): Promise<Artifacts> {
  const { config } = o;
  const file = (name: string) => join(o.directory, name);
  const digest = digestOf([
    'artifacts',
    3,
    o.imageDigest,
    config.image.compress,
    config.image.compress_level,
    config.image.release_url,
    o.tools.digest,
  ]);
  const known = await readManifest(file('manifest.json'));
  if (known?.artifacts_digest === digest && (await stillThere(o.directory, known.artifacts))) {
    o.progress.cached('artifacts');
    return { directory: o.directory, released: releasedName(o), files: known.artifacts };
  }
  await rm(file('manifest.json'), { force: true });
  const { compress } = config.image;
  const [raw, released] = await Promise.all([
    o.progress.step('checksum', () => fileDigest(o.image)),
    compress === 'none'
      ? Promise.resolve(o.image)
      : o.progress.step(`compress (${compress})`, (ui) =>
          compressImage({
            image: o.image,
            compression: compress,
            level: config.image.compress_level,
            tools: o.tools,
            log: o.log,
            onProgress: (done) => ui.progress(done),
          }),
        ),
  ]);
  const bmap = `${o.image}.bmap`;
  await o.progress.step('bmap', () => writeBmap(o.image, bmap));
  const download = compress === 'none' ? raw : await fileDigest(released);
  const files: Artifact[] = [
    { file: basename(o.image), size: raw.size, sha256: raw.sha256 },
    ...(compress === 'none'
      ? []
      : [
          {
            file: `${basename(o.image)}${suffix[compress]}`,
            size: download.size,
            sha256: download.sha256,
          },
        ]),
  ];
  const icon = file(`${config.name}.png`);
  await replaceFile(icon, await readFile(iconFile));
  const list = file(`${config.name}.rpi-imager-manifest`);
  await replaceFile(
    list,
    `${JSON.stringify(imagerList(o, released, icon, raw, download), null, 2)}\n`,
  );
  for (const extra of [bmap, list, icon]) {
    const { size, sha256 } = await fileDigest(extra);
    files.push({ file: basename(extra), size, sha256 });
  }
  await o.progress.step('SBOM, licences, provenance', async () => {
    files.push(...(await writeTrust({ ...o, name: config.name, artifacts: files })));
  });
  const overview = summary(o, files, released);
  const manifest = `${JSON.stringify(buildManifest(o, digest, files, await o.resources()), null, 2)}\n`;
  await replaceFile(file('summary.txt'), overview);
  await replaceFile(
    file(sumsName),
    formatSums([
      ...files.map((one): [string, string] => [one.file, one.sha256]),
      ['summary.txt', textDigest(overview)],
      ['manifest.json', textDigest(manifest)],
    ]),
  );
  // Signed were the files before; who signs them does so again.
  await rm(file(signatureName), { force: true });
  await rm(file(`${config.name}${envelopeSuffix}`), { force: true });
  // Last: it vouches for the others.
  await replaceFile(file('manifest.json'), manifest);
  return { directory: o.directory, released: releasedName(o), files };
}

function releasedName(o: ArtifactRequest): string {
  return `${basename(o.image)}${suffix[o.config.image.compress]}`;
}

function imagerList(
  o: ArtifactRequest,
  released: string,
  icon: string,
  raw: { size: number; sha256: string },
  download: { size: number; sha256: string },
) {
  const folder = o.config.image.release_url?.replace(/\/?$/, '/');
  const url = (path: string) => (folder ? folder + basename(path) : pathToFileURL(path).href);
  return imagerManifest({
    name: `Pi Gateway (${o.config.name})`,
    description: `Hardened gateway on ${o.base.description}: ${o.stages.map((stage) => stage.name).join(', ')}`,
    url: url(released),
    iconUrl: url(icon),
    extractSize: raw.size,
    extractSha256: raw.sha256,
    downloadSize: download.size,
    downloadSha256: download.sha256,
    bmapUrl: url(`${o.image}.bmap`),
    releaseDate: new Date(o.sourceDateEpoch * 1000).toISOString().slice(0, 10),
    initFormat: o.base.initFormat,
  });
}

function buildManifest(
  o: ArtifactRequest,
  digest: string,
  files: readonly Artifact[],
  resources: Resources,
) {
  return {
    name: o.config.name,
    artifacts_digest: digest,
    image_digest: o.imageDigest,
    source_date_epoch: o.sourceDateEpoch,
    archive_state: o.archiveState,
    base: {
      kind: o.base.kind,
      description: o.base.description,
      digest: o.base.digest,
      init_format: o.base.initFormat,
      source: o.base.source,
      mirrors: o.mirrors,
    },
    config: o.config,
    stages: o.stages.map(({ name, summary: text }) => ({ name, summary: text })),
    layers: o.layers,
    packages: o.packages,
    tools: o.tools.versions,
    tools_architecture: hostArchitecture,
    artifacts: files,
    durations: o.progress.timings.map((timing) => ({ ...timing, seconds: round(timing.seconds) })),
    seconds: round((performance.now() - o.started) / 1000),
    resources,
  };
}

function round(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

function summary(o: ArtifactRequest, files: readonly Artifact[], released: string): string {
  return [
    `${o.config.name}: Pi Gateway image`,
    `Base: ${o.base.description}`,
    `Stages: ${o.stages.map((stage) => stage.name).join(', ')}`,
    `Packages: ${Object.keys(o.packages).length}`,
    '',
    ...files.map(
      (artifact) => `${artifact.file}  ${megabytes(artifact.size)}  sha256 ${artifact.sha256}`,
    ),
    '',
    ...nextSteps(o.config.name, basename(released)),
    '',
  ].join('\n');
}

/** What a user does with a finished image. */
export function nextSteps(name: string, released: string): string[] {
  return [
    'Next:',
    `  Flash: open ${name}.rpi-imager-manifest with Raspberry Pi Imager 2, or`,
    `         bmaptool copy ${released} /dev/sdX`,
    '  Then copy gateway-device.yaml.example on the boot partition to gateway-device.yaml,',
    '  with your public SSH key in it, and start the Pi.',
    '  Try it here first: npx pi-gateway-image boot',
  ];
}

async function readManifest(path: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Manifest;
  } catch {
    return undefined;
  }
}

async function stillThere(directory: string, files: readonly Artifact[]): Promise<boolean> {
  for (const { file, size } of files) {
    const found = await stat(join(directory, file)).catch(() => undefined);
    if (found?.size !== size) return false;
  }
  return true;
}
