import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
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

/** Renders a stage's overlay with options as gateway.yaml would give them. */
export async function renderStage(
  stage: StageDefinition,
  options: Record<string, unknown> = {},
  others: GatewayConfig['stages'] = {},
): Promise<Rendered> {
  const parsed = stage.options.parse(options);
  const config = { name: 'test', stages: { ...others, [stage.name]: parsed } };
  const entries = await renderOverlay(
    join(root, 'overlays', stage.name),
    { options: parsed, config, derived: stage.derive?.(parsed, config) ?? {} },
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
