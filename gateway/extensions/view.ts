import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { type Extension, readInstalled } from './installed.ts';
import { apiVersions, type Manifest } from './manifest.ts';
import { permissionsOf } from './permissions.ts';
import { extensionStates, stateOf } from './state.ts';

export const extensionView = z.object({
  name: z.string(),
  title: z.string(),
  version: z.string().nullable(),
  api_version: z.number().int().nullable(),
  summary: z.string().nullable(),
  homepage: z.string().nullable(),
  state: z.enum(extensionStates),
  detail: z.string().describe('In words; of one that is refused: why, and what to do'),
  memory_bytes: z.number().nullable(),
  permissions: z.array(
    z.object({
      what: z.string(),
      may: z.string(),
      reaches: z.boolean().describe('Whether it goes beyond its own folder and process'),
    }),
  ),
  routes: z.array(
    z.object({
      method: z.string(),
      path: z.string().describe('Below /api/v1'),
      role: z.enum(['viewer', 'admin']),
      summary: z.string(),
    }),
  ),
  verbs: z.array(z.object({ usage: z.string().describe('After pi-gateway'), summary: z.string() })),
  card: z.object({ every: z.number().int() }).nullable().describe('It has something to show'),
});
export type ExtensionView = z.output<typeof extensionView>;

export const extensionList = z.object({
  api_versions: z.array(z.number().int()).describe('Of the extension API that this gateway has'),
  extensions: z.array(extensionView),
});

/** All of this image, also those that this gateway cannot run. */
export async function extensionViews(system: System): Promise<z.output<typeof extensionList>> {
  const { extensions, refused } = await readInstalled(system);
  const views = await Promise.all(extensions.map((one) => viewOf(system, one)));
  const others = refused.map(
    ({ name, problem, fix }): ExtensionView => ({
      name,
      title: name,
      version: null,
      api_version: null,
      summary: null,
      homepage: null,
      state: 'refused',
      detail: `${problem}. ${fix}`,
      memory_bytes: null,
      permissions: [],
      routes: [],
      verbs: [],
      card: null,
    }),
  );
  return {
    api_versions: [...apiVersions],
    extensions: [...views, ...others].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

async function viewOf(system: System, { manifest, build }: Extension): Promise<ExtensionView> {
  return {
    name: manifest.name,
    title: manifest.title,
    version: manifest.version,
    api_version: manifest.apiVersion,
    summary: manifest.summary,
    homepage: manifest.homepage ?? null,
    ...(await stateOf(system, manifest)),
    permissions: permissionsOf(manifest, build),
    routes: manifest.routes,
    verbs: manifest.verbs.map((verb) => ({
      usage: usageOf(manifest, verb),
      summary: verb.summary,
    })),
    card: manifest.card ?? null,
  };
}

/** `x hello greet <who> [greeting]` */
export function usageOf({ name }: Manifest, verb: Manifest['verbs'][number]): string {
  const words = verb.arguments.map((one) => (one.optional ? `[${one.name}]` : `<${one.name}>`));
  return ['x', name, verb.name, ...words].join(' ');
}
