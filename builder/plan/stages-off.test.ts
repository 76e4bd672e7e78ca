import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from '../config/load.ts';
import { loadStages } from '../stages.ts';
import { project } from '../testing/build.ts';
import { enabledStages } from './order.ts';
import { planSteps } from './show.ts';

const cache = await mkdtemp(join(tmpdir(), 'pi-gateway-plan-'));
afterAll(() => rm(cache, { recursive: true }));

const all = await loadStages(project);
const stages = all.map((stage) => stage.definition);
/** Those that are on unless the configuration says otherwise. */
const usual = stages.filter((stage) => stage.enabledByDefault !== false);

/** The stages that cannot be without this one, itself among them. */
function dependents(name: string): string[] {
  const direct = stages.filter((stage) => stage.needs?.includes(name));
  return [name, ...direct.flatMap((stage) => dependents(stage.name))];
}

async function planWithout(off: readonly string[]): Promise<string[]> {
  const { config } = await loadConfig({
    root: project,
    stages,
    sets: [`paths.cache=${cache}`, ...off.map((name) => `stages.${name}=false`)],
  });
  const enabled = enabledStages(all, config);
  const steps = await planSteps(project, config, enabled);
  return steps.map(({ step }) => step);
}

test.each(usual.map(({ name }) => name))('without %s, a build still plans', async (name) => {
  const off = [...new Set(dependents(name))];
  const steps = await planWithout(off);
  const left = usual.map((stage) => stage.name).filter((other) => !off.includes(other));
  for (const other of left) expect(steps).toContain(`config ${other}`);
  for (const other of off) expect(steps).not.toContain(`config ${other}`);
});

test('without a stage that another needs, it is said which', async () => {
  await expect(planWithout(['ssh'])).rejects.toThrow("'firstboot' needs 'ssh', which is off");
});
