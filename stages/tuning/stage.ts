import { z } from 'zod';
import { defineStage } from '../define.ts';

export const tuning = defineStage({
  name: 'tuning',
  summary:
    'Network tuning: BBR, short queues (cake) on uplinks, interrupts and queues by model, MTU of the VPN',
  needs: ['gateway'],
  enabledByDefault: false,
  options: z.strictObject({
    measure: z
      .boolean()
      .default(true)
      .describe('Lets the owner measure latency under load (iperf3, 0.3 MB)'),
  }),
  packages: (o) => [
    'nodejs',
    'iproute2',
    'iputils-ping',
    'iputils-tracepath',
    ...(o.measure ? ['iperf3'] : []),
  ],
  services: () => ({ enable: ['pi-gateway-tuning.service', 'pi-gateway-autorate.service'] }),
  bundles: [{ entry: 'gateway/tuning/main.ts', path: '/usr/lib/pi-gateway/tuning.mjs' }],
});
