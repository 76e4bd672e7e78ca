import * as z from 'zod';

const time = z.string().nullable();

const record = z.object({
  type: z.enum(['A', 'AAAA']),
  address: z.string().nullable().describe('What the provider last confirmed'),
  since: time,
  failures: z.number().int(),
  next_attempt: time,
  notes: z.array(z.string()),
});

/** As {@link ../ddns/view.ts} has it: what a run of the service came to. */
export const ddnsStatus = z.object({
  checked_at: z.string(),
  state: z.enum(['registered', 'fallback', 'pending', 'unregistered', 'offline', 'error']),
  registered: z.boolean(),
  failed: z.boolean(),
  summary: z.string(),
  active: z.object({ provider: z.string(), hostnames: z.array(z.string()) }).nullable(),
  addresses: z.array(
    z.object({
      family: z.union([z.literal(4), z.literal(6)]),
      address: z.string().nullable(),
      agreed: z.array(z.string()),
      notes: z.array(z.string()),
    }),
  ),
  providers: z.array(
    z.object({
      provider: z.string(),
      type: z.string(),
      hostnames: z.array(z.string()),
      state: z.enum(['active', 'failing', 'down', 'stopped', 'standby']),
      stopped: z.object({ reason: z.string(), fix: z.string() }).nullable(),
      records: z.array(record),
    }),
  ),
});

/** For the API: the service's own user keeps its files from all others. */
export const ddnsView = z.object({
  configured: z.boolean(),
  running: z.boolean().describe('A look for a new address is under way'),
  status: ddnsStatus.nullable().describe('null: it has not run since the device was started'),
});
