import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { deviceSystem, type System } from '../../firstboot/system.ts';
import { changeSettings } from '../settings/apply.ts';
import { settingsSchema } from '../settings/schema.ts';
import { tuningApplier } from './applier.ts';
import { autorateFile, requestFile, stageFile } from './request.ts';

let root: string;
let system: System;
let calls: string[];
let broken: boolean;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-tuning-'));
  const put = async (path: string, text: string) => {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), text);
  };
  await put(stageFile, 'x');
  await put(
    '/usr/share/pi-gateway/firewall.json',
    JSON.stringify({ zones: [{ name: 'lan', interfaces: ['eth1'] }], policy: { forwards: [] } }),
  );
  calls = [];
  broken = false;
  system = {
    ...deviceSystem(() => undefined),
    root,
    run: async (command, args) => {
      calls.push([command, ...args].join(' '));
      if (broken && args[0] === 'restart' && args[1] === 'pi-gateway-tuning.service') {
        broken = false;
        throw new Error('Job failed');
      }
      return '';
    },
  };
});
afterEach(() => rm(root, { recursive: true }));

const settings = (tuning: object) => settingsSchema.parse({ tuning });
const check = async (tuning: object) =>
  (await tuningApplier.check?.(system, settings(tuning)))?.map(({ message }) => message);
const uplink = { interface: 'eth0', upload: 9, download: 9 };

test('an uplink is one of the wan, once, and has a rate', async () => {
  expect(await check({ uplinks: [uplink] })).toEqual([]);
  expect(await check({ uplinks: [{ ...uplink, interface: 'eth1' }] })).toEqual([
    'is of the zone lan, and no uplink',
  ]);
  expect(await check({ uplinks: [uplink, uplink] })).toEqual(['is in the list twice']);
  expect(await check({ uplinks: [{ interface: 'eth0' }] })).toEqual([
    'needs a rate: upload, download or both',
  ]);
});

test('an image without the stage refuses what it could not do, and takes what is usual', async () => {
  await rm(join(root, stageFile));
  expect(await check({})).toEqual([]);
  expect(await check({ uplinks: [uplink] })).toEqual([
    expect.stringContaining('stages: {tuning: {}}'),
  ]);
});

test('what is usual needs no file; rates that follow the latency start their service', async () => {
  expect(await tuningApplier.files?.(system, settings({}))).toEqual({
    [requestFile]: null,
    [autorateFile]: null,
  });
  const files = await tuningApplier.files?.(
    system,
    settings({ uplinks: [{ ...uplink, autorate: { ping: ['9.9.9.9'] } }] }),
  );
  expect(JSON.parse(files?.[requestFile] ?? '').uplinks[0].autorate.lowest).toBe(30);
  expect(files?.[autorateFile]).toContain('autorate');
});

test('settings that the kernel does not take are taken back, as all are', async () => {
  const text = `tuning:\n  uplinks: [{interface: eth0, upload: 9}]\n`;
  const patience = { whole: 0, pause: 1 };
  await changeSettings(system, () => text, { by: 'test', patience });
  const before = await readFile(join(root, requestFile), 'utf8');
  broken = true;
  await expect(
    changeSettings(system, () => text.replace('9', '5'), { by: 'test', patience }),
  ).rejects.toMatchObject({
    message: expect.stringContaining('The settings of before are in force again'),
  });
  expect(await readFile(join(root, requestFile), 'utf8')).toBe(before);
  // Once for the change, once for the way back.
  expect(calls.filter((one) => one === 'systemctl restart pi-gateway-tuning.service')).toHaveLength(
    3,
  );
});
