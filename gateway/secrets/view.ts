import * as z from 'zod';

/** What the API says of secrets: everything but their values. */

export const secretName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/,
    'must be 1 to 64 of a-z 0-9 . _ -, with a letter or digit at both ends, e.g. nas.password',
  );

/** systemd.unit(5): names of units that are started, no paths. */
const unitName = z
  .string()
  .max(128)
  .regex(
    /^[A-Za-z0-9:_.@\\-]+\.(service|socket|timer)$/,
    'must be the name of a unit, e.g. grafana.service',
  );

/** Bytes of one secret: systemd takes credentials of at most 1 MiB together, systemd.exec(5); a key file is small. */
export const longestSecret = 16_384;

export const secretValue = z
  .string()
  .min(1, 'is empty')
  .max(longestSecret, `is longer than ${longestSecret} characters`)
  .refine((text) => !text.includes('\0'), 'has a zero byte in it');

export const secretUnits = z.array(unitName).max(16);

export const secretView = z.object({
  name: secretName,
  made: z.enum(['given', 'generated', 'vault']).describe('Where its value comes from'),
  created_at: z.iso.datetime(),
  changed_at: z.iso.datetime(),
  version: z.number().int().describe('1, and one more with each rotation'),
  units: z.array(z.string()).describe('Units that are restarted when it changes'),
  delivered: z
    .boolean()
    .describe('systemd has this version of it: LoadCredentialEncrypted= of its name'),
  vault: z.string().nullable().describe('Its path in the vault, if it comes from there'),
});
export type SecretView = z.output<typeof secretView>;

export const secretList = z.object({
  available: z.boolean().describe('false: the image was built without the stage'),
  secrets: z.array(secretView),
});
export type SecretList = z.output<typeof secretList>;

export const secretChange = z.object({
  secret: secretView,
  restarted: z.array(z.string()).describe('Units that were restarted for it'),
});
export type SecretChange = z.output<typeof secretChange>;
