import { resolve } from 'node:path';
import { styleText } from 'node:util';
import type { Permission } from '../../gateway/extensions/permissions.ts';
import { findDebian } from '../base/base.ts';
import { prepareStages } from '../build.ts';
import { gatewayConfig } from '../config/gateway.ts';
import type { Config } from '../config/schema.ts';
import { permissionLines, permissionsFor } from '../extension/extension.ts';
import { readImageRecord } from '../image/record.ts';
import { LayerStore } from '../layer/store.ts';
import type { LoadedStage } from '../stages.ts';
import { readArchiveState, readState } from '../state.ts';
import { findTools } from '../tools/tools.ts';
import { planLayers, reasonFor } from './plan.ts';

export type PlannedStep = {
  step: string;
  /** Short digest; absent where it depends on something that is not there yet. */
  digest?: string | undefined;
  cached: boolean;
  /** Why the step must run. */
  reason?: string | undefined;
  packages: readonly string[];
  files: readonly string[];
  /** What an extension may do, of the step with its files. */
  permissions?: readonly Permission[];
};

/** What a build would do now. Reads the cache, changes nothing, needs no root. */
export async function planSteps(
  root: string,
  config: Config,
  enabled: readonly LoadedStage[],
): Promise<PlannedStep[]> {
  const cache = resolve(root, config.paths.cache);
  const store = new LayerStore(cache);
  const state = await readState(cache, config.name);
  const freshness = await readArchiveState(cache);
  const gateway = gatewayConfig(
    config,
    enabled.map((stage) => stage.definition),
  );
  const stages = await prepareStages(root, enabled, gateway, cache);
  const tools = await findTools(cache, config.debian);
  const choice = config.base[state.base?.index ?? 0];
  const base =
    tools && choice === 'debian' ? await findDebian(config, tools, store, freshness) : undefined;
  const name = typeof choice === 'object' ? Object.keys(choice)[0] : choice;
  const steps: PlannedStep[] = [
    plain('tools', tools?.digest, tools !== undefined),
    plain(
      `base ${name}`,
      base?.digest,
      base !== undefined,
      choice === 'debian' ? undefined : 'image bases are looked at when the build runs',
    ),
  ];
  const given = process.env.SOURCE_DATE_EPOCH;
  const layers = planLayers({
    baseDigest: base?.digest ?? '',
    stages,
    pins: config.apt.pin,
    freshness,
    sourceDateEpoch: given ? Number(given) : (config.image.source_date_epoch ?? base?.date ?? 0),
    toolsDigest: tools?.digest ?? '',
    config: gateway,
  });
  for (const layer of layers) {
    const known = base ? await store.find(layer.digest) : undefined;
    steps.push({
      step: layer.id,
      digest: base ? layer.digest.slice(0, 12) : undefined,
      cached: known !== undefined,
      reason: known
        ? undefined
        : base
          ? reasonFor(layer.inputs, state.inputs[layer.id])
          : 'comes after the base',
      packages: layer.kind === 'packages' ? layer.packages : [],
      files: layer.kind === 'config' ? layer.stage.files.map((file) => file.path) : [],
      ...(layer.kind === 'config' && layer.stage.stage.extension
        ? { permissions: permissionsFor(layer.stage.stage.extension, layer.stage.options) }
        : {}),
    });
  }
  const image = await readImageRecord(
    resolve(root, config.paths.output, config.name, `${config.name}.img`),
  );
  const fresh = steps.every((step) => step.cached) && image !== undefined;
  steps.push(
    plain(
      'image',
      image?.digest,
      fresh,
      fresh ? undefined : 'something in it changed, or it was not made yet',
    ),
  );
  return steps;
}

function plain(
  step: string,
  digest: string | undefined,
  cached: boolean,
  reason?: string,
): PlannedStep {
  return {
    step,
    digest: digest?.slice(0, 12),
    cached,
    reason: cached ? undefined : (reason ?? 'never made here'),
    packages: [],
    files: [],
  };
}

export function planText(steps: readonly PlannedStep[], color: boolean): string {
  const paint = (style: 'green' | 'yellow' | 'dim', text: string) =>
    color ? styleText(style, text, { validateStream: false }) : text;
  const width = Math.max(...steps.map((step) => step.step.length));
  return steps
    .flatMap((step) => [
      `${step.cached ? paint('green', '✓') : paint('yellow', '▸')} ${step.step.padEnd(width)}  ${(step.digest ?? '-').padEnd(12)}  ${step.cached ? 'cached' : `run: ${step.reason}`}`,
      ...(step.packages.length > 0
        ? [paint('dim', `    packages: ${step.packages.join(' ')}`)]
        : []),
      ...step.files.map((file) => paint('dim', `    ${file}`)),
      ...permissionLines(step.permissions ?? []).map((line) => `    ${line}`),
    ])
    .join('\n');
}
