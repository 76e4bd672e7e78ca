import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { ddnsView } from './answer.ts';

export const ddnsGet = defineOperation({
  id: 'ddnsGet',
  method: 'get',
  path: '/ddns',
  area: 'ddns',
  summary: 'Which name has which address, at which provider',
  role: 'viewer',
  response: ddnsView,
  run: (context) => context.call('ddns.status', {}),
});

export const ddnsUpdate = defineOperation({
  id: 'ddnsUpdate',
  method: 'post',
  path: '/ddns/update',
  area: 'ddns',
  summary: 'Looks for a new address now, and sends it if it is one',
  role: 'admin',
  body: z.strictObject({
    again: z
      .boolean()
      .default(false)
      .describe('Asks a provider once more that had stopped: it was mended there'),
  }),
  response: ddnsView,
  run: (context, { body }) => context.call('ddns.update', body),
});

export const ddnsOperations = [ddnsGet, ddnsUpdate] as const;
