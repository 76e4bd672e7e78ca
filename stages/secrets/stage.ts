import { z } from 'zod';
import { defineStage } from '../define.ts';

export const secrets = defineStage({
  name: 'secrets',
  summary:
    "Passwords and keys of services, encrypted with age and handed out by systemd's credentials",
  needs: ['gateway', 'firstboot'],
  enabledByDefault: false,
  options: z.strictObject({}),
  services: () => ({ enable: ['pi-gateway-secrets-key.service'] }),
});
