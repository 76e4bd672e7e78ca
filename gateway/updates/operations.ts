import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { runtimeOperations } from './runtime/operations.ts';
import { started, updateKinds, updatesState } from './view.ts';

const getUpdates = defineOperation({
  id: 'updatesGet',
  method: 'get',
  path: '/updates',
  area: 'updates',
  summary: 'Updates that wait, the last ones and how they went, whether a restart is due',
  role: 'viewer',
  response: updatesState,
  run: (context) => context.call('updates.list', {}),
});

const refresh = defineOperation({
  id: 'updatesRefresh',
  method: 'post',
  path: '/updates/refresh',
  area: 'updates',
  summary: 'Fetches the lists of packages; `running` of GET /updates says when it is done',
  role: 'admin',
  response: started,
  status: 202,
  run: (context) => context.call('updates.refresh', {}),
});

const applyUpdates = defineOperation({
  id: 'updatesApply',
  method: 'post',
  path: '/updates/apply',
  area: 'updates',
  summary: 'Installs updates; `running` and `last` of GET /updates say how it goes',
  role: 'admin',
  body: z.strictObject({ what: z.enum(updateKinds).default('security') }),
  response: started,
  status: 202,
  run: (context, { body }) => context.call('updates.apply', body),
});

const reboot = defineOperation({
  id: 'reboot',
  method: 'post',
  path: '/reboot',
  area: 'updates',
  summary: 'Restarts the device in some seconds',
  role: 'admin',
  response: z.object({ seconds: z.number().int() }),
  status: 202,
  run: (context) => context.call('system.reboot', {}),
});

export const updatesOperations = [
  getUpdates,
  refresh,
  applyUpdates,
  reboot,
  ...runtimeOperations,
] as const;
