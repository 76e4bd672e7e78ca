import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { ddnsView } from './answer.ts';

const notYet = (): never => {
  throw new GatewayError('This is not there yet', 'Wait for the next version');
};

export const ddnsVerbs = {
  'ddns.status': defineVerb({
    summary: 'Which name has which address',
    args: z.strictObject({}),
    result: ddnsView,
    changes: false,
    run: notYet,
  }),
  'ddns.update': defineVerb({
    summary: 'Looks for a new address and sends it',
    args: z.strictObject({ again: z.boolean().default(false) }),
    result: ddnsView,
    changes: true,
    run: notYet,
  }),
} as const;
