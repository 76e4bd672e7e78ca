import * as z from 'zod';
import { fqdn, hostname, ipv4, ipv6 } from '../../builder/config/fields.ts';
import { clientZones } from '../../stages/firewall/zones.ts';
import { dnsServers, tunnel } from './schema.ts';

/** Key `vpn` of gateway.yaml: what new clients get unless they are told otherwise. */
export const vpnSettings = z.strictObject({
  endpoint: z
    .union([fqdn, hostname, ipv4, ipv6], {
      error: 'must be a name or an address without port, e.g. home.example.org',
    })
    .optional()
    .describe(
      'Name or address under which clients find the gateway; else its first dynamic DNS name',
    ),
  endpoint_port: z
    .number()
    .int()
    .min(1)
    .max(65535)
    .optional()
    .describe("UDP port there, if a router in front forwards another one to the gateway's"),
  dns: dnsServers
    .optional()
    .describe('DNS servers of clients without their own; else the gateway itself'),
  tunnel: tunnel.default('full'),
  zones: z
    .array(z.enum(clientZones))
    .nullable()
    .default(null)
    .describe('What new clients may reach; null: all that the zone table lets the vpn reach'),
  mtu: z
    .number()
    .int()
    .min(1280)
    .max(1500)
    .optional()
    .describe('MTU of clients; else as the gateway has it'),
  keepalive: z
    .number()
    .int()
    .min(0)
    .max(65535)
    .default(0)
    .describe(
      'Seconds between keep-alives of clients, so that they are reached behind NAT; 0: none',
    ),
});
export type VpnSettings = z.output<typeof vpnSettings>;
