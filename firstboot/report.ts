import { join } from 'node:path';
import { writeDeviceCard } from './device-card.ts';
import { isComplete, type Outcome } from './run.ts';
import { type System, writeDurably } from './system.ts';

export const statusFile = 'gateway-status.txt';

/** How it went, in words for the owner. */
export function outcomeLines(outcome: Outcome, notes: readonly string[] = []): string[] {
  const noted = notes.map((note) => `- ${note}`);
  if (isComplete(outcome)) return ['Pi Gateway: first boot is complete.', ...noted];
  const needs = [...new Set(outcome.waiting.map((one) => one.needs))];
  return [
    'Pi Gateway: first boot is not complete.',
    ...outcome.failures.flatMap(({ step, message, fix }) => [
      `- ${step}: ${message}`,
      ...(fix ? [`  What to do: ${fix}`] : []),
    ]),
    ...needs.map(
      (need) =>
        `- waiting for ${need}: ${outcome.waiting
          .filter((one) => one.needs === need)
          .map((one) => one.step)
          .join(', ')}`,
    ),
    ...noted,
  ];
}

/**
 * The outcome on the console and in the journal; the device card above the login prompt and on disk;
 * both on the boot partition, which any computer reads; with notes on what of the owner's is not used.
 * The card has the claim code: it is never said, as what is said stays in the journal.
 */
export async function report(
  system: System,
  outcome: Outcome,
  notes: readonly string[] = [],
): Promise<void> {
  const lines = outcomeLines(outcome, notes);
  const card = await writeDeviceCard(system);
  await writeDurably(
    join(system.root, system.boot, statusFile),
    [...lines, '', ...card, ''].join('\n'),
  ).catch((error: unknown) => system.say(`${statusFile} cannot be written: ${String(error)}`));
  // Last: who reads it on the console may cut the power.
  for (const line of lines) system.say(line);
}
