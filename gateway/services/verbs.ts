import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';

export const serviceRestart = defineVerb({
  summary: 'Restarts a service of the gateway, or reloads it',
  args: z.strictObject({ id: z.string().max(32) }),
  result: z.strictObject({ did: z.enum(['restart', 'reload']), state: z.string() }),
  changes: true,
  run: async () => {
    throw new GatewayError('This is not there yet', 'Wait for the next version');
  },
});

export const servicesVerbs = { 'service.restart': serviceRestart } as const;
