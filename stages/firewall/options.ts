import { z } from 'zod';
import {
  cidr,
  interfaceAddress4,
  interfaceAddress6,
  interfaceName,
  ipv4,
  ipv6,
  port,
  zone,
} from '../../builder/config/fields.ts';
import { zones } from '../define.ts';

const interfaces = z
  .array(interfaceName)
  .default([])
  .describe('Network ports of the zone, by name or the start of one: eth1, podman*');

const networks = z
  .array(cidr)
  .default([])
  .describe("Further networks of the zone, behind routers of its own or of a container runtime's");

/** A zone that the gateway serves: it has an address there, and gives out addresses and names. */
function servedZone(zoneName: string, dhcp: boolean) {
  return z
    .strictObject({
      interfaces,
      address4: interfaceAddress4
        .nullable()
        .default(null)
        .describe("The gateway's own IPv4 address and prefix there"),
      address6: interfaceAddress6
        .nullable()
        .default(null)
        .describe("The gateway's own IPv6 address and prefix there"),
      dhcp: z.boolean().default(dhcp).describe('Give out IPv4 addresses of that network'),
      networks,
    })
    .prefault({})
    .describe(zoneName);
}

const address = z.union([ipv4, ipv6, cidr], {
  error: 'must be an address or a network, e.g. 192.168.10.20 or 192.168.10.0/24',
});

const rate = (usual: number, text: string) =>
  z.number().int().min(1).max(1_000_000).default(usual).describe(text);

const limits = z
  .strictObject({
    ssh_per_minute: rate(30, 'New SSH connections a minute from one source'),
    wireguard_per_minute: rate(60, 'New WireGuard peers a minute from one source'),
    wireguard_total_per_second: rate(100, 'New WireGuard peers a second in all'),
    wan_per_second: rate(50, 'New connections a second from one source of the wan'),
    wan_total_per_second: rate(200, 'New connections a second from the wan in all'),
    client_per_second: rate(100, 'New connections a second of one client of an inner zone'),
    zone_total_per_second: rate(500, 'New connections a second of an inner zone in all'),
    ping_per_second: rate(20, 'Echo requests a second that are answered'),
    scan_ports: rate(10, 'Closed ports of the gateway that one source of the wan may try'),
    scan_block_seconds: rate(600, 'Seconds that a source which tried more is shut out'),
  })
  .prefault({})
  .describe('What one source, and all together, may ask for');

export const firewallOptions = z.strictObject({
  zones: z
    .strictObject({
      lan: servedZone('Own devices, trusted', true),
      guest: servedZone("Guests' devices: the internet only", true),
      dmz: servedZone('Servers that the internet reaches by port forwards', false),
      vpn: z
        .strictObject({
          isolate: z.boolean().default(true).describe('Keep VPN clients apart from one another'),
        })
        .prefault({})
        .describe('Clients of the wireguard stage'),
      containers: z
        .strictObject({
          interfaces: z
            .array(interfaceName)
            .default(['podman*', 'docker*'])
            .describe('Bridges of the container runtime'),
          networks,
        })
        .prefault({})
        .describe('Containers on this gateway'),
    })
    .prefault({})
    .describe('Networks behind the gateway; every port that no zone claims is wan'),
  allow: z
    .array(
      z.strictObject({
        from: zone.describe('Zone that may open connections'),
        to: z
          .enum([...zones, 'gateway'], {
            error: `must be a zone or the gateway itself: ${[...zones, 'gateway'].join(', ')}`,
          })
          .describe('Zone that they lead to'),
        address: address.nullable().default(null).describe('Only to this address or network of it'),
        tcp: z.array(port).default([]).describe('TCP ports'),
        udp: z.array(port).default([]).describe('UDP ports'),
        all: z.boolean().default(false).describe('All protocols and ports'),
      }),
    )
    .default([])
    .describe('Exceptions to the zone table'),
  forwards: z
    .array(
      z.strictObject({
        tcp: port.optional().describe("TCP port of the gateway's wan address"),
        udp: port.optional().describe("UDP port of the gateway's wan address"),
        to: z
          .union([ipv4, ipv6], { error: 'must be an address, e.g. 192.168.40.10' })
          .describe('Address of the server'),
        port: port.optional().describe('Port of the server; by default the same'),
      }),
    )
    .default([])
    .describe('Ports of the wan address that lead to servers behind the gateway'),
  open_tcp: z.array(port).default([]).describe('Further TCP ports of the gateway, for every zone'),
  open_udp: z.array(port).default([]).describe('Further UDP ports of the gateway, for every zone'),
  trusted: z
    .array(cidr)
    .default([])
    .describe('Networks that may reach every port of the gateway, and are never shut out'),
  limits,
  log_drops: z
    .boolean()
    .default(true)
    .describe('Log dropped packets, at most 5 a minute of each kind'),
});

export type FirewallOptions = z.output<typeof firewallOptions>;
export type Allow = FirewallOptions['allow'][number];
export type Forward = FirewallOptions['forwards'][number];
