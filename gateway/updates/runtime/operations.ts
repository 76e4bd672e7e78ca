import * as z from 'zod';
import { defineOperation } from '../../api/operation.ts';
import { runtimeStarted, runtimeView } from './view.ts';

const common = { area: 'updates', role: 'admin', response: runtimeStarted, status: 202 } as const;

export const runtimeOperations = [
  defineOperation({
    id: 'runtimeGet',
    method: 'get',
    path: '/updates/runtime',
    area: 'updates',
    summary: "The gateway's own programs: which run, which are to be had, how the last update went",
    role: 'viewer',
    response: runtimeView,
    run: (context) => context.call('updates.runtime', {}),
  }),
  defineOperation({
    ...common,
    id: 'runtimeCheck',
    method: 'post',
    path: '/updates/runtime/check',
    summary: 'Looks for newer ones; `running`, `available` and `problem` say how it went',
    run: (context) => context.call('updates.runtime_start', { task: 'check' }),
  }),
  defineOperation({
    ...common,
    id: 'runtimeApply',
    method: 'post',
    path: '/updates/runtime/apply',
    summary: 'Installs the newest ones; they are taken back if the gateway is unwell with them',
    body: z.strictObject({
      again: z.boolean().default(false).describe('Even if they were undone before'),
    }),
    run: (context, { body }) =>
      context.call('updates.runtime_start', { task: body.again ? 'again' : 'apply' }),
  }),
  defineOperation({
    ...common,
    id: 'runtimeRollback',
    method: 'post',
    path: '/updates/runtime/rollback',
    summary: 'Goes back to those of before',
    run: (context) => context.call('updates.runtime_start', { task: 'rollback' }),
  }),
] as const;
