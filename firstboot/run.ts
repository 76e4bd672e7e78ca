import { join } from 'node:path';
import { Journal } from './journal.ts';
import { OwnerError, type Step } from './step.ts';
import { at, type System, writeDurably } from './system.ts';

/** Milliseconds that one step may take. Growing a large card is the longest. */
const stepTimeout = 180_000;

export const folder = '/var/lib/pi-gateway/firstboot';
export const stamp = `${folder}/done`;
const statusFile = 'gateway-status.txt';

export type Outcome = { failures: { step: string; message: string; fix?: string | undefined }[] };

/**
 * Runs every step that has something to do, and goes on after a failed one: the others are worth
 * having. The stamp that ends first boot is set only when all are done.
 */
export async function runSteps(system: System, steps: readonly Step[]): Promise<Outcome> {
  const journal = new Journal(at(system, `${folder}/journal.json`));
  await journal.load();
  const outcome: Outcome = { failures: [] };
  for (const step of steps) {
    try {
      await within(stepTimeout, step.name, runStep(system, journal, step));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const fix = error instanceof OwnerError ? error.fix : undefined;
      outcome.failures.push({ step: step.name, message, fix });
      await journal.add({ step: step.name, state: 'failed', reason: message });
    }
  }
  await report(system, outcome);
  if (outcome.failures.length === 0)
    await writeDurably(at(system, stamp), `${new Date().toISOString()}\n`);
  return outcome;
}

async function runStep(system: System, journal: Journal, step: Step): Promise<void> {
  if (await step.check(system)) return;
  await journal.add({ step: step.name, state: 'started' });
  await step.apply(system);
  if (!(await step.check(system))) throw new Error('the step ended, but its result does not hold');
  await journal.add({ step: step.name, state: 'done' });
}

async function within(limit: number, name: string, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${name} took longer than ${limit / 1000} s`)),
      limit,
    );
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The same words on the console, in the journal and on the boot partition, which any computer reads. */
async function report(system: System, outcome: Outcome): Promise<void> {
  const lines =
    outcome.failures.length === 0
      ? ['Pi Gateway: first boot is complete.']
      : [
          'Pi Gateway: first boot is not complete.',
          ...outcome.failures.flatMap(({ step, message, fix }) => [
            `- ${step}: ${message}`,
            ...(fix ? [`  What to do: ${fix}`] : []),
          ]),
        ];
  for (const line of lines) system.say(line);
  await writeDurably(join(system.root, system.boot, statusFile), `${lines.join('\n')}\n`).catch(
    (error: unknown) => system.say(`${statusFile} cannot be written: ${String(error)}`),
  );
}
