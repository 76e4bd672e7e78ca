import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { firewallState, forward, forwardId, newForward } from './view.ts';

const none = z.strictObject({});
const notYet = async (): Promise<never> => {
  throw new GatewayError('Port forwards cannot be changed yet', 'Change them in gateway.yaml');
};

export const firewallVerbs = {
  'firewall.state': defineVerb({
    summary: 'Reads which rules are in force and what they dropped',
    args: none,
    result: firewallState,
    changes: false,
    run: notYet,
  }),
  'firewall.forwards': defineVerb({
    summary: 'Lists port forwards',
    args: none,
    result: z.object({ forwards: z.array(forward) }),
    changes: false,
    run: notYet,
  }),
  'firewall.forward_add': defineVerb({
    summary: 'Adds a port forward',
    args: newForward,
    result: forward,
    changes: true,
    run: notYet,
  }),
  'firewall.forward_remove': defineVerb({
    summary: 'Removes a port forward',
    args: z.strictObject({ id: forwardId }),
    result: z.object({ removed: forwardId }),
    changes: true,
    run: notYet,
  }),
} as const;
