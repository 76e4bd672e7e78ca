import type { Context } from '../api/context.ts';
import { defineOperation } from '../api/operation.ts';
import { reachedBy } from './reached.ts';
import { type RouterView, reached, routerView } from './view.ts';

const answer = routerView.extend({ reached });

async function withReached(context: Context, view: RouterView) {
  const peers = await context.kernel.wireguard().catch(() => []);
  const routers = view.status?.families.flatMap((one) => one.external_address ?? []) ?? [];
  return { ...view, reached: reachedBy(peers, routers) };
}

const routerGet = defineOperation({
  id: 'routerGet',
  method: 'get',
  path: '/router',
  area: 'router',
  summary:
    'What the router was asked for, whether the internet reaches the gateway, and what to forward by hand',
  role: 'viewer',
  response: answer,
  run: async (context) => withReached(context, await context.call('router.state', {})),
});

const routerRenew = defineOperation({
  id: 'routerRenew',
  method: 'post',
  path: '/router/renew',
  area: 'router',
  summary: "Asks the router for the VPN's port now; a timer does so every 15 min",
  role: 'admin',
  response: answer,
  run: async (context) => withReached(context, await context.call('router.renew', {})),
});

export const routerOperations = [routerGet, routerRenew] as const;
