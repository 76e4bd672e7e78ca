import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Cut, type DeviceState, type Job, keeper } from '../../builder/lab/cut.ts';
import { cutterProgram, inconsistencies, outcomeOf } from '../../builder/lab/cutter.ts';
import { applySettings, askDevice } from '../../builder/lab/device-api.ts';
import { recordFigure } from '../../builder/lab/figures.ts';
import { lab } from '../../builder/lab/harness.ts';

/**
 * Changes that are cut off at any moment: the helper is killed with all that it has started, or the device loses
 * its power. Afterwards there is what was before, or what was asked for; and what was acknowledged is there.
 * PI_GATEWAY_SEED=N repeats a run's moments; PI_GATEWAY_CUTS and PI_GATEWAY_POWER_CUTS are how many.
 */
const { ssh, sshResult, powerCycle } = lab();

const kills = Number(process.env.PI_GATEWAY_CUTS ?? 48);
const powerCuts = Number(process.env.PI_GATEWAY_POWER_CUTS ?? 4);
const seed = Number(process.env.PI_GATEWAY_SEED ?? Date.now() % 1_000_000);

/** mulberry32: 0 to 1, the same for the same seed. */
let state32 = seed;
function random(): number {
  state32 = (state32 + 0x6d2b79f5) | 0;
  let t = Math.imul(state32 ^ (state32 >>> 15), 1 | state32);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

const program = '/var/tmp/lab-cutter.mjs';
const subject = 'cut-subject';
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64');
const cutter = (task: string, argument?: unknown) =>
  `sudo node ${program} ${task}${argument === undefined ? '' : ` ${encoded(argument)}`}`;

const stateNow = async () => JSON.parse(await ssh(cutter('state'), 120)) as DeviceState;

async function run(jobs: readonly Job[], patient: boolean): Promise<Cut[]> {
  const lines = (await ssh(cutter('run', { jobs, patient }), 580)).trim().split('\n');
  return lines.map((line) => JSON.parse(line) as Cut);
}

/** Milliseconds that each kind of change takes when nobody cuts it off. */
const usual: Partial<Record<Job['kind'], number>> = {};

let count = 0;
/** Each another one than that before. */
function job(kind: Job['kind'], after: number | null): Job {
  count += 1;
  const zones = [['lan'], ['wan', 'gateway'], ['lan', 'dmz', 'gateway']];
  switch (kind) {
    case 'add':
      return { kind, name: `cut-${count}`, after };
    case 'zones':
      return { kind, name: subject, zones: zones[count % zones.length] ?? [], after };
    case 'config': {
      const time = `0${count % 10}:${String(count % 60).padStart(2, '0')}`;
      const text = `# ${count}\nupdates:\n  reboot: '${time}'\nfirewall:\n  forwards:\n    - {tcp: ${2000 + count}, to: 192.168.10.${10 + (count % 200)}}\n`;
      return { kind, text, after };
    }
    default:
      return { kind, name: subject, after };
  }
}

/** In turn, so that each number of cuts has all of them. */
const order = ['add', 'zones', 'config', 'rotate', 'zones', 'cancel', 'config'] as const;
const cutJob = (index: number): Job & { after: number } => {
  const kind = order[index % order.length] ?? 'add';
  const after = Math.round(random() * 1.05 * (usual[kind] ?? 1000));
  return { ...job(kind, after), after };
};

let last: DeviceState;
const figures: Record<string, unknown> = { seed };

beforeAll(async () => {
  console.info(`PI_GATEWAY_SEED=${seed}`);
  await ssh(`cat > ${program} && sync`, 60, Buffer.from(await cutterProgram()));
  await applySettings(ssh, {});
  const add = (name: string): Job => ({ kind: 'add', name, after: null });
  const before = await run([add(keeper), add(subject)], false);
  const timed = await run(
    (['zones', 'rotate', 'cancel', 'config'] as const).map((kind) => job(kind, null)),
    false,
  );
  for (const { job: done, took, after } of [...before, ...timed]) {
    usual[done.kind] = took;
    last = after;
  }
  figures.usual = usual;
  expect(inconsistencies(last)).toEqual([]);
});

afterAll(async () => {
  await recordFigure('cuts', figures);
  const names = Object.keys((await stateNow()).peers).flatMap(
    (file) => /^(cut-.*)\.conf$/.exec(file)?.[1] ?? [],
  );
  await ssh(
    names.map((name) => `sudo /usr/lib/pi-gateway/wireguard-peer remove ${name}`).join('\n'),
    240,
  );
  await applySettings(ssh, {});
  await ssh(`sudo rm -f ${program}`);
});

const tally = (list: readonly string[]) =>
  Object.fromEntries([...new Set(list)].map((one) => [one, list.filter((x) => x === one).length]));

test(`${kills} changes whose helper is killed are made, or not made`, {
  timeout: 900_000,
}, async () => {
  const jobs = Array.from({ length: kills }, (_, index) => cutJob(index));
  const wrong: string[] = [];
  const outcomes: string[] = [];
  let halfway = 0;
  let waited = 0;
  const temporaries = new Set<string>();
  for (let at = 0; at < jobs.length; at += 8) {
    for (const one of await run(jobs.slice(at, at + 8), waited === 0)) {
      const { outcome, wrong: found } = outcomeOf(one.job, last, one.after);
      const what = `${one.job.kind} cut after ${one.job.after} of ${Math.round(usual[one.job.kind] ?? 0)} ms`;
      outcomes.push(`${one.job.kind} ${outcome}`);
      wrong.push(...[...found, ...inconsistencies(one.after)].map((text) => `${what}: ${text}`));
      if (one.status >= 200 && one.status < 300 && outcome !== 'new')
        wrong.push(`${what}: it was acknowledged, and is not there`);
      if (one.answers.some((status) => status !== 200))
        wrong.push(`${what}: questions afterwards: ${one.answers}`);
      if (one.halfway.length > 0) halfway += 1;
      if (one.halfway.some((file) => file.endsWith('changing')))
        waited = Math.max(waited, one.recovered);
      for (const file of one.after.temporaries) temporaries.add(file);
      last = one.after;
    }
  }
  figures.kills = {
    cuts: outcomes.length,
    outcomes: tally(outcomes),
    cut_in_the_middle: halfway,
    seconds_until_the_timer_made_up_for_it: Math.round(waited),
    temporaries: [...temporaries],
  };
  console.info(JSON.stringify(figures.kills));
  expect(wrong).toEqual([]);
  expect(outcomes).toHaveLength(kills);
  // Else the moments were not those of the change.
  expect(halfway).toBeGreaterThan(kills / 10);
  expect(outcomes.some((one) => one.endsWith('old'))).toBe(true);
  expect(outcomes.some((one) => one.endsWith('new'))).toBe(true);
});

test(`${powerCuts} changes in which the power is cut are made, or not made`, {
  timeout: 900_000,
}, async () => {
  const wrong: string[] = [];
  const outcomes: string[] = [];
  for (let index = 0; index < powerCuts; index += 1) {
    last = await stateNow();
    const one = cutJob(index);
    await powerCycle(
      `sudo systemd-run --quiet --collect node ${program} power ${encoded({ ...one })}`,
    );
    // multi-user.target is before it.
    await expect
      .poll(() => askDevice(ssh, '/status').then(Boolean, () => false), {
        timeout: 240_000,
        interval: 3000,
      })
      .toBe(true);
    const after = await stateNow();
    const { outcome, wrong: found } = outcomeOf(one, last, after);
    outcomes.push(`${one.kind} ${outcome}`);
    const what = `power cut ${one.after} ms after ${one.kind}`;
    wrong.push(...[...found, ...inconsistencies(after)].map((text) => `${what}: ${text}`));
    for (const command of ['vpn list', `vpn show ${keeper}`, 'config show']) {
      const { exitCode, stderr } = await sshResult(`sudo pi-gateway ${command}`);
      if (exitCode !== 0) wrong.push(`${what}: pi-gateway ${command}: ${stderr.trim()}`);
    }
    last = after;
  }
  figures.power = { cuts: outcomes.length, outcomes: tally(outcomes) };
  console.info(JSON.stringify(figures.power));
  expect(wrong).toEqual([]);
});

test('the next change cleans up what was cut off: no file of half a write is left', async () => {
  const old = last.temporaries;
  // What is younger than a minute may be of a change that is under way: gateway/vpn/clients.ts.
  if (old.length > 0) await new Promise((resolve) => setTimeout(resolve, 61_000));
  await ssh('sudo systemctl stop pi-gateway-helper.service');
  const [first] = await run([job('add', null), job('config', null)], false);
  expect(first?.status).toBe(201);
  const now = await stateNow();
  expect(inconsistencies(now)).toEqual([]);
  expect(now.temporaries).toEqual([]);
});
