import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { firewallState, forward, forwardId, newForward } from './view.ts';

const getFirewall = defineOperation({
  id: 'firewallGet',
  method: 'get',
  path: '/firewall',
  area: 'firewall',
  summary: 'Which rules are in force, what they dropped, who is shut out, who may reach whom',
  role: 'viewer',
  response: firewallState,
  run: (context) => context.call('firewall.state', {}),
});

const listForwards = defineOperation({
  id: 'firewallListForwards',
  method: 'get',
  path: '/firewall/forwards',
  area: 'firewall',
  summary: "Port forwards: the image's and the owner's",
  role: 'viewer',
  response: z.object({ forwards: z.array(forward) }),
  run: (context) => context.call('firewall.forwards', {}),
});

const addForward = defineOperation({
  id: 'firewallAddForward',
  method: 'post',
  path: '/firewall/forwards',
  area: 'firewall',
  summary: 'Adds a port forward; in force at once, and part of the settings',
  role: 'admin',
  body: newForward,
  response: forward,
  status: 201,
  run: (context, { body }) => context.call('firewall.forward_add', body),
});

const removeForward = defineOperation({
  id: 'firewallRemoveForward',
  method: 'delete',
  path: '/firewall/forwards/{id}',
  area: 'firewall',
  summary: 'Removes a port forward; new connections no longer pass, others stay',
  role: 'admin',
  params: z.object({ id: forwardId }),
  run: async (context, { params }) => {
    await context.call('firewall.forward_remove', params);
    return undefined;
  },
});

export const firewallOperations = [getFirewall, listForwards, addForward, removeForward] as const;
