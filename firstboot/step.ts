import type { System } from './system.ts';

/**
 * One piece of first-boot work. Each can be killed at any point and run again: `check` looks at what
 * is really there, never at whether the step ran before.
 */
export type Step = {
  name: string;
  /** True if there is nothing to do. */
  check(system: System): Promise<boolean>;
  apply(system: System): Promise<void>;
};

/** Something that only the owner can mend; the device stays closed, and asks again at next boot. */
export class OwnerError extends Error {
  readonly fix: string;

  constructor(message: string, fix: string) {
    super(message);
    this.name = 'OwnerError';
    this.fix = fix;
  }
}
