import { mkdir } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { at, type System } from '../../firstboot/system.ts';
import { publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import { addClient, rotateClient } from './clients.ts';
import { serverText } from './command.ts';
import { readConfiguration } from './configuration.ts';
import type { Vpn } from './operations.ts';
import { describeServer } from './server.ts';
import { cancelServerRotation, finishServerRotation, rotateServer } from './server-key.ts';
import { serverPort, serverStateFile, vpnConditions } from './server-state.ts';
import { VpnDevice } from './testing.ts';

/** What wireguard-server does with the files is in stages/wireguard/server.test.ts, with a real WireGuard. */
const program = '/usr/lib/pi-gateway/wireguard-server';

let vpn: VpnDevice;
let system: System;
beforeEach(async () => {
  vpn = await VpnDevice.make();
  system = {
    ...vpn.system,
    run: async (command, args, options) => {
      if (command !== program) return await vpn.system.run(command, args, options);
      vpn.device.calls.push([command, ...args].join(' '));
      return '';
    },
  };
});
afterEach(() => vpn.remove());

const value = (text: string, key: string) => new RegExp(`^${key} = (.+)$`, 'm').exec(text)?.[1];
const failure = async (work: Promise<unknown>) =>
  await work.then(
    () => 'done',
    (error: { kind: string; message: string; fix: string }) =>
      `${error.kind}: ${error.message}. ${error.fix}`,
  );
const next = () => vpn.device.read('etc/wireguard/server.next');

describe("replacing the server's key", () => {
  test('hands out the new key and its port from then on, also to clients that had their file before', async () => {
    await addClient(system, { name: 'phone' });
    const before = (await readConfiguration(system, 'phone')).text;
    await rotateServer(system, {});
    expect(vpn.device.calls).toContain(`${program} begin`);
    const key = publicKeyOf(/^key=(.+)$/m.exec(await next())?.[1] ?? '') ?? '';
    const during = (await readConfiguration(system, 'phone')).text;
    expect(value(during, 'PublicKey')).toBe(key);
    expect(value(during, 'PublicKey')).not.toBe(value(before, 'PublicKey'));
    expect(value(during, 'Endpoint')).toMatch(/:51821$/);
    expect(value(during, 'PrivateKey')).toBe(value(before, 'PrivateKey'));
    expect(value(during, 'PresharedKey')).toBe(value(before, 'PresharedKey'));
    await rotateClient(system, 'phone', {});
    expect(value((await readConfiguration(system, 'phone')).text, 'PublicKey')).toBe(key);
    expect(await describeServer(system)).toMatchObject({
      public_key: key,
      port: 51821,
      rotation: {
        old_public_key: value(before, 'PublicKey'),
        port: 51821,
        moved: [],
        waiting: ['phone'],
      },
    });
  });

  test('has a deadline of 30 days unless another or none is asked for', async () => {
    await rotateServer(system, {});
    const deadline = /^deadline=(.+)$/m.exec(await next())?.[1] ?? '';
    expect(Math.round((Date.parse(deadline) - Date.now()) / 86_400_000)).toBe(30);
    expect(await failure(rotateServer(system, {}))).toMatch(/^conflict: .*already/);
  });

  test('never ends by itself if that is asked for', async () => {
    await rotateServer(system, { deadline_at: null });
    expect(await next()).not.toContain('deadline');
    expect((await describeServer(system)).rotation?.deadline_at).toBeNull();
  });

  test('is refused with a time that is over, and with the port of the old key', async () => {
    expect(await failure(rotateServer(system, { deadline_at: '2020-01-01T00:00:00Z' }))).toMatch(
      /^refused/,
    );
    expect(await failure(rotateServer(system, { port: 51820 }))).toMatch(/^refused: .*51820/);
    await expect(next()).rejects.toThrow();
  });

  test('asks for the port outside where a router in front forwards one', async () => {
    await vpn.device.put('etc/pi-gateway/gateway.yaml', 'vpn: { endpoint_port: 443 }\n');
    expect(await failure(rotateServer(system, {}))).toMatch(/--endpoint-port/);
    await rotateServer(system, { endpoint_port: 444 });
    await addClient(system, { name: 'phone' });
    expect(value((await readConfiguration(system, 'phone')).text, 'Endpoint')).toMatch(/:444$/);
  });

  test('is finished or called off without cutting off anybody unless that is meant', async () => {
    expect(await failure(finishServerRotation(system, true))).toMatch(/^conflict: .*not being/);
    const { public_key } = await addClient(system, { name: 'phone' });
    await addClient(system, { name: 'laptop' });
    await rotateServer(system, {});
    await vpn.device.put('etc/wireguard/server.moved', `${public_key}\n`);
    expect(await failure(finishServerRotation(system, false))).toMatch(/^conflict: 1 .*laptop/);
    expect(await failure(cancelServerRotation(system, false))).toMatch(/^conflict: 1 .*phone/);
    await finishServerRotation(system, true);
    await cancelServerRotation(system, true);
    expect(vpn.device.calls.slice(-2)).toEqual([`${program} finish`, `${program} cancel`]);
  });

  test('uses the first port again the next time', async () => {
    await vpn.device.put(
      'etc/wireguard/server.port',
      'port=51821\nended=2026-01-01T00:00:00Z\ncut_off=phone\n',
    );
    expect(await describeServer(system)).toMatchObject({
      port: 51821,
      rotation: null,
      last_rotation: { ended_at: '2026-01-01T00:00:00Z', cut_off: ['phone'] },
    });
    await rotateServer(system, {});
    expect(await next()).toContain('port=51820\n');
  });
});

test('the command says who waits, and what each needs', async () => {
  await addClient(system, { name: 'phone' });
  await rotateServer(system, { deadline_at: '2999-01-01T00:00:00Z' });
  const now: Vpn = {
    ...(await describeServer(system)),
    clients: { total: 1, active: 1, online: 0 },
  };
  expect(serverText(now)).toMatch(
    /^New key: \S{44}, UDP port 51821 .*\nOld key: \S{44}; .*2999-01-01T00:00:00Z at the latest\.\nMoved: nobody yet\nWaiting: phone\n.*vpn export NAME/,
  );
});

test('who has not moved is told before the deadline, and who was cut off after it', async () => {
  const active = () =>
    vpnConditions(system, Date.parse('2026-06-01T00:00:00Z'))
      .filter((one) => one.active)
      .map((one) => one.text);
  expect(active()).toEqual([]);
  expect(serverPort(system)).toBeUndefined();
  await mkdir(at(system, '/run/pi-gateway/vpn'), { recursive: true });
  const state = (lines: string) => vpn.device.put(serverStateFile.slice(1), lines);
  await state('port=\nnext_port=51821\ndeadline=2026-07-01T00:00:00Z\nwaiting=phone\n');
  expect(active()).toEqual([]);
  expect(serverPort(system)).toBeUndefined();
  await state('port=\nnext_port=51821\ndeadline=2026-06-03T00:00:00Z\nwaiting=phone laptop\n');
  expect(active()).toEqual([expect.stringMatching(/2026-06-03.*: phone laptop\./)]);
  await state('port=51821\nended=2026-05-31T00:00:00Z\ncut_off=phone\n');
  expect(active()).toEqual([expect.stringMatching(/cut off phone/)]);
  expect(serverPort(system)).toBe(51821);
  await state('port=51821\nended=2026-05-01T00:00:00Z\ncut_off=phone\n');
  expect(active()).toEqual([]);
});
