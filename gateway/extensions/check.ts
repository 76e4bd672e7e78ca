import { existsSync } from 'node:fs';
import * as z from 'zod';
import type { Sample } from '../monitor/catalogue.ts';
import {
  type CheckDefinition,
  type Finding,
  ok,
  unknown,
  warning,
} from '../monitor/checks/check.ts';
import type { Systemd } from '../monitor/checks/units.ts';
import type { Files } from '../monitor/files.ts';
import { askExtension } from './ask.ts';
import { installedIn, offFile } from './installed.ts';
import { type Manifest, manifestFolder } from './manifest.ts';
import { unitsOf } from './units.ts';

/** Milliseconds: who is well says so at once. */
const patience = 5000;

/** What an extension's service answers to GET /health. */
export const healthSchema = z.strictObject({
  state: z.enum(['ok', 'warning', 'failed']),
  text: z.string().max(300),
  metrics: z.record(z.string().max(32), z.number()).optional(),
});

/** What there is to look at of the image's extensions, and the units that are asked for. */
export function extensionChecks(
  files: Files,
  systemd: Systemd,
  every: number,
): { units: readonly string[]; checks: readonly CheckDefinition[] } {
  const { extensions, refused } = installedIn(
    files.names(manifestFolder).map((file) => [file, files.text(`${manifestFolder}/${file}`)]),
  );
  const watched = extensions.filter(({ manifest }) => manifest.service);
  return {
    units: watched.flatMap(({ manifest }) => [...unitsOf(manifest).all]),
    checks: [
      ...watched.map(({ manifest }) => extensionCheck(files, systemd, manifest, every)),
      ...refused.map(({ name, problem, fix }) => ({
        id: `extension:${name}`,
        title: `Extension ${name}`,
        needs: [],
        every,
        confirm: 1,
        look: async () => warning(`${problem}. ${fix}`),
      })),
    ],
  };
}

/**
 * By what systemd says and, while it runs, by its own word. It is never the gateway that fails with it, so it
 * deserves a look and no more.
 */
function extensionCheck(
  files: Files,
  systemd: Systemd,
  manifest: Manifest,
  every: number,
): CheckDefinition {
  const { name, title, health } = manifest;
  return {
    id: `extension:${name}`,
    title: `Extension ${title}`,
    needs: [],
    every: Math.max(every, health?.every ?? 0),
    confirm: 2,
    look: () => look(files, systemd, manifest),
  };
}

async function look(files: Files, systemd: Systemd, manifest: Manifest): Promise<Finding> {
  const { name, health } = manifest;
  const { all, service } = unitsOf(manifest);
  if (existsSync(files.path(offFile(name)))) return unknown('It is switched off');
  let running = false;
  try {
    for (const unit of all) {
      const state = await systemd.state(unit);
      if (state?.active === 'failed' || state?.sub.startsWith('auto-restart'))
        return warning(`${unit} has failed. Its log: journalctl -u ${service}`);
      if (unit === service) running = state?.active === 'active';
    }
  } catch (error) {
    return unknown(`systemd cannot be asked: ${error instanceof Error ? error.message : error}`);
  }
  if (!running)
    return manifest.service?.start === 'boot'
      ? warning(`It does not run. Its log: journalctl -u ${service}`)
      : ok('It runs when it is needed');
  return health ? await asked(files, name, health.metrics) : ok('It runs');
}

async function asked(files: Files, name: string, metrics: readonly string[]): Promise<Finding> {
  try {
    const question = { method: 'get', path: '/health', user: 'pi-gatewayd', role: 'viewer' };
    const answer = healthSchema.safeParse(
      await askExtension({ root: files.path('/') }, name, question, patience),
    );
    if (!answer.success) return warning('It does not say how it is as docs/extensions.md has it');
    const { state, text, metrics: told = {} } = answer.data;
    // Only those of the manifest: one with new names each time would fill the history.
    const samples = metrics.flatMap((metric): Sample[] =>
      Object.hasOwn(told, metric)
        ? [{ measure: 'extension.value', label: `${name}.${metric}`, value: told[metric] }]
        : [],
    );
    return state === 'ok' ? ok(text, samples) : warning(text, samples);
  } catch (error) {
    return warning(error instanceof Error ? error.message : String(error));
  }
}
