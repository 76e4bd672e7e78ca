import * as z from 'zod';

/** What is said of backups; no secret is in any of it. */

/** away: its disk or server was not there; partial: some files could not be read, the rest is in the backup. */
export const attemptStates = ['ok', 'partial', 'away', 'failed'] as const;

const attempt = z.object({
  at: z.iso.datetime(),
  state: z.enum(attemptStates),
  message: z.string(),
  fix: z.string(),
});
export type Attempt = z.output<typeof attempt>;

export const snapshotView = z.object({
  id: z.string().describe('The first 8 digits'),
  at: z.iso.datetime(),
  host: z.string(),
});

export const targetState = z.object({
  repository_id: z.string().nullable().default(null),
  last_attempt: attempt.nullable().default(null),
  last_success: z
    .object({
      at: z.iso.datetime(),
      snapshot: z.string(),
      files: z.number(),
      bytes: z.number().describe('Of the files'),
      added: z.number().describe('Bytes that were new, as stored'),
      seconds: z.number(),
    })
    .nullable()
    .default(null),
  size_bytes: z.number().nullable().default(null).describe('Of the repository, at the last check'),
  snapshots: z.array(snapshotView).default([]).describe('The newest first; at most 100'),
  check: z
    .object({
      at: z.iso.datetime(),
      ok: z.boolean(),
      message: z.string(),
      fix: z.string(),
      part: z.string().describe('Which part of the data was read back: 3/10'),
    })
    .nullable()
    .default(null),
  test: z
    .object({
      at: z.iso.datetime(),
      ok: z.boolean(),
      snapshot: z.string(),
      files: z.number(),
      bytes: z.number(),
      message: z.string(),
      fix: z.string(),
    })
    .nullable()
    .default(null)
    .describe('The last restore into a scratch folder, compared with what there was'),
});
export type TargetState = z.output<typeof targetState>;

export const backupState = z.object({ targets: z.record(z.string(), targetState).default({}) });
export type BackupState = z.output<typeof backupState>;

export const taskKinds = ['backup', 'check', 'test'] as const;
export type TaskKind = (typeof taskKinds)[number];

export const targetView = targetState.omit({ repository_id: true }).extend({
  name: z.string(),
  type: z.string(),
  location: z.string(),
  next_at: z.iso.datetime().nullable().describe('When the next backup is due'),
  late: z.boolean(),
});
export type TargetView = z.output<typeof targetView>;

export const backupView = z.object({
  installed: z.boolean().describe('False: the image was built without backups'),
  running: z.array(z.enum(taskKinds)).describe('What is under way, or waits its turn'),
  every: z.enum(['hour', 'day', 'week']),
  targets: z.array(targetView),
  restore: z
    .object({ at: z.iso.datetime(), ok: z.boolean(), message: z.string() })
    .nullable()
    .describe('When this gateway was itself restored from a backup'),
});
export type BackupView = z.output<typeof backupView>;
