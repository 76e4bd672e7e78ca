import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { record } from '../api/audit.ts';
import type { Context } from '../api/context.ts';
import type { Content, Operation } from '../api/operation.ts';
import { askExtension, longestWait } from './ask.ts';
import { readInstalled } from './installed.ts';
import { type Manifest, parametersOf, type Route } from './manifest.ts';
import { requireOn } from './operations.ts';

/**
 * The routes of this image's extensions as operations of the API: who may, the limits of what comes in, the
 * session's token, scopes and the OpenAPI document are then those of all other operations.
 * @param wait Milliseconds until an answer must be whole; tests have less.
 */
export async function routeOperations(system: System, wait = longestWait): Promise<Operation[]> {
  const { extensions, refused } = await readInstalled(system);
  for (const { problem, fix } of refused) system.say(`${problem}: ${fix}`);
  return extensions.flatMap(({ manifest }) =>
    manifest.routes.map((route) => operationOf(manifest, route, wait)),
  );
}

const query = z.record(
  z.string().max(64),
  z.union([z.string().max(512), z.array(z.string().max(512)).max(32)]),
);

type Given = {
  params: Record<string, string> | undefined;
  query: z.output<typeof query> | undefined;
  body: unknown;
  wait: number;
};

function operationOf({ name }: Manifest, route: Route, wait: number): Operation {
  const { method, path, role, summary } = route;
  const parameters = parametersOf(path);
  const takesBody = method !== 'get' && method !== 'delete';
  return {
    id: `x_${method}${path.replaceAll(/[^a-z0-9]+/g, '_')}`,
    method,
    path,
    area: 'extensions',
    summary: `${name}: ${summary}`,
    role,
    ...(parameters.length > 0
      ? {
          params: z.strictObject(
            Object.fromEntries(parameters.map((one) => [one, z.string().max(256)])),
          ),
        }
      : {}),
    ...(method === 'get' ? { query } : {}),
    ...(takesBody ? { body: z.unknown() } : {}),
    content: 'application/json',
    run: (context, input) => answer(context, name, route, { ...(input as Given), wait }),
  };
}

async function answer(
  context: Context,
  name: string,
  { method, path }: Route,
  given: Given,
): Promise<Content> {
  const { system, principal } = context;
  await requireOn(system, name);
  const filled = path.replaceAll(/\{(\w+)\}/g, (_match, key: string) =>
    encodeURIComponent(given.params?.[key] ?? ''),
  );
  const pairs = Object.entries(given.query ?? {}).flatMap(([key, value]) =>
    [value].flat().map((one): [string, string] => [key, one]),
  );
  const text = new URLSearchParams(pairs).toString();
  const question = {
    method,
    path: text === '' ? filled : `${filled}?${text}`,
    body: given.body,
    user: principal?.name ?? 'nobody',
    role: principal?.role ?? 'viewer',
  };
  const value = await askExtension(system, name, question, given.wait);
  const done = `${method} ${filled}`.slice(0, 256);
  if (method !== 'get') await record(context, 'extension.call', { extension: name, route: done });
  return { type: 'application/json', text: `${JSON.stringify(value)}\n` };
}
