import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { deviceSystem, type System } from '../../firstboot/system.ts';
import { accessText, desktopText } from './command.ts';
import { readDesktop, startDesktop, stopDesktop } from './session.ts';

const folder = 'run/pi-gateway/desktop';
let root: string;
let system: System;
let calls: string[];
/** What systemd says of the unit, and what is in the folder when it is started. */
let state: string;
let seen: { name: string; mode: number; text: string }[];
let broken: boolean;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-desktop-'));
  await mkdir(join(root, 'usr/share/pi-gateway'), { recursive: true });
  await writeFile(
    join(root, 'usr/share/pi-gateway/desktop.json'),
    JSON.stringify({ address: '10.66.0.1', port: 5900, idle_minutes: 15 }),
  );
  calls = [];
  seen = [];
  state = 'inactive';
  broken = false;
  const real = deviceSystem(() => undefined);
  system = {
    ...real,
    root,
    run: async (command, args, options) => {
      if (command === 'openssl') return await real.run(command, args, options);
      calls.push([command, ...args].join(' '));
      if (args[0] === 'show')
        return `Id=pi-gateway-desktop.service\nLoadState=loaded\nActiveState=${state}\nSubState=running\nResult=success\nUnitFileState=static\nStateChangeTimestamp=@1700000000\nNRestarts=0\nMemoryCurrent=1\n`;
      if (args[0] === 'restart') {
        for (const name of await readdir(join(root, folder))) {
          const path = join(root, folder, name);
          seen.push({
            name,
            mode: (await stat(path)).mode & 0o777,
            text: await readFile(path, 'utf8'),
          });
        }
        if (broken) throw new Error('systemctl failed: no address');
        state = 'active';
      }
      if (args[0] === 'stop') state = 'inactive';
      return '';
    },
  };
});
afterEach(() => rm(root, { recursive: true }));

test('a session has a password, a key and a certificate of its own, for systemd alone and only until it has them', async () => {
  const access = await startDesktop(system);
  expect(access).toMatchObject({
    state: 'running',
    address: '10.66.0.1',
    port: 5900,
    user: 'desktop',
  });
  expect(access.password).toMatch(/^\w{6}(-\w{6}){3}$/);
  expect(access.fingerprint).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  expect(seen.map(({ name }) => name).toSorted()).toEqual([
    'certificate.pem',
    'key.pem',
    'password',
  ]);
  for (const { name, mode } of seen) if (name !== 'certificate.pem') expect(mode, name).toBe(0o600);
  expect(seen.find(({ name }) => name === 'password')?.text).toBe(`${access.password}\n`);
  await expect(stat(join(root, folder))).rejects.toThrow('ENOENT');
  // In no argument of any program.
  expect(calls.join('\n')).not.toContain(access.password);
});

test('the next session has others', async () => {
  const first = await startDesktop(system);
  const second = await startDesktop(system);
  expect(second.password).not.toBe(first.password);
  expect(second.fingerprint).not.toBe(first.fingerprint);
});

test('one that does not start leaves nothing, and says where to look', async () => {
  broken = true;
  await expect(startDesktop(system)).rejects.toMatchObject({
    message: expect.stringContaining('no address'),
    fix: expect.stringContaining('Does the VPN run?'),
  });
  await expect(stat(join(root, folder))).rejects.toThrow('ENOENT');
});

test('it ends when asked to', async () => {
  await startDesktop(system);
  expect((await stopDesktop(system)).state).toBe('stopped');
});

test('an image without it says so, and what to do', async () => {
  await rm(join(root, 'usr/share/pi-gateway/desktop.json'));
  expect(await readDesktop(system)).toMatchObject({ available: false, state: 'stopped' });
  await expect(startDesktop(system)).rejects.toMatchObject({
    kind: 'missing',
    fix: expect.stringContaining('stages: {desktop: {}}'),
  });
  expect(desktopText(await readDesktop(system))).toContain('built without a remote desktop');
});

test('the command shows all that a viewer asks for', async () => {
  const access = await startDesktop(system);
  for (const one of ['10.66.0.1:5900', access.user, access.password, access.fingerprint])
    expect(accessText(access)).toContain(one);
});
