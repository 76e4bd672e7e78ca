import { z } from 'zod';
import {
  addressIn,
  cidr4,
  cidr6,
  ipv4,
  ipv6,
  parseCidr,
  port,
  zone,
} from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

const options = z.strictObject({
  port: port.default(51820).describe('UDP port'),
  rotation_port: port
    .optional()
    .describe(
      "UDP port while the server's key is replaced, and since then; the next replacement uses the other one. The one after `port` if not set",
    ),
  zones: z
    .array(zone)
    .default(['wan', 'lan'])
    .describe('Zones that it answers to (a peer; strangers get no answer anywhere)'),
  network4: cidr4
    .default('10.66.0.0/24')
    .describe("The VPN's IPv4 network; the gateway has its first address"),
  network6: cidr6.default('fd66:6761:7465::/64').describe("The VPN's IPv6 network"),
  mtu: z
    .number()
    .int()
    .min(1280)
    .max(1500)
    .default(1420)
    .describe('MTU of wg0: what fits an Ethernet of 1500 with IPv6 outside (1412 behind PPPoE)'),
  dns: z
    .array(z.union([ipv4, ipv6], { error: 'must be an address, e.g. 9.9.9.9' }))
    .default([])
    .describe('DNS servers for clients; none means the gateway itself'),
});

type Options = z.output<typeof options>;

export const rotationPort = (o: { port: number; rotation_port?: number | undefined }): number =>
  o.rotation_port ?? (o.port === 65_535 ? o.port - 1 : o.port + 1);

const gatewayAddresses = (o: Options) => [o.network4, o.network6].map((cidr) => addressIn(cidr, 1));

export const wireguard = defineStage({
  name: 'wireguard',
  summary: 'WireGuard server wg0; its key is made on the device',
  needs: ['system'],
  options,
  packages: (o) => [
    'wireguard-tools',
    'qrencode', // pi-gateway vpn qr
    ...(o.dns.length === 0 ? ['systemd-resolved'] : []),
  ],
  services: () => ({
    enable: [
      'pi-gateway-wireguard-key.service',
      'wg-quick@wg0.service',
      'pi-gateway-wireguard-expire.timer',
      'pi-gateway-wireguard-rotation.path',
      'pi-gateway-wireguard-server.path',
    ],
  }),
  files: {
    '/etc/wireguard/wg0.conf': { mode: 0o600 },
    '/etc/wireguard/peers.d/README': { mode: 0o600 },
  },
  ports: (o) => [
    { port: o.port, protocol: 'udp', zones: o.zones, path: ['port'], name: 'wireguard' },
    ...(o.dns.length > 0
      ? []
      : (['udp', 'tcp'] as const).map((protocol) => ({
          port: 53,
          protocol,
          zones: ['vpn' as const],
          path: ['dns'],
          name: 'dns',
        }))),
  ],
  derive: (o) => ({
    rotationPort: rotationPort(o),
    addresses: gatewayAddresses(o),
    cidrs: [o.network4, o.network6].map((cidr) => `${addressIn(cidr, 1)}/${cidr.split('/')[1]}`),
    dns: o.dns.length > 0 ? o.dns : gatewayAddresses(o),
  }),
  validate: (o) => [
    ...(o.rotation_port === o.port
      ? [{ path: ['rotation_port'], message: 'must be another port than `port`' }]
      : []),
    ...(
      [
        ['network4', 30],
        ['network6', 126],
      ] as const
    )
      .filter(([key, smallest]) => (parseCidr(o[key])?.bits ?? 0) > smallest)
      .map(([key, smallest]) => ({
        path: [key],
        message: `has no room for clients; take /${smallest} or larger`,
      })),
  ],
  run: async (chroot) => {
    await chroot.run('chmod', ['0700', '/etc/wireguard', '/etc/wireguard/peers.d']);
  },
});
