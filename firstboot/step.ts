import type { System } from './system.ts';

/**
 * One piece of first-boot work. Each can be killed at any point and run again: `check` looks at what
 * is really there, never at whether the step ran before.
 */
export type Step<Begun = unknown> = {
  name: string;
  /** Milliseconds that `apply` with its checks may take; its commands are killed then. Default: 60 s. */
  timeout?: number;
  /** Steps without which this one cannot be right; while one of them is undone, it waits. */
  needs?: readonly string[];
  /**
   * Slow work that is begun with first boot and goes on beside the other steps; `apply` gets what it gave.
   * It says nothing when it fails: then `apply` does all by itself.
   */
  begin?(system: System): Promise<Begun>;
  /** True if there is nothing to do; asked again after `apply`, as the proof of its work. */
  check(system: System): Promise<boolean>;
  apply(system: System, begun?: Begun): Promise<void>;
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
