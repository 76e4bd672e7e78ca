import * as z from 'zod';

export const user = 'desktop';

export const desktopView = z.object({
  available: z.boolean().describe('The image has the stage'),
  state: z.enum(['stopped', 'starting', 'running', 'failed']),
  address: z.string().nullable().describe("The gateway's own in the VPN: nobody else reaches it"),
  port: z.number().int().nullable(),
  idle_minutes: z.number().int().nullable().describe('Without a viewer it ends after so many'),
  since: z.iso.datetime().nullable(),
});
export type DesktopView = z.output<typeof desktopView>;

export const desktopAccess = desktopView.extend({
  user: z.string(),
  password: z
    .string()
    .describe('Of this session alone: shown now and never again, and void when it ends'),
  fingerprint: z
    .string()
    .describe("SHA-256 of the session's certificate, to compare with what the viewer shows"),
});
export type DesktopAccess = z.output<typeof desktopAccess>;
