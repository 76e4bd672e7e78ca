import * as z from 'zod';

/** Bytes of any answer of an extension: of a card that nobody would read to its end. */
export const longestAnswer = 262_144;

const text = (most: number) => z.string().max(most);
const state = z.enum(['ok', 'warning', 'failed', 'unknown', 'info']);
const scalar = z.union([text(120), z.number(), z.boolean(), z.null()]);

/**
 * What an extension has to show, answered by its service to GET /card. The dashboard draws it: no script, style
 * or markup of an extension is ever in the page.
 */
export const cardSchema = z.strictObject({
  state: state.optional().describe('How it is, for the sign beside the title'),
  text: text(300).optional().describe('A sentence'),
  values: z
    .array(
      z.strictObject({
        label: text(40).min(1),
        value: scalar,
        unit: text(12)
          .optional()
          .describe('UCUM, as charts have it: By, s, %, Cel; or any short word'),
        state: state.optional(),
      }),
    )
    .max(16)
    .optional(),
  table: z
    .strictObject({
      columns: z.array(text(40)).min(1).max(6),
      rows: z.array(z.array(scalar).max(6)).max(50),
    })
    .optional(),
  chart: z
    .strictObject({
      title: text(60).min(1),
      unit: text(12),
      lines: z
        .array(
          z.strictObject({
            name: text(40).min(1),
            points: z
              .array(
                z.tuple([z.number().describe('Milliseconds since 1970'), z.number().nullable()]),
              )
              .max(500)
              .describe('In the order of time'),
          }),
        )
        .min(1)
        .max(4),
    })
    .optional(),
  actions: z
    .array(
      z.strictObject({
        label: text(30).min(1),
        route: text(200).describe('One of its routes, filled in: post /x/hello/greetings'),
        body: z.record(text(32), scalar).optional(),
        fields: z
          .array(z.strictObject({ name: text(32).min(1), label: text(40).min(1) }))
          .max(4)
          .optional()
          .describe('What the owner is asked for; it joins the body'),
        confirm: text(200).optional().describe('What is asked before it is done'),
      }),
    )
    .max(6)
    .optional(),
});

export type Card = z.output<typeof cardSchema>;
