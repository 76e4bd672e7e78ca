import * as z from 'zod';
import { addAudit, auditEntry, listAudit } from './audit.ts';
import { defineVerb } from './verb.ts';

export const auditVerbs = {
  'audit.record': defineVerb({
    summary: 'Puts a change that the API made by itself (accounts, tokens) in the audit log',
    args: z.strictObject({
      /** `area.what`, as verbs are named. */
      action: z
        .string()
        .regex(/^[a-z]+(\.[a-z-]+)+$/)
        .max(64),
      /** What it was asked for, without secrets. */
      details: z
        .record(
          z.string().max(64),
          z.union([z.string().max(256), z.number(), z.boolean(), z.null()]),
        )
        .optional(),
      outcome: auditEntry.shape.outcome.default('done'),
    }),
    result: z.null(),
    // It is itself the entry.
    changes: false,
    run: async (system, { action, details, outcome }, actor) => {
      await addAudit(system, {
        at: new Date().toISOString(),
        actor,
        verb: action,
        ...(details ? { args: details } : {}),
        outcome,
      });
      return null;
    },
  }),
  'audit.list': defineVerb({
    summary: 'The newest entries of the audit log, newest first',
    args: z.strictObject({ limit: z.number().int().min(1).max(1000).default(100) }),
    result: z.strictObject({ entries: z.array(auditEntry) }),
    changes: false,
    run: async (system, { limit }) => ({ entries: await listAudit(system, limit) }),
  }),
} as const;
