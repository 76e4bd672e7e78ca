import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { serviceName } from './settings.ts';
import { newService, proxyState, site } from './view.ts';

const list = defineOperation({
  id: 'proxyList',
  method: 'get',
  path: '/proxy',
  area: 'proxy',
  summary: 'Services that are found by name, and their certificates',
  role: 'viewer',
  response: proxyState,
  run: (context) => context.call('proxy.list', {}),
});

const add = defineOperation({
  id: 'proxyAdd',
  method: 'post',
  path: '/proxy/services',
  area: 'proxy',
  summary: 'Serves a service by name with TLS; in force at once, and part of the settings',
  role: 'admin',
  body: newService,
  response: site,
  status: 201,
  run: (context, { body }) => context.call('proxy.add', body),
});

const remove = defineOperation({
  id: 'proxyRemove',
  method: 'delete',
  path: '/proxy/services/{name}',
  area: 'proxy',
  summary: 'Serves it no more',
  role: 'admin',
  params: z.object({ name: serviceName }),
  run: async (context, { params }) => {
    await context.call('proxy.remove', params);
    return undefined;
  },
});

export const proxyOperations = [list, add, remove] as const;
