/**
 * What monitoring finds each time it looks: a threshold that is exceeded for long enough, a check that has
 * failed. Whether anybody is told, once, now, is the alerts' business. What is not known at the moment (a check
 * that has not run since the start) is left out: a condition that is there and not active is over.
 */
export type Condition = {
  /** `threshold:memory`, `check:unit:ssh.service`. */
  source: string;
  active: boolean;
  severity: 'info' | 'warning' | 'critical';
  /** For the owner: what, how much, what to do; if it is not active, that it is well again. Never a secret. */
  text: string;
  /** Sources whose own condition explains this one. */
  needs: readonly string[];
};
