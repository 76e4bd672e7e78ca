import { randomInt, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { stringify } from 'yaml';
import { output, run } from '../../builder/exec.ts';
import { type Announced, announcedIn, remember } from '../../builder/qemu/announced.ts';
import { withBootPartition } from '../../builder/qemu/card.ts';
import { type DdnsProvider, ddnsOf, startDdnsProvider } from '../../builder/qemu/ddns-provider.ts';
import { keepEvidence } from '../../builder/qemu/evidence.ts';
import { adminUser, bootSeconds } from '../../builder/qemu/harness-facts.ts';
import {
  type BootEnd,
  cutPower,
  endText,
  followFirstBoot,
  type Moment,
  momentText,
  planCuts,
  seededRandom,
} from '../../builder/qemu/power-cuts.ts';
import { closeSsh, makeSshKey, type SshKey, ssh, waitForSsh } from '../../builder/qemu/ssh.ts';
import { startVm, type Vm } from '../../builder/qemu/vm.ts';
import { table } from '../../builder/ui/present.ts';
import {
  problemsAfterReplay,
  problemsOfCard,
  problemsOfDevice,
  type Wanted,
} from './good-state.ts';

/*
 * QEMU is killed while first boot works: what the device had not written to its card is lost, as when its
 * plug is pulled. What an SD card itself loses of writes that it has confirmed is not simulated.
 */

/** Cards that are worked on at once: one VM alone leaves a second core idle for much of its boot. */
const atOnce = 2;
const least = 30;
const perCard = 6;

let key: SshKey;
let provider: DdnsProvider;
let wanted: Wanted;
let bootFiles: Record<string, string>;

beforeAll(async () => {
  key = await makeSshKey();
  const password = randomUUID();
  const passwordHash = (
    await output('openssl', ['passwd', '-6', '-stdin'], { input: password })
  ).trim();
  const token = randomUUID();
  provider = await startDdnsProvider(token);
  wanted = {
    hostname: 'attic-gateway',
    timezone: 'Europe/Berlin',
    secrets: { token, passwordHash },
  };
  bootFiles = {
    'gateway-device.yaml': stringify({
      hostname: wanted.hostname,
      admin: { ssh_authorized_keys: [key.publicKey], password_hash: passwordHash },
      timezone: wanted.timezone,
      locale: 'C.UTF-8',
      wireguard: { endpoint: 'attic.example.org', first_client: 'phone' },
      ddns: ddnsOf(provider, token),
    }),
  };
});
afterAll(async () => {
  await provider.close();
  await key.remove();
});

const start = (reuse?: string) =>
  startVm({
    image: inject('image'),
    forwards: { 22: 0 },
    diskSize: '4G',
    ...(reuse === undefined ? { bootFiles } : { reuse }),
  });

type Cut = { card: number; planned: Moment; end: BootEnd; seconds: number };
type CardResult = { cuts: Cut[]; problems: string[] };

/** Cuts the power of one card at each moment, then lets it finish, and looks at it. */
async function torment(
  card: number,
  moments: readonly Moment[],
  order: readonly string[],
): Promise<CardResult> {
  const result: CardResult = { cuts: [], problems: [] };
  const known: Announced = new Map();
  let directory: string | undefined;
  let vm: Vm | undefined;
  try {
    for (const planned of moments) {
      const started = performance.now();
      vm = await start(directory);
      directory = vm.directory;
      const end = await cutPower(vm, planned, order, bootSeconds);
      const seconds = (performance.now() - started) / 1000;
      result.cuts.push({ card, planned, end, seconds });
      result.problems.push(...remember(known, announcedIn(await vm.consoleText())));
      result.problems.push(...remember(known, announcedIn(await statusFile(directory))));
      if (end.kind === 'over') break;
    }
    if (directory) result.problems.push(...(await problemsAfterReplay(directory)));
    vm = await start(directory);
    directory = vm.directory;
    result.problems.push(...(await finish(vm, known)));
  } catch (error) {
    result.problems.push(`it did not get to the good state: ${String(error)}`);
  }
  if (vm) {
    if (result.problems.length > 0)
      await keepEvidence(`power card ${card} console`, await vm.consoleText());
    await vm.stop();
  }
  return result;
}

/** Waits until the admin gets in, looks at the device, shuts it down, and looks at its card. */
async function finish(vm: Vm, known: Announced): Promise<string[]> {
  const target = { user: adminUser, port: vm.ports[22] ?? 0, key };
  await vm.whileRunning(waitForSsh(target, bootSeconds));
  const problems = await problemsOfDevice(target, wanted, known);
  problems.push(...remember(known, announcedIn(await vm.consoleText())));
  await ssh(target, 'sudo systemctl poweroff --no-block');
  await closeSsh(target);
  const off = await Promise.race([
    vm.ended.then(() => true),
    new Promise<false>((late) => setTimeout(() => late(false), 180_000).unref()),
  ]);
  if (!off) {
    problems.push('it did not shut down within 180 s');
    await vm.powerCut();
  }
  problems.push(...remember(known, announcedIn(await statusFile(vm.directory))));
  return [...problems, ...(await problemsOfCard(vm.directory, wanted))];
}

/** gateway-status.txt, which any computer reads; empty if it is not there yet. */
async function statusFile(directory: string): Promise<string> {
  return await withBootPartition(directory, async (partition) => {
    const { stdout } = await run('mtype', ['-i', partition, '::gateway-status.txt'], {
      env: { MTOOLS_SKIP_CHECK: '1' },
      okCodes: [1],
    });
    return stdout;
  });
}

/** Runs the work for each item, so many at a time. */
async function inTurns<T, R>(
  items: readonly T[],
  count: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < items.length; index = next++)
      results[index] = await work(items[index] as T, index);
  };
  await Promise.all(Array.from({ length: count }, worker));
  return results;
}

