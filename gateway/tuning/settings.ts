import * as z from 'zod';
import { cidr, interfaceName, ipv4, ipv6, port } from '../../builder/config/fields.ts';

/** `tuning:` of /etc/pi-gateway/gateway.yaml. Numbers with reasons and sources: docs/tuning.md. */

/** tc-cake(8), "OVERHEAD COMPENSATION PARAMETERS": what each packet costs on the line itself. */
export const links = ['ethernet', 'docsis', 'pppoe-ptm', 'bridged-ptm', 'conservative'] as const;

/** Mbit/s. */
const rate = z
  .number({ error: 'must be Mbit/s as a number, e.g. 18.5' })
  .min(0.1, 'must be at least 0.1 Mbit/s')
  .max(10_000, 'must be at most 10000 Mbit/s');

const autorate = z.strictObject({
  ping: z
    .array(z.union([ipv4, ipv6], { error: 'must be an address, e.g. 9.9.9.9' }))
    .min(1, 'needs an address that answers pings, e.g. [9.9.9.9]')
    .max(4)
    .describe('Addresses in the internet whose latency tells when the line is full'),
  lowest: z
    .number()
    .int()
    .min(10)
    .max(100)
    .default(30)
    .describe('Percent of the rates below which it does not go'),
});

const uplink = z.strictObject({
  interface: interfaceName.describe('Of the wan, e.g. eth0'),
  upload: rate.optional().describe('Mbit/s to the internet: 90 % of what the line really does'),
  download: rate.optional().describe('Mbit/s from the internet: 90 % of what the line really does'),
  link: z
    .enum(links, { error: `must be one of ${links.join(', ')}` })
    .default('ethernet')
    .describe('Kind of the line: docsis is cable, pppoe-ptm and bridged-ptm are VDSL'),
  autorate: autorate
    .optional()
    .describe(
      'For lines whose rate varies (mobile, cable): goes down from the rates when latency rises',
    ),
});

export const classNames = ['voice', 'video', 'besteffort', 'bulk'] as const;

const trafficClass = z
  .strictObject({
    class: z
      .enum(classNames, { error: `must be one of ${classNames.join(', ')}` })
      .describe('voice goes first, bulk takes what is left'),
    tcp: z.array(port).max(32).default([]).describe('Ports of servers'),
    udp: z.array(port).max(32).default([]).describe('Ports of servers'),
    address: z
      .union([ipv4, ipv6, cidr], { error: 'must be an address or a network, e.g. 192.168.10.20' })
      .optional()
      .describe('A device, e.g. the one that makes backups'),
  })
  .superRefine((one, context) => {
    if (one.tcp.length + one.udp.length === 0 && one.address === undefined)
      context.addIssue({
        code: 'custom',
        path: ['class'],
        message: 'needs something that is of this class: tcp, udp or address',
      });
  });

export const tuningSettings = z.strictObject({
  congestion: z
    .enum(['bbr', 'cubic'], { error: 'must be bbr or cubic' })
    .default('bbr')
    .describe("Congestion control of the gateway's own TCP connections"),
  buffers: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe('Larger socket buffers and probing for black holes of the MTU'),
  spread: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe('Let all CPUs work on what the network brings, as fits the model'),
  uplinks: z
    .array(uplink, { error: 'must be a list, e.g. [{interface: eth0, upload: 18, download: 90}]' })
    .max(8)
    .default([])
    .describe('Shaping: queues are kept short here, so that calls and games stay quick under load'),
  classes: z
    .array(trafficClass)
    .max(64)
    .default([])
    .describe('What goes first, and what waits, when an uplink is full'),
  vpn_mtu: z
    .number({ error: 'must be a number of bytes' })
    .int()
    .min(1280, 'must be at least 1280 (RFC 8200: the least that IPv6 may have)')
    .max(1500)
    .optional()
    .describe(
      "MTU of the gateway's end of the VPN; if not set, as the image was built. See: sudo pi-gateway net mtu",
    ),
});

export type TuningSettings = z.output<typeof tuningSettings>;
export type Uplink = TuningSettings['uplinks'][number];
export type TrafficClass = TuningSettings['classes'][number];
