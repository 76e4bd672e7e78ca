import { z } from 'zod';
import { defineStage } from '../define.ts';

export const gateway = defineStage({
  name: 'gateway',
  summary: "The device's own command: pi-gateway",
  needs: ['system'],
  options: z.strictObject({}),
  packages: () => ['nodejs'],
  bundles: [{ entry: 'gateway/cli.ts', path: '/usr/bin/pi-gateway' }],
});
