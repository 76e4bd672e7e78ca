import { BuildError } from '../errors.ts';
import type { Vm } from './vm.ts';

/** A moment of first boot: so many milliseconds after a step was begun. */
export type Moment = { step: string; after: number };

/** Steps of first boot in their order, each with the milliseconds from the first one's start. */
export type Timeline = {
  steps: readonly { step: string; at: number }[];
  /** Milliseconds until the outcome was told. */
  end: number;
};

/** How one boot of a card ended. */
export type BootEnd =
  | { kind: 'cut'; at: Moment }
  /** First boot told its outcome before the moment came; the power was cut then. */
  | { kind: 'told' }
  /** First boot had been over before this boot. */
  | { kind: 'over' };

/**
 * Numbers from 0 to 1, the same for the same seed: mulberry32, 32 bits of state
 * (github.com/bryc/code, PRNGs.md). Enough to choose instants with.
 */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Chooses when to cut the power: at the start of every step, and at random instants between the first
 * step and the outcome. Dealt to cards at random, so that each is cut early and late; on a card each
 * cut is later than the one before.
 * @param o.least cuts in all; at least 12 of them are at random instants.
 */
export function planCuts(
  timeline: Timeline,
  o: { random: () => number; least: number; perCard: number },
): Moment[][] {
  const starts = timeline.steps.map(({ step }): Moment => ({ step, after: 0 }));
  const between = Array.from({ length: Math.max(12, o.least - starts.length) }, () =>
    momentAt(timeline, o.random() * timeline.end),
  );
  const all = shuffled([...starts, ...between], o.random);
  const cards = Math.ceil(all.length / o.perCard);
  const index = (one: Moment) => timeline.steps.findIndex(({ step }) => step === one.step);
  return Array.from({ length: cards }, (_, card) =>
    all
      .filter((_moment, position) => position % cards === card)
      .toSorted((a, b) => index(a) - index(b) || a.after - b.after),
  );
}

function momentAt({ steps }: Timeline, at: number): Moment {
  const last = steps.findLast((one) => one.at <= at) ?? steps[0];
  if (!last) throw new Error('first boot has no steps');
  return { step: last.step, after: at - last.at };
}

/** Fisher and Yates' shuffle. */
function shuffled<T>(all: readonly T[], random: () => number): T[] {
  const result = [...all];
  for (let last = result.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [result[last], result[other]] = [result[other] as T, result[last] as T];
  }
  return result;
}

/** Steps that first boot has begun, by whole lines of the console. */
export function stepsShown(console: string): string[] {
  return [...console.matchAll(/^.*First boot: ([a-z0-9-]+)\r*$(?=\r*\n)/gm)].map(
    ([, step = '']) => step,
  );
}

/** True once first boot told how it went. */
export function outcomeShown(console: string): boolean {
  return /Pi Gateway: first boot is (not )?complete\./.test(console);
}

/**
 * True if the boot is past first boot, which had nothing to do: a prompt waits, or the target is reached
 * that waits for it.
 */
export function isPast(console: string): boolean {
  return /Reached target.*multi-user|^\S+ login: /im.test(console);
}

/**
 * True if the moment has come in a boot that begins where a former one was cut off: its step has run long
 * enough, or a later one has begun, as that step was done before.
 * @param order of all steps.
 * @param begun steps of this boot, and when each was first seen.
 */
export function hasCome(
  moment: Moment,
  order: readonly string[],
  begun: ReadonlyMap<string, number>,
  now: number,
): boolean {
  const start = begun.get(moment.step);
  if (start !== undefined && now >= start + moment.after) return true;
  const place = order.indexOf(moment.step);
  return [...begun.keys()].some((step) => order.indexOf(step) > place);
}

/** Milliseconds between two looks at the console. */
const look = 20;

/** Follows first boot on the console of a VM to its outcome. */
export async function followFirstBoot(vm: Vm, seconds: number): Promise<Timeline> {
  const begun = new Map<string, number>();
  await until(vm, seconds, 'first boot told its outcome', (console, now) => {
    for (const step of stepsShown(console)) if (!begun.has(step)) begun.set(step, now);
    return outcomeShown(console);
  });
  const first = Math.min(...begun.values());
  return {
    steps: [...begun].map(([step, at]) => ({ step, at: at - first })),
    end: performance.now() - first,
  };
}

/**
 * Cuts the power of a VM at a moment of its first boot.
 * @throws BuildError with the end of the console if neither the moment nor an end comes in time.
 */
export async function cutPower(
  vm: Vm,
  moment: Moment,
  order: readonly string[],
  seconds: number,
): Promise<BootEnd> {
  const begun = new Map<string, number>();
  let end: BootEnd | undefined;
  await until(vm, seconds, `${momentText(moment)} came`, (console, now) => {
    for (const step of stepsShown(console)) if (!begun.has(step)) begun.set(step, now);
    if (hasCome(moment, order, begun, now)) {
      const [step = moment.step, start = now] = [...begun].at(-1) ?? [];
      end = { kind: 'cut', at: { step, after: now - start } };
    } else if (outcomeShown(console)) end = { kind: 'told' };
    else if (begun.size === 0 && isPast(console)) end = { kind: 'over' };
    return end !== undefined;
  });
  await vm.powerCut();
  if (!end) throw new Error('unreachable: until() ends only with one');
  return end;
}

async function until(
  vm: Vm,
  seconds: number,
  what: string,
  done: (console: string, now: number) => boolean,
): Promise<void> {
  const limit = performance.now() + seconds * 1000;
  let over = false;
  void vm.ended.then(() => {
    over = true;
  });
  for (;;) {
    const console = await vm.consoleText();
    const now = performance.now();
    if (done(console, now)) return;
    if (over || now > limit)
      throw new BuildError({
        what: over ? `QEMU ended before ${what}` : `Within ${seconds} s it was not so that ${what}`,
        detail: console.slice(-3000),
      });
    await new Promise((resolve) => setTimeout(resolve, look));
  }
}

export function momentText({ step, after }: Moment): string {
  return after < 1 ? `start of ${step}` : `${step} + ${(after / 1000).toFixed(2)} s`;
}

export function endText(end: BootEnd): string {
  if (end.kind === 'cut') return momentText(end.at);
  return end.kind === 'told' ? 'outcome told' : 'no cut: it was over before';
}
