import { existsSync } from 'node:fs';
import * as z from 'zod';
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
import { offFile } from './installed.ts';
import { incompatibility, type Manifest, manifestFolder, manifestSchema } from './manifest.ts';
import { unitsOf } from './units.ts';

/** Milliseconds: who is well says so at once. */
const patience = 5000;

/** What an extension's service answers to GET /health. */
export const healthSchema = z.strictObject({
  state: z.enum(['ok', 'warning', 'failed']),
  text: z.string().max(300),
});

/** Extensions of the image with something to look at. */
export function watchedExtensions(files: Files): Manifest[] {
  return files.names(manifestFolder).flatMap((file) => {
    const text = files.text(`${manifestFolder}/${file}`);
    if (text === undefined || !file.endsWith('.json')) return [];
    try {
      const { manifest } = JSON.parse(text) as { manifest?: { apiVersion?: unknown } };
      // One of another version runs nothing that this gateway may judge; the list of extensions tells of it.
      if (incompatibility(manifest?.apiVersion) !== undefined) return [];
      const parsed = manifestSchema.safeParse(manifest);
      return parsed.success && parsed.data.service ? [parsed.data] : [];
    } catch {
      return [];
    }
  });
}

/**
 * By what systemd says and, while it runs, by its own word. It is never the gateway that fails with it, so it
 * deserves a look and no more.
 */
export function extensionCheck(
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
  return health ? await asked(files, name) : ok('It runs');
}

async function asked(files: Files, name: string): Promise<Finding> {
  try {
    const question = { method: 'get', path: '/health', user: 'pi-gatewayd', role: 'viewer' };
    const answer = healthSchema.safeParse(
      await askExtension({ root: files.path('/') }, name, question, patience),
    );
    if (!answer.success) return warning('It does not say how it is as docs/extensions.md has it');
    const { state, text } = answer.data;
    return state === 'ok' ? ok(text) : warning(text);
  } catch (error) {
    return warning(error instanceof Error ? error.message : String(error));
  }
}
