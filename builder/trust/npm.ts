import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { StageDefinition } from '../../stages/define.ts';
import { byName } from '../inspect/file-system.ts';

export type NpmPackage = { name: string; version: string; licence: string | undefined };

/** Folder of the innermost npm package that a bundle's input lies in. */
const packageFolder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;

/** npm packages of which something is in the programs and pages that the stages put on the device. */
export async function bundledPackages(
  root: string,
  stages: readonly StageDefinition[],
): Promise<NpmPackage[]> {
  const pages = stages.flatMap((stage) => stage.assets ?? []);
  const scripts = await Promise.all(
    pages.map(async ({ html, worker }) => {
      const text = await readFile(join(root, html), 'utf8');
      const folder = html.slice(0, html.lastIndexOf('/') + 1);
      const names = [...text.matchAll(/src="\.\/([\w.-]+\.tsx?)"/g)].map(
        ([, n]) => `${folder}${n}`,
      );
      return worker === undefined ? names : [...names, worker];
    }),
  );
  const programs = stages.flatMap((stage) => (stage.bundles ?? []).map(({ entry }) => entry));
  const folders = new Set<string>();
  for (const [platform, entries] of [
    ['node', programs],
    ['browser', scripts.flat()],
  ] as const) {
    const { metafile } = await build({
      absWorkingDir: root,
      entryPoints: [...new Set(entries)],
      outdir: 'bundles',
      bundle: true,
      write: false,
      metafile: true,
      format: 'esm',
      platform,
      logLevel: 'silent',
    });
    for (const output of Object.values(metafile.outputs))
      for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
        const [folder] = packageFolder.exec(input) ?? [];
        if (folder !== undefined && bytesInOutput > 0) folders.add(folder);
      }
  }
  const packages = await Promise.all(
    [...folders].map(async (folder): Promise<NpmPackage> => {
      const { name, version, license } = JSON.parse(
        await readFile(join(root, folder, 'package.json'), 'utf8'),
      ) as { name: string; version: string; license?: string };
      return { name, version, licence: typeof license === 'string' ? license : undefined };
    }),
  );
  return packages.sort((a, b) => byName(a.name, b.name) || byName(a.version, b.version));
}
