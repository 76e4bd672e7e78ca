import { z } from 'zod';
import { cidr, port } from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

export const firewall = defineStage({
  name: 'firewall',
  summary: 'nftables: nothing in and nothing through but what the stages open',
  options: z.strictObject({
    open_tcp: z.array(port).default([]).describe('Further open TCP ports'),
    open_udp: z.array(port).default([]).describe('Further open UDP ports'),
    trusted: z
      .array(cidr)
      .default([])
      .describe('Networks that may reach every port of the gateway'),
    log_drops: z.boolean().default(true).describe('Log dropped packets, at most 5 a minute'),
  }),
  packages: () => ['nftables'],
  services: () => ({ enable: ['nftables'] }),
});
