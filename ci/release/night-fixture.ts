/**
 * A night with a small image instead of a built one, as a process of its own, so that tests can kill it:
 * `node ci/release/night-fixture.ts '<JSON of FixtureNight>'`. It prints the result as JSON.
 */
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileDigest } from '../../builder/artifact/compress.ts';
import { imagerManifest } from '../../builder/artifact/imager-manifest.ts';
import { makePiImage } from '../../builder/base/fixture.ts';
import { run } from '../../builder/exec.ts';
import { writeBmap } from '../../builder/image/bmap.ts';
import { digestOf } from '../../builder/plan/digest.ts';
import { presentError } from '../../builder/ui/present.ts';
import { night } from './night.ts';

export type FixtureNight = {
  /** Scratch folder for images; an image that was made once is taken again. */
  work: string;
  folder: string;
  url: string;
  keep: number;
  now: string;
  sources: string;
  archive: string | null;
  packages: Record<string, string>;
  files: Record<string, string>;
  /** True: the boot test passes; false: it fails; null: it is not asked for. */
  boots: boolean | null;
  /** True: the policy allows what is known; false: it does not; null: nobody asks. */
  safe: boolean | null;
  /** True: signs; false: the signature does not hold; null: there is no key. */
  signs: boolean | null;
  /** The process kills itself with SIGKILL when it comes to this step. */
  killAt?: string;
};

async function image(o: FixtureNight): Promise<string> {
  const path = join(o.work, `${digestOf([o.packages, o.files]).slice(0, 12)}.img`);
  const there = await access(path).then(
    () => true,
    () => false,
  );
  if (there) return path;
  const tree = `${path}.tree`;
  await rm(tree, { recursive: true, force: true });
  const status = Object.entries(o.packages).map(
    ([name, version]) =>
      `Package: ${name}\nStatus: install ok installed\nArchitecture: arm64\nVersion: ${version}\n`,
  );
  for (const [name, text] of Object.entries({
    'var/lib/dpkg/status': status.join('\n'),
    ...o.files,
  })) {
    await mkdir(dirname(join(tree, name)), { recursive: true });
    await writeFile(join(tree, name), text);
  }
  const mebibyte = 1024 * 1024;
  await makePiImage({
    path: `${path}.new`,
    rootTree: tree,
    bootSize: 5 * mebibyte,
    rootSize: 2 * mebibyte,
  });
  await rename(`${path}.new`, path);
  return path;
}

async function artifacts(raw: string, url: string, work: string): Promise<string> {
  const output = join(work, 'output');
  await rm(output, { recursive: true, force: true });
  await mkdir(output);
  const target = join(output, 'pi-gateway.img');
  await run('cp', ['--sparse=always', raw, target]);
  await run('xz', ['-0', '--keep', target]);
  await writeBmap(target, `${target}.bmap`);
  const [plain, packed] = await Promise.all([fileDigest(target), fileDigest(`${target}.xz`)]);
  const list = imagerManifest({
    name: 'Pi Gateway (pi-gateway)',
    description: 'A small image for tests',
    url: `${url}/pi-gateway.img.xz`,
    iconUrl: `${url}/pi-gateway.png`,
    bmapUrl: `${url}/pi-gateway.img.bmap`,
    extractSize: plain.size,
    extractSha256: plain.sha256,
    downloadSize: packed.size,
    downloadSha256: packed.sha256,
    releaseDate: '2026-11-26',
    initFormat: 'cloudinit',
  });
  await writeFile(join(output, 'pi-gateway.rpi-imager-manifest'), JSON.stringify(list));
  await writeFile(join(output, 'SHA256SUMS'), `${plain.sha256}  pi-gateway.img\n`);
  return output;
}

if (import.meta.main) {
  const o = JSON.parse(process.argv[2] ?? '') as FixtureNight;
  try {
    const { released, reason } = await night(
      {
        folder: o.folder,
        url: o.url,
        keep: o.keep,
        now: new Date(o.now),
        onStep: (step) => {
          if (step === o.killAt) process.kill(process.pid, 'SIGKILL');
        },
      },
      {
        look: async () => ({ sources: o.sources, config: 'config', archive: o.archive }),
        build: async () => {
          process.stderr.write('building\n');
          return { path: await image(o), base: 'base', packages: o.packages };
        },
        vulnerabilities:
          o.safe === null
            ? null
            : async () => {
                if (!o.safe) throw new Error('the policy does not allow CVE-2026-0001');
                return '{"found":[]}\n';
              },
        bootTest:
          o.boots === null
            ? null
            : async () => {
                if (!o.boots) throw new Error('the device does not start');
              },
        artifacts: async (url) => await artifacts(await image(o), url, o.work),
        sign:
          o.signs === null
            ? null
            : async (directory) => {
                const sums = await readFile(join(directory, 'SHA256SUMS'), 'utf8');
                if (!o.signs) throw new Error('the signature does not hold');
                await writeFile(join(directory, 'SHA256SUMS.minisig'), `signed: ${digestOf(sums)}`);
              },
        source: async () => ({ commit: null, uncommitted: false }),
        commitsSince: async () => [],
      },
    );
    process.stdout.write(JSON.stringify({ id: released?.id ?? null, reason }));
  } catch (error) {
    process.exitCode = presentError(error, { json: false });
  }
}
