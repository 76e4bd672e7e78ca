import * as z from 'zod';
import type { FailureKind } from '../errors.ts';
import type { Actor } from './verb.ts';
import type { VerbArgs, VerbName, VerbResult } from './verbs.ts';

/**
 * Between the helper and those who ask it: one JSON object a line over a unix stream socket, answers in any
 * order, matched by `id`.
 */
export const helperSocket = '/run/pi-gateway/helper.sock';

/** Bytes of one line; longer ones end the connection. */
export const longestLine = 1_048_576;

export const request = z.strictObject({
  id: z.number().int().nonnegative(),
  verb: z.string().max(64),
  args: z.unknown(),
  actor: z.strictObject({
    via: z.enum(['cli', 'api', 'device']),
    name: z.string().max(64),
    address: z.string().max(64).optional(),
  }),
});

const failureKinds = [
  'refused',
  'conflict',
  'missing',
  'late',
  'busy',
  'failed',
] as const satisfies FailureKind[];

export const reply = z.union([
  z.strictObject({ id: z.number(), ok: z.literal(true), result: z.unknown() }),
  z.strictObject({
    id: z.number(),
    ok: z.literal(false),
    kind: z.enum(failureKinds),
    message: z.string(),
    /** What to do about it. */
    fix: z.string(),
  }),
]);

/** Lets the helper work; typed by the verbs' own schemas. */
export type Helper = {
  /** @throws GatewayError with what the helper says is wrong, and its kind. */
  call<N extends VerbName>(verb: N, args: VerbArgs<N>, actor: Actor): Promise<VerbResult<N>>;
};
