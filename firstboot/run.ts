import { Journal } from './journal.ts';
import { OwnerError, type Step } from './step.ts';
import { at, readIfThere, type System, writeDurably } from './system.ts';

/** Milliseconds for a step that says nothing of its own: such write a few small files. */
const stepTimeout = 60_000;

export const folder = '/var/lib/pi-gateway/firstboot';
/** Ends first boot: the unit's condition. */
export const stamp = `${folder}/done`;
/**
 * From here on the device has all that it needs of the owner's files. They are no longer read, as the
 * wipe may have left half of one.
 */
export const takenOver = `${folder}/taken-over`;

export type Failure = { step: string; message: string; fix?: string | undefined };
export type Outcome = {
  failures: Failure[];
  /** Steps that were not tried, because one that they need has failed or waits itself. */
  waiting: { step: string; needs: string }[];
};

export type Plan = {
  /** All that is made on the device or taken from the owner's files. */
  prepare: readonly Step[];
  /** What may only happen when all of that is on disk. */
  finish: readonly Step[];
  /** Tells people how it went, before the stamp: who was cut off here is told at the next boot. */
  report(system: System, outcome: Outcome): Promise<void>;
};

/**
 * First boot, from wherever the last one was cut off. Goes on after a failed step: the others are worth
 * having. The stamp is set only when all are done.
 * @throws if the journal, the report or the stamp cannot be written: the next boot tries again.
 */
export async function runFirstBoot(system: System, plan: Plan): Promise<Outcome> {
  const journal = new Journal(at(system, `${folder}/journal.json`));
  await journal.load();
  const outcome: Outcome = { failures: [], waiting: [] };
  if ((await readIfThere(at(system, takenOver))) === undefined) {
    await runSteps(system, journal, plan.prepare, outcome);
    if (isComplete(outcome))
      await writeDurably(at(system, takenOver), `${new Date().toISOString()}\n`, 0o600);
  }
  if (isComplete(outcome)) await runSteps(system, journal, plan.finish, outcome);
  await plan.report(system, outcome);
  if (isComplete(outcome))
    await writeDurably(at(system, stamp), `${new Date().toISOString()}\n`, 0o600);
  return outcome;
}

export function isComplete(outcome: Outcome): boolean {
  return outcome.failures.length === 0 && outcome.waiting.length === 0;
}

async function runSteps(
  system: System,
  journal: Journal,
  steps: readonly Step[],
  outcome: Outcome,
): Promise<void> {
  const undone = new Set<string>();
  const begun = new Map(
    steps.map((step) => [step.name, step.begin?.(system).catch(() => undefined)]),
  );
  for (const step of steps) {
    const missing = step.needs?.find((need) => undone.has(need));
    if (missing !== undefined) {
      undone.add(step.name);
      outcome.waiting.push({ step: step.name, needs: missing });
      continue;
    }
    try {
      await runStep(system, journal, step, begun.get(step.name));
    } catch (error) {
      undone.add(step.name);
      const message = error instanceof Error ? error.message : String(error);
      const fix = error instanceof OwnerError ? error.fix : undefined;
      outcome.failures.push({ step: step.name, message, fix });
      await journal.add({ step: step.name, state: 'failed', reason: message });
    }
  }
}

async function runStep(
  system: System,
  journal: Journal,
  step: Step,
  begun: Promise<unknown> | undefined,
): Promise<void> {
  await within(step, system, async (limited) => {
    const ready = await begun;
    if (await step.check(limited)) {
      if (journal.isOpen(step.name)) await journal.add({ step: step.name, state: 'done' });
      return;
    }
    system.say(`First boot: ${step.name}`);
    await journal.add({ step: step.name, state: 'started' });
    await step.apply(limited, ready);
    if (!(await step.check(limited)))
      throw new Error('the step ended, but its result does not hold');
    await journal.add({ step: step.name, state: 'done' });
  });
}

/** Gives the step a machine whose programs are killed when its time is over. */
async function within(
  step: Step,
  system: System,
  work: (limited: System) => Promise<void>,
): Promise<void> {
  const limit = step.timeout ?? stepTimeout;
  const over = new AbortController();
  const limited: System = {
    ...system,
    run: (command, args, options) => system.run(command, args, { ...options, signal: over.signal }),
  };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`took longer than ${limit / 1000} s`));
      over.abort();
    }, limit);
  });
  try {
    await Promise.race([work(limited), late]);
  } finally {
    clearTimeout(timer);
  }
}
