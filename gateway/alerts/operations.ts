import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import type { Alert } from '../monitor/monitor.ts';
import type { ToldAlert } from './alerts.ts';
import { severities } from './settings.ts';

const time = z.iso.datetime();

const alert = z.object({
  id: z.string(),
  source: z.string().describe('What it is about: the check or the rule, e.g. check:uplink'),
  severity: z.enum(severities),
  text: z.string(),
  fired_at: time,
  resolved_at: time.nullable(),
  suppressed_by: z
    .string()
    .nullable()
    .describe('Held back as this has failed, on which it depends; null if it may be over at once'),
});

const delivery = z.object({
  channel: z.string(),
  event: z.enum(['fired', 'raised', 'flapping', 'steady', 'reminder', 'resolved']),
  outcome: z
    .enum(['waiting', 'held', 'delivered', 'failed', 'dropped'])
    .describe('held: until quiet hours end; dropped: too much waited'),
  at: time.nullable(),
});

const told = alert.extend({
  flapping: z.boolean().describe('It comes and goes; told once, until it is stable'),
  deliveries: z.array(delivery),
});

const channel = z.object({
  name: z.string(),
  type: z.enum(['mail', 'webhook', 'slack', 'ntfy', 'hooks', 'journal']),
  state: z
    .enum(['ok', 'failing', 'broken'])
    .describe('failing: tried again; broken: only the owner can mend it'),
  waiting: z.number().int().nonnegative().describe('Events that have not arrived yet'),
  problem: z.string().nullable(),
  delivered_at: time.nullable(),
  next_attempt_at: time.nullable(),
});

const alertsAnswer = z.object({
  active: z.array(told).describe('Told and not over'),
  suppressed: z.array(alert).describe('Active and held back'),
  recent: z.array(told).describe('Over, the newest first'),
  channels: z.array(channel),
  quiet: z.boolean().describe('Whether it is quiet hours now'),
  heartbeat: z
    .object({
      state: z.enum(['ok', 'failing', 'unknown']),
      problem: z.string().nullable(),
      sent_at: time.nullable(),
    })
    .nullable()
    .describe('null: none is set up'),
});

const iso = (at: number | undefined) => (at === undefined ? null : new Date(at).toISOString());

const alertOut = (one: Alert): z.input<typeof alert> => ({
  id: one.id,
  source: one.source,
  severity: one.severity,
  text: one.text,
  fired_at: new Date(one.firedAt).toISOString(),
  resolved_at: iso(one.resolvedAt),
  suppressed_by: one.suppressedBy ?? null,
});

const toldOut = (one: ToldAlert): z.input<typeof told> => ({
  ...alertOut(one),
  flapping: one.flapping,
  deliveries: one.deliveries.map(({ at, ...rest }) => ({ ...rest, at: iso(at) })),
});

const list = defineOperation({
  id: 'alertsList',
  method: 'get',
  path: '/alerts',
  area: 'alerts',
  summary: 'Alerts: active, held back and recent, with what became of each at every channel',
  role: 'viewer',
  response: alertsAnswer,
  run: async ({ alerts }) => {
    const status = alerts.status();
    return {
      active: status.active.map(toldOut),
      suppressed: status.suppressed.map(alertOut),
      recent: status.recent.map(toldOut),
      channels: status.channels.map((one) => ({
        name: one.name,
        type: one.type,
        state: one.state,
        waiting: one.waiting,
        problem: one.problem ?? null,
        delivered_at: iso(one.deliveredAt),
        next_attempt_at: iso(one.nextAttemptAt),
      })),
      quiet: status.quiet,
      heartbeat: status.heartbeat
        ? {
            state: status.heartbeat.state,
            problem: status.heartbeat.problem ?? null,
            sent_at: iso(status.heartbeat.sentAt),
          }
        : null,
    };
  },
});

const test = defineOperation({
  id: 'alertsTest',
  method: 'post',
  path: '/alerts/test',
  area: 'alerts',
  summary: 'Sends a test message through one channel, and says what its server answered',
  role: 'admin',
  body: z.strictObject({ channel: z.string().min(1).max(32).describe("The channel's name") }),
  response: z.object({
    channel: z.string(),
    delivered: z.boolean(),
    answer: z.string().describe("The server's answer, or why there was none; without secrets"),
  }),
  run: ({ alerts }, { body }) => alerts.test(body.channel),
});

export const alertOperations = [list, test] as const;
