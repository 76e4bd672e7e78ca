import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import {
  applied,
  confirmSeconds,
  difference,
  digest,
  settingsText,
  shownSettings,
  version,
} from './view.ts';

const getConfig = defineOperation({
  id: 'configGet',
  method: 'get',
  path: '/config',
  area: 'config',
  summary: 'The settings of the device, without their secrets',
  role: 'admin',
  response: shownSettings,
  run: (context) => context.call('config.get', {}),
});

const diffConfig = defineOperation({
  id: 'configDiff',
  method: 'post',
  path: '/config/diff',
  area: 'config',
  summary: 'Checks settings and says what they would change; changes nothing',
  role: 'admin',
  // Who may only read could try out secrets: one that is right shows as no change.
  body: z.strictObject({ text: settingsText }),
  response: difference,
  run: (context, { body }) => context.call('config.diff', body),
});

const putConfig = defineOperation({
  id: 'configApply',
  method: 'put',
  path: '/config',
  area: 'config',
  summary: 'Puts settings in force; what makes the gateway unwell is taken back at once',
  role: 'admin',
  body: z.strictObject({
    text: settingsText,
    base: digest.describe('Digest of the settings that these were made from; others: 409'),
    confirm_seconds: confirmSeconds.optional(),
  }),
  response: applied,
  run: (context, { body }) => context.call('config.apply', body),
});

const confirmConfig = defineOperation({
  id: 'configConfirm',
  method: 'post',
  path: '/config/confirm',
  area: 'config',
  summary: 'Keeps settings that were applied for a while',
  role: 'admin',
  response: applied,
  run: (context) => context.call('config.confirm', {}),
});

const rollbackConfig = defineOperation({
  id: 'configRollback',
  method: 'post',
  path: '/config/rollback',
  area: 'config',
  summary: 'Returns to a version of before: ends a trial, else undoes the last change',
  role: 'admin',
  body: z.strictObject({
    version: z.number().int().min(0).optional().describe('One of the history'),
  }),
  response: applied,
  run: (context, { body }) => context.call('config.rollback', body),
});

const history = defineOperation({
  id: 'configHistory',
  method: 'get',
  path: '/config/history',
  area: 'config',
  summary: 'Versions of the settings that can be returned to, newest first',
  role: 'admin',
  response: z.object({ versions: z.array(version) }),
  run: (context) => context.call('config.history', {}),
});

export const configOperations = [
  getConfig,
  diffConfig,
  putConfig,
  confirmConfig,
  rollbackConfig,
  history,
] as const;
