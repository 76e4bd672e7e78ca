import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gatewayConfig } from '../builder/config/gateway.ts';
import { type OverlayEntry, renderOverlay } from '../builder/overlay/render.ts';
import type { GatewayConfig, StageDefinition } from './define.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** The stage's overlay as a test sees it. */
export type Rendered = {
  entries: readonly OverlayEntry[];
  /** A file's text; throws if the stage does not make it. */
  text(path: string): string;
  mode(path: string): number;
};

/**
 * Renders a stage's overlay with options as gateway.yaml would give them, beside the `others`: options
 * of stages that it looks at, or whole stages (with their default options), which then have ports too.
 */
export async function renderStage(
  stage: StageDefinition,
  options: Record<string, unknown> = {},
  others: GatewayConfig['stages'] | readonly StageDefinition[] = {},
): Promise<Rendered> {
  const parsed = stage.options.parse(options);
  const neighbours: readonly StageDefinition[] = Array.isArray(others) ? others : [];
  const config = gatewayConfig(
    {
      name: 'test',
      stages: {
        ...(Array.isArray(others)
          ? Object.fromEntries(neighbours.map((one) => [one.name, one.options.parse({})]))
          : others),
        [stage.name]: parsed,
      },
    },
    [stage, ...neighbours],
  );
  return await renderConfigured(stage, config);
}

/** Renders the overlay of a stage that the configuration has. */
export async function renderConfigured(
  stage: StageDefinition,
  config: GatewayConfig,
): Promise<Rendered> {
  const options = config.stages[stage.name];
  const entries = await renderOverlay(
    join(root, 'overlays', stage.name),
    { options, config, derived: stage.derive?.(options, config) ?? {} },
    stage.files ? { files: stage.files, stage: stage.name } : { stage: stage.name },
  );
  const find = (path: string) => {
    const entry = entries.find((one) => one.path === path);
    if (!entry || !('content' in entry)) throw new Error(`the stage makes no file ${path}`);
    return entry;
  };
  return {
    entries,
    text: (path) => find(path).content.toString('utf8'),
    mode: (path) => find(path).mode,
  };
}
