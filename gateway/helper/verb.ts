import type * as z from 'zod';
import type { System } from '../../firstboot/system.ts';

/** Who wants something done, for the audit log. */
export type Actor = {
  via: 'cli' | 'api' | 'device';
  /** The account or token of the API, the login name behind sudo, or the unit. */
  name: string;
  /** Where an API client came from. */
  address?: string | undefined;
};

/**
 * One thing that needs root, and all that it may be told: the helper checks arguments by the schema before
 * anything runs, so whoever takes over the API process can do no more than what the verbs say.
 */
export type Verb<A extends z.ZodType = z.ZodType, R extends z.ZodType = z.ZodType> = {
  /** One line, for the audit log and the reference. */
  summary: string;
  args: A;
  result: R;
  /** True if it changes the device: such verbs run one after the other, and each is in the audit log. */
  changes: boolean;
  /** What the audit log holds of the arguments; without it all of them. Never a secret. */
  audited?(args: z.output<A>): unknown;
  run(system: System, args: z.output<A>, actor: Actor): Promise<z.input<R>>;
};

/** Types a verb; those of its arguments and result flow from the schemas. */
export function defineVerb<A extends z.ZodType, R extends z.ZodType>(verb: Verb<A, R>): Verb<A, R> {
  return verb;
}
