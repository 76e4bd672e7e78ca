import { z } from 'zod';
import {
  addressIn,
  cidr4,
  cidr6,
  ipv4,
  ipv6,
  parseCidr,
  port,
} from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

export const wireguard = defineStage({
  name: 'wireguard',
  summary: 'WireGuard server wg0; its key is made on the device',
  needs: ['system'],
  options: z.strictObject({
    port: port.default(51820).describe('UDP port'),
    network4: cidr4
      .default('10.66.0.0/24')
      .describe("The VPN's IPv4 network; the gateway has its first address"),
    network6: cidr6.default('fd66:6761:7465::/64').describe("The VPN's IPv6 network"),
    mtu: z.number().int().min(1280).max(1500).default(1420).describe('MTU of wg0'),
    dns: z
      .array(z.union([ipv4, ipv6]))
      .default([])
      .describe('DNS servers for clients'),
  }),
  packages: () => ['wireguard-tools'],
  services: () => ({ enable: ['pi-gateway-wireguard-key.service', 'wg-quick@wg0.service'] }),
  validate: (o, config) => {
    const problems = [];
    const { ssh } = config.stages as { ssh?: { port: number } };
    if (ssh && ssh.port === o.port)
      problems.push({
        path: ['port'],
        message: `is also the SSH port (stages.ssh.port: ${ssh.port})`,
      });
    for (const [key, smallest] of [
      ['network4', 30],
      ['network6', 126],
    ] as const)
      if ((parseCidr(o[key])?.bits ?? 0) > smallest)
        problems.push({
          path: [key],
          message: `has no room for clients; take /${smallest} or larger`,
        });
    return problems;
  },
  run: async (chroot, o) => {
    const prefix = (cidr: string) => cidr.split('/')[1];
    await chroot.write(
      '/etc/wireguard/wg0.conf',
      [
        '# wg-quick(8). The private key is no part of it: it is made on the device at first start.',
        '[Interface]',
        `Address = ${addressIn(o.network4, 1)}/${prefix(o.network4)}`,
        `Address = ${addressIn(o.network6, 1)}/${prefix(o.network6)}`,
        `ListenPort = ${o.port}`,
        `MTU = ${o.mtu}`,
        'PostUp = wg set %i private-key /etc/wireguard/server.key',
        // Each peer is a file of its own.
        'PostUp = for peer in /etc/wireguard/peers.d/*.conf; do [ -e "$peer" ] || continue; wg addconf %i "$peer"; done',
        '',
      ].join('\n'),
      0o600,
    );
    await chroot.run('chmod', ['0700', '/etc/wireguard', '/etc/wireguard/peers.d']);
  },
});
