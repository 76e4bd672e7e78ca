import * as z from 'zod';
import { areas } from '../operation.ts';

/**
 * What can be listened to. `series`, `check` and `alert` come from monitoring; `change` names an area whose
 * state changed, for clients to ask anew; `vpn` is asked of the kernel each second while somebody listens.
 */
export const topics = ['series', 'check', 'alert', 'change', 'vpn'] as const;
export type Topic = (typeof topics)[number];

const time = z.iso.datetime();

/** Data of each event, by its name. */
export const eventData = {
  series: z.object({
    time,
    series: z.array(z.object({ name: z.string(), unit: z.string(), value: z.number().nullable() })),
  }),
  check: z.object({
    id: z.string(),
    title: z.string(),
    health: z.enum(['ok', 'warning', 'failed', 'unknown']),
    detail: z.string(),
    since: time,
    needs: z.array(z.string()),
  }),
  alert: z.object({
    id: z.string(),
    source: z.string(),
    severity: z.enum(['info', 'warning', 'critical']),
    text: z.string(),
    fired_at: time,
    resolved_at: time.nullable(),
    suppressed_by: z.string().nullable(),
  }),
  change: z.object({ area: z.enum(areas) }),
  vpn: z.object({
    time,
    peers: z.array(
      z.object({
        interface: z.string(),
        public_key: z.string(),
        endpoint: z.string().nullable(),
        handshake: time.nullable().describe('Of the last one; null: never'),
        received_bytes: z.number().describe('From the peer, since the interface came up'),
        sent_bytes: z.number(),
      }),
    ),
  }),
} as const satisfies Record<Topic, z.ZodType>;

export type EventData<T extends Topic> = z.output<(typeof eventData)[T]>;
