import * as z from 'zod';
import { healthCheck } from '../settings/view.ts';

/** What the API says of updates. */

export const pendingPackage = z.object({
  name: z.string(),
  installed: z.string().nullable().describe('null: new, as another needs it'),
  available: z.string(),
  security: z.boolean(),
});
export type PendingPackage = z.output<typeof pendingPackage>;

export const updateKinds = ['security', 'all'] as const;
export type UpdateKind = (typeof updateKinds)[number];

export const updateResult = z.object({
  what: z.enum(['security', 'all', 'automatic']),
  started_at: z.iso.datetime(),
  finished_at: z.iso.datetime(),
  /**
   * ok: installed, and the gateway is well; nothing: there was none; failed: apt did not do it, and what
   * it says is in `detail`; undone: the gateway was unwell after it, and is well with the packages of
   * before; unwell: it was unwell after it and still is.
   */
  state: z.enum(['ok', 'nothing', 'failed', 'undone', 'unwell']),
  detail: z.string(),
  packages: z.array(
    z.object({ name: z.string(), before: z.string().nullable(), after: z.string().nullable() }),
  ),
  /** Those that could not be brought back: their versions of before are in no archive any more. */
  kept: z.array(z.string()),
  checks: z.array(healthCheck).describe('What is not well, and was before the update'),
});
export type UpdateResult = z.output<typeof updateResult>;

export const updatesState = z.object({
  packages: z.array(pendingPackage),
  refreshed_at: z.iso.datetime().nullable().describe('When the lists were last fetched'),
  running: z.enum(['refresh', 'security', 'all', 'automatic']).nullable(),
  reboot_required: z.boolean(),
  reboot_packages: z.array(z.string()).describe('What asks for it'),
  automatic: z.enum(['off', 'security', 'all']),
  reboot: z.string().describe("never, or the time of day for it: '04:30'"),
  last: updateResult.nullable(),
});
export type UpdatesState = z.output<typeof updatesState>;

export const started = z.object({ started: z.enum(['refresh', ...updateKinds]) });
