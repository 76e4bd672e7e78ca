import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { at, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { grafana } from './catalog/grafana.ts';
import { homeAssistant } from './catalog/home-assistant.ts';
import { nextcloud } from './catalog/nextcloud.ts';
import { nodeRed } from './catalog/node-red.ts';
import { piHole } from './catalog/pi-hole.ts';
import { ownTemplates, type Template, template } from './template.ts';

/** What the image brings. */
export const catalog: readonly Template[] = [grafana, homeAssistant, nextcloud, nodeRed, piHole];

/** The catalogue with the owner's own templates, of which one may replace one of the same id. */
export async function readTemplates(system: System): Promise<Template[]> {
  const folder = at(system, ownTemplates);
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const found = new Map(catalog.map((one) => [one.id, one]));
  for (const name of names.filter((one) => one.endsWith('.json')).sort()) {
    const one = parseTemplate(await readFile(join(folder, name), 'utf8'), name);
    found.set(one.id, one);
  }
  return [...found.values()].sort((a, b) => a.id.localeCompare(b.id));
}

export async function needTemplate(system: System, id: string): Promise<Template> {
  const all = await readTemplates(system);
  const found = all.find((one) => one.id === id);
  if (found) return found;
  throw new GatewayError(
    `There is no template ${id}`,
    `There are ${all.map((one) => one.id).join(', ')}: sudo pi-gateway container catalog`,
    'missing',
  );
}

/** @throws GatewayError with each mistake's place. */
export function parseTemplate(text: string, name: string): Template {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new GatewayError(`${name} is no JSON`, `Mend or remove it: ${ownTemplates}/${name}`);
  }
  const parsed = template.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new GatewayError(
    `The template ${name} has mistakes: ${z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' ')}`,
    `Mend or remove it: ${ownTemplates}/${name}`,
    'refused',
  );
}
