import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Condition } from './condition.ts';
import { stateFile } from './store.ts';
import { condition, type Receivers, startReceivers } from './testing.ts';

/** Alerts as a process of their own, killed at any moment: what arrives at the servers all the same. */

let folder: string;
let program: string;
let to: Receivers;
const said: string[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-alerts-'));
  program = join(folder, 'killable.mjs');
  // As the device's programs are bundled (builder/overlay/prepare.ts).
  await build({
    entryPoints: [join(import.meta.dirname, 'killable.ts')],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outfile: program,
    logLevel: 'silent',
    banner: {
      js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);",
    },
  });
  to = await startReceivers();
  await mkdir(join(folder, 'run/pi-gateway/events'), { recursive: true });
  const settings = to.settings({ group_seconds: 0.03 });
  for (const channel of settings.channels ?? []) channel.min_severity = 'info';
  await writeFile(join(folder, 'settings.json'), JSON.stringify(settings));
});
beforeEach(async () => {
  await rm(join(folder, 'var'), { recursive: true, force: true });
  for (const kept of [to.mails, to.webhook, to.slack, to.ntfy]) kept.splice(0);
});
afterAll(async () => {
  await to.close();
  await rm(folder, { recursive: true });
});

async function conditions(...list: Condition[]): Promise<void> {
  await writeFile(join(folder, 'conditions.json.new'), JSON.stringify(list));
  await rename(join(folder, 'conditions.json.new'), join(folder, 'conditions.json'));
}

async function started(flags: string[] = [], node = process.execPath): Promise<ChildProcess> {
  const child = spawn(node, [...flags, program, folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stderr?.on('data', (data) => said.push(String(data)));
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`it ended (${code}): ${said.join('')}`)));
    child.stdout?.on('data', (data) => {
      said.push(...String(data).trim().split('\n'));
      if (String(data).includes('started')) resolve();
    });
  });
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** What has arrived, as `id kind source`, by server. */
function arrived(): Record<string, string[]> {
  const words = (text: string) =>
    [...text.matchAll(/(check:\d+) (has failed|is well again)/g)].map(
      ([, source, what]) => `${source} ${what}`,
    );
  const texts = {
    mail: to.mails.map((mail) => ({ id: mail.id, text: mail.subject })),
    webhook: to.webhook.map(({ body }) => ({ id: String(body.id), text: String(body.title) })),
    slack: to.slack.map(({ body, headers }) => ({
      id: String(headers['idempotency-key']),
      text: String(body.text).split('\n')[0] ?? '',
    })),
    ntfy: to.ntfy.map(({ body }) => ({ id: String(body.sequence_id), text: String(body.title) })),
  };
  return Object.fromEntries(
    Object.entries(texts).map(([name, list]) => [
      name,
      list.flatMap(({ id, text }) => words(text).map((word) => `${id} ${word}`)),
    ]),
  );
}

const everywhere = (what: string) =>
  Object.values(arrived()).every((list) => list.some((one) => one.endsWith(` ${what}`)));

async function until(condition: () => boolean): Promise<void> {
  const late = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > late) throw new Error('it did not happen in 30 s');
    await pause(1);
  }
}

/** By the record on the disk. */
function nothingWaits(): boolean {
  const { queues } = JSON.parse(readFileSync(join(folder, stateFile), 'utf8')) as {
    queues: Record<string, { message?: object; gathering: object[] }>;
  };
  return Object.values(queues).every((one) => !one.message && one.gathering.length === 0);
}

test('killed at any moment, 54 times: each server gets each message, and a second time only by the same id', async () => {
  let kills = 0;
  let atArrival = 0;
  const expected: string[] = [];
  /** What was surely on record before a kill: it must never come again. */
  let recorded: [string, string[]][] = [];
  const check = () => {
    const lists = arrived();
    for (const [name, list] of recorded)
      for (const one of list)
        expect(lists[name]?.filter((other) => other === one)).toEqual(
          list.filter((other) => other === one),
        );
  };
  for (let alert = 1; alert <= 9; alert++)
    for (const active of [true, false]) {
      const what = `check:${alert} ${active ? 'has failed' : 'is well again'}`;
      expected.push(what);
      await conditions(condition(`check:${alert}`, { active }));
      // Anywhere from the start on: while it reads, writes, connects, sends.
      const early = await started();
      await pause(Math.random() * 120);
      await kill(early);
      // At the worst moment: a server has just taken it, and the process cannot know yet.
      const before = Object.values(arrived()).flat().length;
      const middle = await started();
      await until(() => everywhere(what) || Object.values(arrived()).flat().length > before);
      if (!everywhere(what)) atArrival += 1;
      await kill(middle);
      // Somewhere in its last steps, or after them.
      const late = await started();
      await until(() => everywhere(what));
      const isAfter = alert % 3 === 0;
      if (isAfter) await until(nothingWaits);
      else await pause(Math.random() * 40);
      await kill(late);
      check();
      if (isAfter) recorded = Object.entries(arrived());
      kills += 3;
    }
  const last = await started();
  await pause(300);
  await kill(last);
  check();
  // What comes a second time is the same to the last byte, but for the signature's time.
  for (const copies of [
    to.webhook.map(({ body, raw }) => ({ id: String(body.id), raw })),
    to.mails.map(({ id, raw }) => ({ id, raw: raw.replace(/^(.*\r\n)*?From: /, 'From: ') })),
  ])
    for (const { id, raw } of copies)
      expect(copies.filter((other) => other.id === id && other.raw !== raw)).toEqual([]);

  const twice: Record<string, number> = {};
  for (const [name, list] of Object.entries(arrived())) {
    const messages = new Set(list);
    // Each thing by one id alone, and nothing else.
    expect([...messages].map((one) => one.slice(one.indexOf(' ') + 1))).toEqual(expected);
    twice[name] = list.length - messages.size;
  }
  expect(said.filter((line) => /damaged|cannot be/.test(line))).toEqual([]);
  // Not more often than the process was killed, and most kills cost nothing.
  for (const count of Object.values(twice)) expect(count).toBeLessThanOrEqual(kills);
  console.info(
    `${kills} kills, ${atArrival} of them as a server had just taken a message: ${JSON.stringify(twice)} of 18 messages came a second time, by the same id`,
  );
}, 180_000);

test('as on the device, without a compiler and WebAssembly: everything arrives', async () => {
  await conditions(condition('check:1'));
  // Debian's node, where there is one. Newer ones have no WebAssembly without a compiler anyway, and no such flag.
  const debian = existsSync('/usr/bin/node');
  const child = debian
    ? await started(['--jitless', '--no-expose-wasm'], '/usr/bin/node')
    : await started(['--jitless']);
  await until(() => everywhere('check:1 has failed'));
  await conditions(condition('check:1', { active: false }));
  await until(() => everywhere('check:1 is well again'));
  await kill(child);
});
