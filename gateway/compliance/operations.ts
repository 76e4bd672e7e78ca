import * as z from 'zod';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import type { Context } from '../api/context.ts';
import { defineOperation } from '../api/operation.ts';
import { GatewayError } from '../errors.ts';
import { remembered } from '../remembered.ts';
import { complianceReport } from './answer.ts';

/** Milliseconds for which a report is new enough, whoever asks for another: each takes the device seconds. */
const freshness = 60_000;

/** The last report, kept where it is gone after a restart: it may have been an update's. */
export const reportFile = '/run/pi-gatewayd/compliance.json';

const judge = remembered(freshness, async (system: System, context: Context) => {
  const report = await context.call('compliance.run', {});
  await writeDurably(at(system, reportFile), JSON.stringify(report), 0o600);
  return report;
});

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
  run: async (context, { query }) => {
    if (query.refresh === 'false') return { report: await lastReport(context.system) };
    if (context.principal?.role !== 'admin')
      throw new GatewayError(
        'Only an admin may let the machine be judged anew',
        'Ask without refresh for the last report',
        'refused',
      );
    return { report: await judge(context.system, context) };
  },
});

async function lastReport(system: System) {
  const text = await readIfThere(at(system, reportFile));
  if (text === undefined) return null;
  const parsed = complianceReport.safeParse(JSON.parse(text));
  // Of an earlier version: as good as none.
  return parsed.success ? parsed.data : null;
}

export const complianceOperations = [complianceGet] as const;
