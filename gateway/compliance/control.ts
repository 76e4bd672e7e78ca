import type { Facts } from './facts.ts';

/** What a check found: its judgement, and what was read for it. */
export type Finding = { state: 'pass' | 'fail' | 'not-applicable'; evidence: string };

/** One recommendation of the benchmark as data. */
export type Control = {
  /** Number in the benchmark, e.g. `1.1.1.1`. */
  id: string;
  /** CIS profile "Level 1 - Server" or "Level 2 - Server" that it belongs to. */
  level: 1 | 2;
  /** In our words, as the state that is wanted. */
  title: string;
  /** What is read and what it must be; for docs/compliance.md. */
  checks: string;
  /** Pure; throws when it cannot read what it needs, which counts as a fail. */
  check(facts: Facts): Finding;
  /** What to do when it fails. */
  mend: string;
  /** systemd units that `check` asks for. */
  units?: readonly string[];
};

/** A control before it has its number and level. */
export type Body = Omit<Control, 'id' | 'level'>;

export const l1 = (id: string, body: Body, title = body.title): Control => ({
  ...body,
  id,
  level: 1,
  title,
});
export const l2 = (id: string, body: Body, title = body.title): Control => ({
  ...body,
  id,
  level: 2,
  title,
});

export const pass = (evidence: string): Finding => ({ state: 'pass', evidence });
export const fail = (evidence: string): Finding => ({ state: 'fail', evidence });
export const notApplicable = (reason: string): Finding => ({
  state: 'not-applicable',
  evidence: reason,
});

/** Pass or fail with the same evidence. */
export const judge = (ok: boolean, evidence: string): Finding =>
  ok ? pass(evidence) : fail(evidence);

/** Fails with the list of what is wrong; passes, saying what was looked at, when nothing is. */
export const none = (wrong: readonly string[], looked: string): Finding =>
  wrong.length === 0 ? pass(looked) : fail(wrong.join('; '));
