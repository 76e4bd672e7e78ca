import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { forwardsFile } from '../firewall/forwards.ts';
import { aptFile } from '../updates/applier.ts';
import { changeSettings, rollBackDue } from './apply.ts';
import { readPending } from './store.ts';
import { SettingsDevice } from './testing.ts';

/** A real process, really killed at any point of its changes; the disk and /run stay as they are then. */
const source = fileURLToPath(new URL('killed-agent.ts', import.meta.url));
let agent = '';
const texts = [
  "updates: {reboot: '03:00'}\nfirewall: {forwards: [{udp: 5, to: 192.168.10.9}]}\n",
  "updates: {reboot: '04:00'}\nfirewall: {forwards: [{tcp: 443, to: 192.168.10.20}]}\n",
];
const marks = [
  { apt: '03:00', forward: '192.168.10.9' },
  { apt: '04:00', forward: '192.168.10.20' },
];

let device: SettingsDevice;
beforeAll(async () => {
  device = await SettingsDevice.make();
  // As on the device: a bundle starts in a fraction of the time.
  agent = join(device.root, 'agent.mjs');
  const banner = {
    js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);",
  };
  const how = { bundle: true, platform: 'node', format: 'esm', banner } as const;
  await build({ ...how, entryPoints: [source], outfile: agent, logLevel: 'silent' });
});
afterAll(() => device.remove());

/** Killed so long after its first change is done. @returns what it said it had done, last. */
async function killAfter(milliseconds: number): Promise<number> {
  const child = spawn(process.execPath, [agent, device.root, ...texts], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = new Promise((resolve) => child.once('close', resolve));
  let said = '';
  await new Promise<void>((ready, failed) => {
    child.once('exit', (code) => failed(new Error(`the agent ended with ${code}`)));
    child.stdout.on('data', (data: Buffer) => {
      said += data.toString();
      ready();
    });
  });
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  child.kill('SIGKILL');
  await gone;
  return Number(said.trim().split('\n').at(-1));
}

test('a change that is killed is made or not made, and never hinders the next', async () => {
  const rounds = 20;
  let cutOff = 0;
  // Other steps each time: a change takes some 20 ms here.
  for (let round = 0; round < rounds; round += 1) {
    const done = await killAfter(round * 3);
    if (await readPending(device.system)) cutOff += 1;
    // What the timer does, which the change has armed.
    await rollBackDue(device.system);
    expect(await readPending(device.system)).toBeUndefined();
    // What was acknowledged, or the next one, which was made but could not say so any more.
    const now = texts.indexOf((await device.settings()) ?? '');
    expect([done, 1 - done]).toContain(now);
    expect(await device.read(aptFile)).toContain(marks[now]?.apt);
    expect(await device.read(forwardsFile)).toContain(`dnat ip to ${marks[now]?.forward}:`);
  }
  expect(cutOff).toBeGreaterThan(2);
  console.info(`${rounds} processes killed, ${cutOff} of them in the middle of a change`);
  const last = await changeSettings(device.system, () => '# all is well\n', { by: 'ann' });
  expect(last.state).toBe('applied');
});
