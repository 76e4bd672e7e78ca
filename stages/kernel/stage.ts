import { z } from 'zod';
import { defineStage } from '../define.ts';

export const kernel = defineStage({
  name: 'kernel',
  summary: 'Kernel settings: routing, spoofing and redirect protection, information leaks',
  options: z.strictObject({
    forward: z.boolean().default(true).describe('Route between networks; a VPN gateway must'),
  }),
});
