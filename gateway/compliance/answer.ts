import * as z from 'zod';

/** The report as the API gives it. */
export const complianceReport = z.object({
  benchmark: z.string(),
  checked_at: z.iso.datetime(),
  score: z.object({
    passed: z.number().int(),
    failed: z.number().int(),
    not_applicable: z.number().int(),
    tailored: z.number().int(),
    percent: z.number().describe('Passed of passed and failed'),
  }),
  controls: z.array(
    z.object({
      id: z.string().describe('Number in the benchmark'),
      title: z.string(),
      level: z.union([z.literal(1), z.literal(2)]),
      state: z.enum(['pass', 'fail', 'not-applicable', 'tailored']),
      evidence: z.string().describe('What was read, shortened'),
      mend: z.string().nullable().describe('What to do; of a fail'),
      tailoring: z
        .object({ reason: z.string(), instead: z.string().nullable() })
        .nullable()
        .describe("Why the benchmark's demand is wrong for a gateway"),
    }),
  ),
});
