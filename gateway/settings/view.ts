import * as z from 'zod';

/** What the API and the CLI say of the settings: no secret is in any of it. */

/** Bytes of the file; the same as firstboot/owner-file.ts takes. */
export const longestText = 65_536;

/** Stands for a secret in what is shown; where it comes back, the secret stays as it is. */
export const kept = '(secret unchanged)';

export const settingsText = z
  .string()
  .max(longestText)
  .describe('Text of gateway.yaml; each secret as `(secret unchanged)`');

/** Keyed, as the text has secrets in it: nobody can try passwords against it. */
export const digest = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .describe('Of the settings in force; a change names the one that it was made from');

export const problem = z.object({
  line: z.number().int(),
  column: z.number().int(),
  key: z.string().describe('Dotted path; empty if the place is no key'),
  message: z.string().describe('What is wrong and what is right; never a value'),
});
export type SettingsProblem = z.output<typeof problem>;

export const change = z.object({
  key: z.string().describe('Dotted path, e.g. firewall.forwards.0.to'),
  kind: z.enum(['added', 'removed', 'changed']),
  before: z.unknown().describe('Absent if added; `(secret)` for a secret'),
  after: z.unknown().describe('Absent if removed; `(secret)` for a secret'),
});
export type SettingsChange = z.output<typeof change>;

export const pendingChange = z.object({
  version: z.number().int().describe('Version that returns unless the change is confirmed'),
  seconds_left: z.number().int(),
});

export const shownSettings = z.object({
  version: z.number().int().describe('0: the settings have never been changed by a command'),
  digest,
  text: settingsText,
  settings: z.record(z.string(), z.unknown()).describe('With what is usual where nothing is set'),
  problems: z.array(problem).describe('Of the file itself; then `settings` is empty'),
  pending: pendingChange.nullable().describe('A change that waits for its confirmation'),
});
export type ShownSettings = z.output<typeof shownSettings>;

export const checked = z.object({ valid: z.boolean(), problems: z.array(problem) });

export const difference = z.object({
  valid: z.boolean(),
  problems: z.array(problem),
  changes: z.array(change),
  areas: z.array(z.string()).describe('Top-level keys that change'),
  text: z.string().describe('Unified diff'),
  confirm_advised: z
    .boolean()
    .describe('The change may lock its author out: apply it with confirm_seconds'),
});
export type SettingsDifference = z.output<typeof difference>;

export const healthCheck = z.object({
  id: z.string(),
  ok: z.boolean(),
  detail: z.string(),
});
export type HealthCheck = z.output<typeof healthCheck>;

export const applied = z.object({
  state: z.enum(['unchanged', 'applied', 'pending']),
  version: z.number().int(),
  digest,
  areas: z.array(z.string()),
  seconds_left: z.number().int().nullable().describe('Time to confirm; then the old ones return'),
  checks: z.array(healthCheck),
});
export type Applied = z.output<typeof applied>;

export const confirmSeconds = z
  .number()
  .int()
  .min(10)
  .max(3600)
  .describe('Return to the settings of before after so long, unless config/confirm is asked for');

export const version = z.object({
  version: z.number().int(),
  at: z.iso.datetime(),
  by: z.string().describe('Who made it'),
  digest,
  changes: z.array(change.pick({ key: true, kind: true })),
  current: z.boolean(),
});
export type SettingsVersion = z.output<typeof version>;
