import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { complianceReport } from './answer.ts';

export const complianceVerbs = {
  'compliance.run': defineVerb({
    summary: 'Judges the machine by the CIS benchmark',
    args: z.strictObject({}),
    result: complianceReport,
    changes: false,
    run: async () => {
      throw new GatewayError('This is not there yet', 'Wait for the next version');
    },
  }),
} as const;
