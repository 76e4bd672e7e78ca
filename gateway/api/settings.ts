import * as z from 'zod';

const minutes = z.number().int().min(1);

/** How the API is used; `api` of /etc/pi-gateway/gateway.yaml. */
export const apiSettings = z
  .strictObject({
    session_idle_minutes: minutes
      .max(1440)
      .default(60)
      .describe('A session that nobody uses ends after so many minutes'),
    session_hours: z
      .number()
      .int()
      .min(1)
      .max(720)
      .default(12)
      .describe('A session ends after so many hours, used or not'),
    names: z
      .array(
        z
          .string()
          .max(253)
          .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/),
      )
      .max(16)
      .default([])
      .describe('Further host names that lead to the gateway; requests by any other are refused'),
  })
  .prefault({});

export type ApiSettings = z.output<typeof apiSettings>;
