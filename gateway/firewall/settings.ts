import * as z from 'zod';
import { cidr, ipv4, ipv6, port } from '../../builder/config/fields.ts';

/** `firewall:` of /etc/pi-gateway/gateway.yaml: what the owner adds to the image's rules. */

/** It stands in nft's rules as a comment, in quotes: so nothing that could end them. */
const note = z
  .string({ error: 'must be text, e.g. web server' })
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$/,
    'must be 1 to 40 of A-Z, a-z, 0-9, space, dot, - and _, e.g. web server',
  );

export const forwardSettings = z
  .strictObject({
    tcp: port.optional().describe("TCP port of the gateway's wan address"),
    udp: port.optional().describe("UDP port of the gateway's wan address"),
    to: z
      .union([ipv4, ipv6], { error: 'must be an address, e.g. 192.168.40.10' })
      .describe('Address of the server, in a network of an inner zone'),
    port: port.optional().describe('Port of the server; by default the same'),
    from: cidr.optional().describe('Only for sources in this network; by default for all'),
    name: note.optional().describe('What it is for'),
  })
  .superRefine((forward, context) => {
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    if ((forward.tcp === undefined) === (forward.udp === undefined))
      refuse(
        forward.tcp === undefined ? 'to' : 'udp',
        'needs one port of the wan address: tcp or udp, e.g. {tcp: 443, to: 192.168.40.10}',
      );
    if (forward.from?.includes(':') === !forward.to.includes(':'))
      refuse('from', 'is of the other family than `to`: IPv4 reaches IPv4, IPv6 reaches IPv6');
  });

export const firewallSettings = z.strictObject({
  forwards: z
    .array(forwardSettings, { error: 'must be a list of forwards, e.g. [{tcp: 443, to: …}]' })
    .max(200, 'must be at most 200 forwards')
    .default([])
    .describe('Ports of the wan address that lead to servers behind the gateway'),
});

export type FirewallSettings = z.output<typeof firewallSettings>;
export type DeviceForward = z.output<typeof forwardSettings>;
