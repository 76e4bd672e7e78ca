import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { GatewayError } from '../errors.ts';
import { complianceReport } from './answer.ts';

const notYet = (): never => {
  throw new GatewayError('This is not there yet', 'Wait for the next version');
};

export const complianceGet = defineOperation({
  id: 'complianceGet',
  method: 'get',
  path: '/compliance',
  area: 'compliance',
  summary: 'The CIS benchmark for Debian, judged by the state of the machine; the last report',
  role: 'viewer',
  query: z.strictObject({
    refresh: z
      .enum(['true', 'false'])
      .default('false')
      .describe('true: judges anew, which takes seconds, unless the last is of this minute; admin'),
  }),
  response: z.object({
    report: complianceReport.nullable().describe('null: there is none since the last start'),
  }),
  run: notYet,
});

export const complianceOperations = [complianceGet] as const;
