import { resolve } from 'node:path';
import type { GatewayConfig } from '../../stages/define.ts';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import { enforce, generatedFiles } from '../extension/extension.ts';
import { digestOf } from '../plan/digest.ts';
import type { LoadedStage } from '../stages.ts';
import { bundleAssets } from './assets.ts';
import { Bundles } from './bundles.ts';
import { type OverlayEntry, type OverlayFile, overlayDigest, renderOverlay } from './render.ts';

/** A stage with everything that its layers are made from. */
export type PreparedStage = {
  stage: LoadedStage;
  options: unknown;
  packages: readonly string[];
  purge: readonly string[];
  services: { enable: readonly string[]; disable: readonly string[]; mask: readonly string[] };
  /** The overlay rendered, programs and pages bundled, units of an extension made, by path. */
  files: readonly OverlayEntry[];
  filesDigest: string;
  /** Of the stage's own code with everything that it imports from the project. */
  codeDigest: string;
};

/** Renders and bundles what the stage puts on the device; touches no image. */
export async function prepareStage(
  root: string,
  stage: LoadedStage,
  options: unknown,
  config: GatewayConfig,
  bundles = new Bundles(),
): Promise<PreparedStage> {
  const { definition, extension } = stage;
  const own = [
    ...(await renderOverlay(
      stage.overlay,
      { options, config, derived: definition.derive?.(options, config) ?? {} },
      { ...(definition.files ? { files: definition.files } : {}), stage: definition.name },
    )),
    ...(await Promise.all(
      (definition.bundles ?? []).map((bundle) =>
        bundleProgram(resolve(root, bundle.entry), bundle, bundles),
      ),
    )),
    ...(
      await Promise.all(
        (definition.assets ?? []).map((assets) => bundleAssets(root, assets, bundles)),
      )
    ).flat(),
  ];
  const { enable = [], disable = [], mask = [] } = definition.services?.(options) ?? {};
  const services = { enable, disable, mask };
  if (extension) enforce(extension, own, services);
  const files = [...own, ...(extension ? generatedFiles(extension, options) : [])].toSorted(
    (a, b) => (a.path < b.path ? -1 : 1),
  );
  return {
    stage,
    options,
    packages: [...(definition.packages?.(options) ?? [])].sort(),
    purge: [...(definition.purge?.(options) ?? [])].sort(),
    services,
    files,
    filesDigest: overlayDigest(files),
    // What an extension's manifest says is in its files.
    codeDigest: digestOf(
      extension && !extension.build.code ? '' : await bundled(stage.module, 'the stage', bundles),
    ),
  };
}

/** One file for Debian trixie's nodejs (20), with everything it imports in it. */
export async function bundleProgram(
  entry: string,
  bundle: { path: string; mode?: number },
  bundles = new Bundles(),
): Promise<OverlayFile> {
  return {
    path: bundle.path,
    content: Buffer.from(await bundled(entry, 'the program', bundles)),
    mode: bundle.mode ?? 0o755,
    owner: 'root:root',
    source: entry,
  };
}

async function bundled(entry: string, what: string, bundles: Bundles): Promise<string> {
  const program = what === 'the program';
  try {
    return await bundles.build({
      entryPoints: [entry],
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      logLevel: 'silent',
      legalComments: 'none',
      ...(program
        ? {
            minify: true,
            // Packages in CommonJS call require(), which an ES module does not have.
            banner: {
              js: "#!/usr/bin/node\nimport{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);",
            },
          }
        : { packages: 'external' as const }),
    });
  } catch (cause) {
    throw new BuildError({
      what: `esbuild cannot bundle ${what}`,
      where: entry,
      detail: messageOf(cause),
      code: exitCode.usage,
      cause,
    });
  }
}
