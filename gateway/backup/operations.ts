import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { targetName } from './settings.ts';
import { backupView, taskKinds } from './view.ts';

const backupGet = defineOperation({
  id: 'backupGet',
  method: 'get',
  path: '/backup',
  area: 'backup',
  summary: 'Of each target: the last backup, the next one, snapshots, checks and restore tests',
  role: 'viewer',
  response: backupView,
  run: (context) => context.call('backup.status', {}),
});

const backupRun = defineOperation({
  id: 'backupRun',
  method: 'post',
  path: '/backup/run',
  area: 'backup',
  summary:
    'Makes a backup, checks the repository or tries a restore; `running` of GET /backup says when it is done',
  role: 'admin',
  body: z.strictObject({
    what: z.enum(taskKinds).default('backup'),
    target: targetName.optional().describe('All targets without it'),
  }),
  response: z.object({ started: z.enum(taskKinds) }),
  status: 202,
  run: (context, { body }) => context.call('backup.run', body),
});

const plain = 'text/plain; charset=utf-8';

const backupSheet = defineOperation({
  id: 'backupRecoverySheet',
  method: 'post',
  path: '/backup/recovery-sheet',
  area: 'backup',
  summary: 'Hands out what a restore needs after the card is lost: repository and password',
  role: 'admin',
  // It opens every backup, and with that all that is secret here.
  personal: true,
  content: plain,
  run: async (context) => {
    const { text } = await context.call('backup.sheet', {});
    const headers = { 'content-disposition': 'attachment; filename="gateway-device.yaml"' };
    return { type: plain, text, headers };
  },
});

export const backupOperations = [backupGet, backupRun, backupSheet] as const;
