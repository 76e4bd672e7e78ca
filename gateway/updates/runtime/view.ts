import * as z from 'zod';

/** What the API says of the gateway's own programs. */

export const runtimeTasks = ['check', 'apply', 'again', 'rollback'] as const;
export type RuntimeTask = (typeof runtimeTasks)[number];

export const runtimeResult = z.object({
  what: z.enum(['apply', 'rollback']),
  /** ok: it runs; undone: it was unwell, and what was before runs again; failed: nothing was changed. */
  state: z.enum(['ok', 'undone', 'failed']),
  version: z.string().nullable().describe('The one it was about; null: that of the image'),
  detail: z.string(),
  finished_at: z.string(),
});
export type RuntimeResult = z.output<typeof runtimeResult>;

export const runtimeView = z.object({
  version: z.string().describe('That runs'),
  installed: z.boolean().describe('False: it is the one of the image'),
  previous: z.string().nullable().describe('What a roll-back goes to; null: that of the image'),
  url: z.string().nullable().describe('Where newer ones are looked for; null: nowhere'),
  keys: z.array(z.string()).describe('Numbers of the keys that may sign them'),
  running: z.enum(runtimeTasks).nullable(),
  checked_at: z.string().nullable(),
  available: z.string().nullable().describe('What the last look has found'),
  problem: z.string().nullable().describe('Why the last look has found nothing'),
  last: runtimeResult.nullable(),
});
export type RuntimeView = z.output<typeof runtimeView>;

export const runtimeStarted = z.object({ started: z.enum(runtimeTasks) });
