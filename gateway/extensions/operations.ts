import * as z from 'zod';
import type { Context } from '../api/context.ts';
import { defineOperation } from '../api/operation.ts';
import { GatewayError } from '../errors.ts';
import { askExtension, broken } from './ask.ts';
import { type Card, cardSchema } from './card.ts';
import { findExtension, isOn } from './installed.ts';
import { type Manifest, routeName } from './manifest.ts';
import { extensionStates } from './state.ts';
import { extensionList, extensionViews } from './view.ts';

const params = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{1,17}$/)
    .describe('As in the list, e.g. hello'),
});

const switched = z.object({
  name: z.string(),
  state: z.enum(extensionStates),
  detail: z.string(),
});

export const extensionsGet = defineOperation({
  id: 'extensionList',
  method: 'get',
  path: '/extensions',
  area: 'extensions',
  summary: 'Extensions of this image: how each is, what it may, what it adds',
  role: 'viewer',
  response: extensionList,
  run: ({ system }) => extensionViews(system),
});

export const extensionCard = defineOperation({
  id: 'extensionCard',
  method: 'get',
  path: '/extensions/{name}/card',
  area: 'extensions',
  summary: 'What an extension has to show',
  role: 'viewer',
  params,
  response: cardSchema,
  run: (context, input) => readCard(context, input.params.name),
});

export const extensionEnable = defineOperation({
  id: 'extensionEnable',
  method: 'post',
  path: '/extensions/{name}/enable',
  area: 'extensions',
  summary: 'Switches an extension on that was switched off',
  role: 'admin',
  params,
  response: switched,
  run: (context, input) => turn(context, input.params.name, 'on'),
});

export const extensionDisable = defineOperation({
  id: 'extensionDisable',
  method: 'post',
  path: '/extensions/{name}/disable',
  area: 'extensions',
  summary: 'Switches an extension off; it stays in the image, and keeps its data',
  role: 'admin',
  params,
  response: switched,
  run: (context, input) => turn(context, input.params.name, 'off'),
});

export const extensionRestart = defineOperation({
  id: 'extensionRestart',
  method: 'post',
  path: '/extensions/{name}/restart',
  area: 'extensions',
  summary: 'Stops an extension, and starts it as at boot',
  role: 'admin',
  params,
  response: switched,
  run: (context, input) => turn(context, input.params.name, 'restart'),
});

export const extensionsOperations = [
  extensionsGet,
  extensionCard,
  extensionEnable,
  extensionDisable,
  extensionRestart,
] as const;

async function turn(
  context: Context,
  name: string,
  to: 'on' | 'off' | 'restart',
): Promise<z.input<typeof switched>> {
  const { state, detail } = await context.call('extension.switch', { name, to });
  return { name, state, detail };
}

/** @throws GatewayError for an extension that is off. */
export async function requireOn(system: Context['system'], name: string): Promise<void> {
  if (!(await isOn(system, name)))
    throw new GatewayError(
      `The extension ${name} is switched off`,
      `An admin can switch it on: sudo pi-gateway extension enable ${name}`,
      'conflict',
    );
}

async function readCard({ system, principal }: Context, name: string): Promise<Card> {
  const { manifest } = await findExtension(system, name);
  if (!manifest.card)
    throw new GatewayError(
      `The extension ${name} has no card`,
      'It has nothing to show',
      'missing',
    );
  await requireOn(system, name);
  const answer = await askExtension(system, name, {
    method: 'get',
    path: '/card',
    user: principal?.name ?? 'nobody',
    role: principal?.role ?? 'viewer',
  });
  const card = cardSchema.safeParse(answer);
  if (!card.success) {
    const [issue] = card.error.issues;
    throw broken(
      name,
      `has a card that is none: ${issue?.path.map(String).join('.').slice(0, 100)}: ${issue?.message.slice(0, 200)}`,
    );
  }
  const strange = (card.data.actions ?? []).find(({ route }) => !isRoute(manifest, route));
  if (strange)
    throw broken(name, `has a card with an action that is none of its routes: '${strange.label}'`);
  return card.data;
}

/** Whether `post /x/hello/items/7` is one of its routes, with the parameters filled in. */
function isRoute(manifest: Manifest, filled: string): boolean {
  return manifest.routes.some((route) => {
    const parts = routeName(route).split('/');
    const given = filled.split('/');
    return (
      parts.length === given.length &&
      parts.every((part, i) =>
        part.startsWith('{') ? /^[\w.~%-]+$/.test(given[i] ?? '') : part === given[i],
      )
    );
  });
}
