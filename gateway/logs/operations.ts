import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { GatewayError } from '../errors.ts';

const notYet = (): never => {
  throw new GatewayError('This is not there yet', 'Wait for the next version');
};

/** syslog(3): from emerg to debug. */
export const priorities = [
  'emerg',
  'alert',
  'crit',
  'err',
  'warning',
  'notice',
  'info',
  'debug',
] as const;

/**
 * systemd.unit(5): a unit's name, with the types that have logs. Neither a hyphen first, which would be an
 * option, nor a pattern.
 */
export const unitName = z
  .string()
  .max(255)
  .regex(
    /^[A-Za-z0-9_][A-Za-z0-9:_.\\-]*(@[A-Za-z0-9:_.\\-]*)?\.(service|socket|timer|mount|path|slice|scope|target)$/,
  )
  .describe('e.g. ssh.service');

/** systemd.journal-fields(7), __CURSOR: opaque to clients, but what it is made of is known. */
export const cursor = z
  .string()
  .max(250)
  .regex(
    /^s=[0-9a-f]{32};i=[0-9a-f]{1,16};b=[0-9a-f]{32};m=[0-9a-f]{1,16};t=[0-9a-f]{1,16};x=[0-9a-f]{1,16}$/,
  );

export const logQuery = z.strictObject({
  unit: unitName.optional(),
  since: z.iso.datetime({ offset: true }).optional(),
  until: z.iso.datetime({ offset: true }).optional(),
  priority: z.enum(priorities).default('debug').describe('This and what is more urgent'),
  text: z.string().min(1).max(200).optional().describe('Part of the message, in either case'),
  limit: z.coerce.number().int().min(1).max(1000).default(200),
  cursor: cursor.optional().describe('`next` of an earlier answer: what is older than that one'),
});

export const logEntry = z.object({
  cursor: z.string(),
  time: z.iso.datetime(),
  unit: z.string().nullable(),
  program: z.string().nullable().describe('What it calls itself'),
  pid: z.number().int().nullable(),
  priority: z.enum(priorities),
  message: z.string().describe('Without what looks like a key, token or password'),
});

export const logList = defineOperation({
  id: 'logList',
  method: 'get',
  path: '/logs',
  area: 'logs',
  summary: 'The journal, the newest first',
  role: 'admin',
  query: logQuery,
  response: z.object({
    entries: z.array(logEntry),
    next: z.string().nullable().describe('To be sent as `cursor` for older ones; null: no more'),
  }),
  run: notYet,
});

export const logsOperations = [logList] as const;
