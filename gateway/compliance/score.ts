import type { Control } from './control.ts';
import { type Asking, type Facts, NeedsRunningSystem, StillAsked } from './facts.ts';
import type { Tailoring } from './tailoring.ts';

export type State = 'pass' | 'fail' | 'not-applicable' | 'tailored';

export type Result = {
  id: string;
  title: string;
  level: 1 | 2;
  state: State;
  /** What was read, shortened; or why it is not applicable. */
  evidence: string;
  /** What to do; only of a fail. */
  mend?: string;
  /** Why the benchmark's demand is wrong for a gateway, and what is checked in its place. */
  tailoring?: Tailoring;
};

export type Score = {
  passed: number;
  failed: number;
  notApplicable: number;
  tailored: number;
  /** Passed of passed and failed, in per cent, rounded down to a tenth: 100 means that nothing failed. */
  percent: number;
};

/** Longest evidence in a report; a control that needs more is broken in one way often. */
const longest = 300;

/** Judges every control. One that cannot be checked fails, with the reason as its evidence. */
export function assess(
  facts: Facts,
  controls: readonly Control[],
  tailored: Readonly<Record<string, Tailoring>>,
): Result[] {
  return controls.map((control) => judged(facts, control, tailored[control.id]));
}

/** As {@link assess}; what needs no program is judged while the programs work. */
export async function assessWhileAsking(
  { facts, answered }: Asking,
  controls: readonly Control[],
  tailored: Readonly<Record<string, Tailoring>>,
): Promise<Result[]> {
  const early = controls.map((control) => {
    try {
      return judged(facts, control, tailored[control.id]);
    } catch (error) {
      if (error instanceof StillAsked) return undefined;
      throw error;
    }
  });
  await answered;
  return controls.map(
    (control, index) => early[index] ?? judged(facts, control, tailored[control.id]),
  );
}

/** @throws StillAsked where a program is still to answer. */
function judged(facts: Facts, control: Control, tailoring: Tailoring | undefined): Result {
  const { id, title, level } = control;
  const head = { id, title, level, ...(tailoring ? { tailoring } : {}) };
  if (tailoring && tailoring.instead === undefined)
    return { ...head, state: 'tailored', evidence: tailoring.reason };
  try {
    const { state, evidence } = control.check(facts);
    return {
      ...head,
      state,
      evidence: shorten(evidence),
      ...(state === 'fail' ? { mend: control.mend } : {}),
    };
  } catch (error) {
    if (error instanceof StillAsked) throw error;
    const why = error instanceof Error ? error.message : String(error);
    if (error instanceof NeedsRunningSystem)
      return { ...head, state: 'not-applicable', evidence: why };
    return {
      ...head,
      state: 'fail',
      evidence: shorten(`cannot be checked: ${why}`),
      mend: control.mend,
    };
  }
}

export function score(results: readonly Result[]): Score {
  const count = (state: State) => results.filter((result) => result.state === state).length;
  const [passed, failed] = [count('pass'), count('fail')];
  const judgements = passed + failed;
  return {
    passed,
    failed,
    notApplicable: count('not-applicable'),
    tailored: count('tailored'),
    // Nothing judged is nothing proven.
    percent: judgements === 0 ? 0 : Math.floor((passed / judgements) * 1000) / 10,
  };
}

function shorten(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length <= longest ? line : `${line.slice(0, longest - 1)}…`;
}
