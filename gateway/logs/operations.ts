import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { turnstile } from '../turnstile.ts';
import { cursorForm, priorities, readJournal, unitForm } from './journal.ts';

/** Each reads the journal's files in a process of its own: many at once would take a small Pi's memory. */
const inTurn = turnstile(2);

export const logQuery = z.strictObject({
  unit: z.string().max(255).regex(unitForm).optional().describe('e.g. ssh.service'),
  since: z.iso.datetime({ offset: true }).optional(),
  until: z.iso.datetime({ offset: true }).optional(),
  priority: z.enum(priorities).default('debug').describe('This and what is more urgent'),
  text: z.string().min(1).max(200).optional().describe('Part of the message, in either case'),
  limit: z.coerce.number().int().min(1).max(1000).default(200),
  cursor: z
    .string()
    .max(250)
    .regex(cursorForm)
    .optional()
    .describe('`next` of an earlier answer: what is older than that one'),
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
  run: async ({ system }, { query }) => {
    const { entries, next } = await inTurn(() => readJournal(system, query));
    return { entries, next: next ?? null };
  },
});

export const logsOperations = [logList] as const;
