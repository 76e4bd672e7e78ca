import * as z from 'zod';
import { refuseUnlessCertificates } from '../certificates.ts';

/** `updates:` of /etc/pi-gateway/gateway.yaml. What is not set there is as the image was built. */

const clock = z
  .string({ error: "must be a time in quotes, e.g. '04:00'" })
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time in quotes, e.g. '04:00'");

export const updateSettings = z.strictObject({
  automatic: z
    .enum(['off', 'security', 'all'], { error: 'must be off, security or all' })
    .optional()
    .describe(
      'What is installed by itself; if not set, as the image was built (stages.system.automatic_updates)',
    ),
  time: clock
    .optional()
    .describe('When updates are installed; if not set, between 06:00 and 07:00 (Debian)'),
  reboot: z
    .union([z.literal('never'), clock], { error: "must be never or a time, e.g. '04:30'" })
    .optional()
    .describe(
      'When to restart after an update that needs it; if not set, as the image was built (stages.system.reboot)',
    ),
  undo: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe('Go back to the packages of before when an update has broken the gateway'),
  runtime: z
    .strictObject({
      url: z
        .url({ protocol: /^https$/, error: 'must be an address that begins with https://' })
        .optional()
        .describe(
          "List of the gateway's own programs, signed by a key of the image; off if not set",
        ),
      ca: z
        .string()
        .superRefine(refuseUnlessCertificates)
        .optional()
        .describe('Certificates (PEM) of authorities to trust there, besides the usual ones'),
    })
    .prefault({}),
});

export type UpdateSettings = z.output<typeof updateSettings>;
