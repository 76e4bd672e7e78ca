import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { started, updateKinds, updatesState } from './view.ts';

const none = z.strictObject({});
const notYet = async (): Promise<never> => {
  throw new GatewayError('Updates cannot be asked for yet', 'Wait for those of the night');
};

export const updateVerbs = {
  'updates.list': defineVerb({
    summary: 'Lists updates that wait, and how the last ones went',
    args: none,
    result: updatesState,
    changes: false,
    run: notYet,
  }),
  'updates.refresh': defineVerb({
    summary: 'Fetches the lists of packages',
    args: none,
    result: started,
    changes: true,
    run: notYet,
  }),
  'updates.apply': defineVerb({
    summary: 'Installs updates',
    args: z.strictObject({ what: z.enum(updateKinds).default('security') }),
    result: started,
    changes: true,
    run: notYet,
  }),
  'system.reboot': defineVerb({
    summary: 'Restarts the device',
    args: none,
    result: z.object({ seconds: z.number().int() }),
    changes: true,
    run: notYet,
  }),
} as const;
