import type { GatewayConfig } from '../../stages/define.ts';
import type { PreparedStage } from '../overlay/prepare.ts';
import { digestOf } from './digest.ts';

/** What a layer is made from, by name; its digest is of these. */
export type LayerInputs = Record<string, string>;

export type PackageStep = {
  kind: 'packages';
  id: string;
  stage: PreparedStage;
  packages: readonly string[];
  purge: readonly string[];
  inputs: LayerInputs;
  digest: string;
};

export type ConfigStep = {
  kind: 'config';
  id: string;
  stage: PreparedStage;
  inputs: LayerInputs;
  digest: string;
};

export type LayerStep = PackageStep | ConfigStep;

/** Bump when the way layers are made changes, so that no layer of the old way is used again. */
const engine = '2';

/**
 * The layers of the stages, lowest first: first every stage's packages, then every stage's files,
 * services and code. So a changed file never installs a package again. Pure.
 */
export function planLayers(o: {
  baseDigest: string;
  stages: readonly PreparedStage[];
  pins: Record<string, string>;
  /** Changes when the user asks for the newest packages (`--refresh`). */
  freshness: string;
  sourceDateEpoch: number;
  toolsDigest: string;
  config: GatewayConfig;
}): LayerStep[] {
  const steps: LayerStep[] = [];
  let parent = digestOf([engine, o.baseDigest, o.toolsDigest, o.sourceDateEpoch]);
  const add = <Step extends Omit<LayerStep, 'digest'>>(step: Step): void => {
    const digest = digestOf(step.inputs);
    steps.push({ ...step, digest } as LayerStep);
    parent = digest;
  };
  for (const stage of o.stages) {
    if (stage.packages.length + stage.purge.length === 0) continue;
    const packages = stage.packages.map((name) => {
      const pin = o.pins[name];
      return pin ? `${name}=${pin}` : name;
    });
    add({
      kind: 'packages',
      id: `packages ${stage.stage.definition.name}`,
      stage,
      packages,
      purge: stage.purge,
      inputs: { parent, packages: digestOf([packages, stage.purge]), freshness: o.freshness },
    } satisfies Omit<PackageStep, 'digest'>);
  }
  for (const stage of o.stages) {
    const { services } = stage;
    const idle =
      stage.files.length === 0 &&
      !stage.stage.definition.run &&
      services.enable.length + services.disable.length + services.mask.length === 0;
    if (idle) continue;
    add({
      kind: 'config',
      id: `config ${stage.stage.definition.name}`,
      stage,
      inputs: {
        parent,
        files: stage.filesDigest,
        code: stage.codeDigest,
        options: digestOf(stage.options ?? null),
        services: digestOf(services),
        // A run() that takes the whole configuration depends on all of it.
        ...((stage.stage.definition.run?.length ?? 0) > 2 ? { config: digestOf(o.config) } : {}),
      },
    } satisfies Omit<ConfigStep, 'digest'>);
  }
  return steps;
}

const changeNames: Record<string, string> = {
  parent: 'a layer below it changed',
  packages: 'its packages changed',
  freshness: 'newest packages were asked for',
  files: 'its files changed',
  code: 'its code changed',
  options: 'its options changed',
  services: 'its services changed',
  config: 'the configuration that it reads changed',
};

/** Why a layer must be made, in words, from what it was made from the last time. */
export function reasonFor(inputs: LayerInputs, last: LayerInputs | undefined): string {
  if (!last) return 'never made here';
  const changed = Object.keys(inputs).filter((key) => inputs[key] !== last[key]);
  if (changed.length === 0) return 'no longer in the cache';
  const own = changed.filter((key) => key !== 'parent');
  return (own.length > 0 ? own : changed).map((key) => changeNames[key] ?? key).join(', ');
}