test(`first boot ends in the good state, wherever its power is cut, ${least} times or more`, async () => {
  const seed = Number(process.env.PI_GATEWAY_SEED ?? randomInt(2 ** 31));
  process.stdout.write(`Seed of the random instants: PI_GATEWAY_SEED=${seed}\n`);

  const uncut = await start();
  const timeline = await uncut
    .whileRunning(followFirstBoot(uncut, bootSeconds))
    .catch(async (error: unknown) => {
      await keepEvidence('power uncut console', await uncut.consoleText());
      await uncut.stop();
      throw error;
    });
  const baseline = await finish(uncut, new Map()).finally(() => uncut.stop());
  expect(baseline, 'without any cut').toEqual([]);
  const order = timeline.steps.map(({ step }) => step);
  process.stdout.write(
    `First boot uncut: ${(timeline.end / 1000).toFixed(1)} s, steps ${order.join(', ')}\n`,
  );

  const plan = planCuts(timeline, { random: seededRandom(seed), least, perCard });
  const cards = await inTurns(plan, atOnce, (moments, index) => torment(index + 1, moments, order));
  // Moments that did not come on a card, as its first boot ended before, are made up for on another.
  const missed = plan.flatMap((moments, index) =>
    moments.filter((_moment, turn) => cards[index]?.cuts[turn]?.end.kind !== 'cut'),
  );
  const later = Array.from({ length: Math.ceil(missed.length / perCard) }, (_, index) =>
    missed
      .slice(index * perCard, (index + 1) * perCard)
      .toSorted((a, b) => order.indexOf(a.step) - order.indexOf(b.step) || a.after - b.after),
  );
  cards.push(
    ...(await inTurns(later, atOnce, (moments, index) =>
      torment(plan.length + index + 1, moments, order),
    )),
  );

  const cuts = cards.flatMap((card) => card.cuts);
  const made = cuts.filter(({ end }) => end.kind !== 'over');
  process.stdout.write(
    `${[
      table([
        ['CARD', 'PLANNED', 'CUT AT', 'BOOT', 'OUTCOME OF THE CARD'],
        ...cuts.map(({ card, planned, end, seconds }) => [
          String(card),
          momentText(planned),
          endText(end),
          `${seconds.toFixed(0)} s`,
          cards[card - 1]?.problems.length === 0 ? 'good' : 'NOT GOOD',
        ]),
      ]),
      `${made.length} power cuts on ${cards.length} cards, seed ${seed}; ${cards.filter((card) => card.problems.length === 0).length} cards in the good state.`,
    ].join('\n')}\n`,
  );
  expect(cards.flatMap((card) => card.problems)).toEqual([]);
  expect(made.length).toBeGreaterThanOrEqual(least);
  const starts = cuts.filter(({ planned, end }) => planned.after === 0 && end.kind === 'cut');
  const reached = new Set(starts.map(({ planned }) => planned.step));
  expect(
    order.filter((step) => !reached.has(step)),
    'steps at whose start the power was not cut',
  ).toEqual([]);
});
