import * as z from 'zod';
import { cidr, ipv4, ipv6, port } from '../../builder/config/fields.ts';

/** What the API says of the firewall. */

const counter = z.object({ packets: z.number().int(), bytes: z.number().int() });

export const forwardId = z
  .string()
  .regex(/^(tcp|udp)[46]-\d{1,5}$/, 'must be an id of a forward, e.g. tcp4-443');

export const forward = z.object({
  id: forwardId,
  protocol: z.enum(['tcp', 'udp']),
  port: z.number().int().describe("Port of the gateway's wan address"),
  to: z.string().describe('Address of the server'),
  to_port: z.number().int(),
  zone: z.string().nullable().describe('Zone that the server is in'),
  from: z.string().nullable().describe('Only sources of this network'),
  name: z.string().nullable(),
  origin: z.enum(['image', 'device']).describe('Those of the image cannot be removed here'),
});
export type ForwardView = z.output<typeof forward>;

export const newForward = z.strictObject({
  protocol: z.enum(['tcp', 'udp']),
  port,
  to: z.union([ipv4, ipv6], { error: 'must be an address, e.g. 192.168.40.10' }),
  to_port: port.optional().describe('By default the same'),
  from: cidr.optional().describe('Only sources of this network'),
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$/, 'must be 1 to 40 of A-Z, a-z, 0-9, space, . - _')
    .optional(),
});

export const firewallState = z.object({
  state: z
    .enum(['active', 'pending', 'closed', 'none'])
    .describe('closed: the rules did not load; none: the device is open'),
  pending: z.object({ file: z.string(), seconds_left: z.number() }).nullable(),
  counters: z.record(z.string(), counter).describe('Dropped packets by reason'),
  blocked: z.array(z.object({ address: z.string(), seconds_left: z.number() })),
  zones: z.array(
    z.object({
      name: z.string(),
      interfaces: z.array(z.string()).readonly().describe('Empty for wan: every other one'),
      networks: z.array(z.string()).readonly(),
      gateway: z.array(z.string()).describe('What of the gateway itself answers there'),
    }),
  ),
  table: z.array(
    z.object({
      from: z.string(),
      to: z.string(),
      passes: z.boolean(),
      because: z.string(),
      exceptions: z.array(z.string()),
    }),
  ),
});
