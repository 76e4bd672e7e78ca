import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { readIfThere, type System } from '../../firstboot/system.ts';
import { forwardsFile } from '../firewall/forwards.ts';
import { aptFile, timerFile } from '../updates/applier.ts';
import {
  changeSettings,
  confirmSettings,
  endTrial,
  recoverSettings,
  returnToVersion,
} from './apply.ts';
import { settingsFile } from './read.ts';
import { readPending, versions } from './store.ts';
import { SettingsDevice } from './testing.ts';

/** Called before everything that changes the disk, and in the middle of each write. */
const card = vi.hoisted(() => ({ beforeChange: async (): Promise<void> => undefined }));

vi.mock('node:fs/promises', async (original) => {
  const { interruptedFiles } = await import('../../firstboot/interrupted-files.ts');
  return interruptedFiles(await original(), card, ['rename', 'rm']);
});

const old = "updates: {reboot: '03:00'}\nfirewall: {forwards: [{udp: 5, to: 192.168.10.9}]}\n";
const next =
  "updates: {reboot: '04:00', time: '02:00'}\nfirewall: {forwards: [{tcp: 443, to: 192.168.10.20}]}\n";

const files = [settingsFile, forwardsFile, aptFile, timerFile];
type State = (string | undefined)[];

let device: SettingsDevice;
let cuts = '';
let count = 0;
beforeEach(async () => {
  device = await SettingsDevice.make();
  cuts = await mkdtemp(join(tmpdir(), 'pi-gateway-cuts-'));
  count = 0;
  await change(old);
});
afterEach(async () => {
  card.beforeChange = async () => undefined;
  await device.remove();
  await rm(cuts, { recursive: true, force: true });
});

const change = (text: string, confirmSeconds?: number) =>
  changeSettings(device.system, () => text, {
    by: 'ann',
    confirmSeconds,
    patience: { whole: 40, pause: 20 },
  });

const stateOf = (root: string): Promise<State> =>
  Promise.all(files.map((path) => readIfThere(join(root, path))));

/** The device's disk, as a power cut at each change of it would leave it. */
async function recorded(root: string, work: () => Promise<unknown>): Promise<void> {
  const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
  const record = async () => {
    count += 1;
    for (const part of ['etc', 'var', 'usr'])
      await real.cp(join(root, part), join(cuts, String(count), part), { recursive: true });
    // Another boot; /run is gone with the power.
    await real.mkdir(join(cuts, String(count), 'proc/sys/kernel/random'), { recursive: true });
    await real.writeFile(join(cuts, String(count), 'proc/sys/kernel/random/boot_id'), 'next\n');
  };
  let recording = Promise.resolve();
  card.beforeChange = () => {
    recording = recording.then(record);
    return recording;
  };
  try {
    await work();
  } finally {
    card.beforeChange = async () => undefined;
  }
}

/** Starts the device that each cut has left, and has it checked. */
async function afterEachCut(
  check: (state: State, system: System, cut: number) => void | Promise<void>,
): Promise<void> {
  const last = count;
  for (let cut = 1; cut <= last; cut += 1) {
    const root = join(cuts, String(cut));
    const system: System = { ...device.system, root };
    await recoverSettings(system);
    expect([cut, await readPending(system)]).toEqual([cut, undefined]);
    await check(await stateOf(root), system, cut);
    expect([cut, await recoverSettings(system)]).toEqual([cut, false]);
  }
}

/** The files of the old settings or those of the new, all of one kind; and in this order in time. */
async function expectOldThenNew(before: State, after: State): Promise<number> {
  let firstNew = 0;
  await afterEachCut((state, _, cut) => {
    const kind = JSON.stringify(state) === JSON.stringify(before) ? 'old' : 'new';
    expect([cut, state]).toEqual([cut, kind === 'old' ? before : after]);
    if (kind === 'new' && firstNew === 0) firstNew = cut;
    if (kind === 'old') expect([cut, firstNew]).toEqual([cut, 0]);
  });
  return firstNew;
}

describe('a power cut', () => {
  test('at each point of a change leaves the old settings or the new', async () => {
    const before = await stateOf(device.root);
    await recorded(device.root, () => change(next));
    const after = await stateOf(device.root);
    expect(after[0]).toBe(next);
    expect(await expectOldThenNew(before, after)).toBeGreaterThan(1);
    expect(count).toBeGreaterThan(30);
    console.info(`${count} power cuts in a change`);
  });

  test('at each point of one that is taken back leaves the old ones', async () => {
    const before = await stateOf(device.root);
    device.programs.set('nft', (args) => {
      if (args[0] === '--file') device.apiStatus = 500;
      return undefined;
    });
    await recorded(device.root, () => expect(change(next)).rejects.toThrow('api:answer'));
    await afterEachCut((state, _, cut) => expect([cut, state]).toEqual([cut, before]));
    expect(count).toBeGreaterThan(30);
    console.info(`${count} power cuts in a change that is taken back`);
  });

  test('at each point of a trial, until it is confirmed, leaves the old ones', async () => {
    const before = await stateOf(device.root);
    await recorded(device.root, () => change(next, 90));
    await afterEachCut((state, _, cut) => expect([cut, state]).toEqual([cut, before]));
    await rm(cuts, { recursive: true });
    count = 0;
    const after = await stateOf(device.root);
    await recorded(device.root, () => confirmSettings(device.system));
    await expectOldThenNew(before, after);
    expect(count).toBeGreaterThan(5);
  });

  test('at each point of the end of a trial leaves the old ones', async () => {
    const before = await stateOf(device.root);
    await change(next, 90);
    await recorded(device.root, () => endTrial(device.system));
    await afterEachCut((state, _, cut) => expect([cut, state]).toEqual([cut, before]));
    expect(count).toBeGreaterThan(5);
  });

  test('at each point of a return to a version of before leaves one or the other', async () => {
    await change(next);
    const before = await stateOf(device.root);
    await recorded(device.root, () =>
      returnToVersion(device.system, undefined, {
        by: 'ann',
        patience: { whole: 40, pause: 20 },
      }),
    );
    const after = await stateOf(device.root);
    expect(after[0]).toBe(old);
    await expectOldThenNew(before, after);
  });

  test('in the middle of the recovery itself is recovered from, too', async () => {
    const before = await stateOf(device.root);
    await change(next, 90);
    await recorded(device.root, () => recoverSettings(device.system));
    await afterEachCut((state, _, cut) => expect([cut, state]).toEqual([cut, before]));
    expect(count).toBeGreaterThan(5);
  });

  test('costs no version, and the next change is made as if there had been none', async () => {
    await recorded(device.root, () => change(next));
    for (const cut of [3, 12, Math.floor(count / 2), count - 2]) {
      const root = join(cuts, String(cut));
      const system: System = { ...device.system, root };
      await recoverSettings(system);
      expect((await versions(system)).map((one) => one.text)).toContain(old);
      const text = `${next}# ${cut}\n`;
      const done = await changeSettings(
        // The daemon that reads and the API are the device's.
        {
          ...system,
          run: async (...args) => {
            if (args[0] === 'systemctl' && args[1][0] === 'reload') return '';
            return await device.system.run(...args);
          },
        },
        () => text,
        { by: 'ann', patience: { whole: 40, pause: 20 } },
      );
      expect(done.state).toBe('applied');
    }
  });
});
