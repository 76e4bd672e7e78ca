import type { Sample } from '../catalogue.ts';
import type { Health } from '../monitor.ts';

/** What one look found. */
export type Finding = {
  health: Health;
  /** In words, for the owner; never a secret. */
  detail: string;
  /** What was measured on the way. */
  samples?: readonly Sample[];
};

/** How something is looked at. */
export type CheckDefinition = {
  id: string;
  title: string;
  /** Checks that explain this one when they have failed. */
  needs: readonly string[];
  /** Seconds between two looks. */
  every: number;
  /** Looks in a row that must find it worse until it is: one lost packet is no outage. */
  confirm: number;
  /** Service of the registry to restart when it has failed for long. */
  restart?: string | undefined;
  look(): Promise<Finding>;
};

export const ok = (detail: string, samples: readonly Sample[] = []): Finding => ({
  health: 'ok',
  detail,
  samples,
});

export const failed = (detail: string, samples: readonly Sample[] = []): Finding => ({
  health: 'failed',
  detail,
  samples,
});

export const warning = (detail: string, samples: readonly Sample[] = []): Finding => ({
  health: 'warning',
  detail,
  samples,
});

export const unknown = (detail: string): Finding => ({ health: 'unknown', detail });
