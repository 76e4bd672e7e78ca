import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { hasPortmap } from './request.ts';
import { isRunning, readRouter, service } from './state.ts';
import { type RouterView, routerView } from './view.ts';

const none = z.strictObject({});

/** Milliseconds that an answer waits for the run; a router that speaks none of the protocols is asked for 16 s. */
const patience = 25_000;
const pause = 500;

export const routerVerbs = {
  'router.state': defineVerb({
    summary: 'Reads what the router was asked for, and what is to be forwarded in it',
    args: none,
    result: routerView,
    changes: false,
    run: (system) => readRouter(system),
  }),
  'router.renew': defineVerb({
    summary: "Asks the router for the VPN's port now",
    args: none,
    result: routerView,
    changes: true,
    run: (system) => renew(system),
  }),
} as const;

/** @param wait in milliseconds; tests have less. */
export async function renew(system: System, wait = patience): Promise<RouterView> {
  if (!(await hasPortmap(system)))
    throw new GatewayError(
      'This image was built without what asks the router',
      'Build one with it: stages: {portmap: {}} in gateway.yaml; or forward the port by hand: sudo pi-gateway router guide',
      'missing',
    );
  const { mapping } = await readRouter(system);
  if (mapping === 'off')
    throw new GatewayError(
      'The router is asked for nothing: it is turned off',
      'Turn it on: sudo pi-gateway config set router.mapping auto',
      'refused',
    );
  await system.run('systemctl', ['start', '--no-block', '--', service]);
  const until = performance.now() + wait;
  do await new Promise((resolve) => setTimeout(resolve, Math.min(pause, wait)));
  while ((await isRunning(system)) && performance.now() < until);
  return await readRouter(system);
}
