import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { writeDeviceCard } from '../../firstboot/device-card.ts';
import { claim, claimCode } from '../../firstboot/steps/claim.ts';
import { TestDevice } from '../../firstboot/testing.ts';
import { listAudit } from '../helper/audit.ts';
import { connectHelper } from '../helper/client.ts';
import type { Helper } from '../helper/protocol.ts';
import { serveHelper } from '../helper/server.ts';
import type { Actor } from '../helper/verb.ts';
import { newClaimVerbs } from './verbs.ts';

const visitor: Actor = { via: 'api', name: 'nobody', address: '10.66.0.2' };

let device: TestDevice;
let folder: string;
let helper: Helper;
let server: Server;
let code: string;

beforeEach(async () => {
  device = await TestDevice.make();
  await claim.apply(device.system);
  code = (await claimCode(device.system)) ?? '';
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-claim-'));
  ({ server } = serveHelper({
    system: device.system,
    verbs: newClaimVerbs(),
    idle: 60_000,
    patience: 10_000,
  }));
  const path = join(folder, 'helper.sock');
  await new Promise<void>((resolve) => server.listen(path, resolve));
  helper = connectHelper(path);
});

afterEach(async () => {
  server.close();
  await device.remove();
  await rm(folder, { recursive: true });
});

const use = (given: string) => helper.call('claim.use', { code: given }, visitor);
const isOpen = async () => (await helper.call('claim.status', {}, visitor)).open;

test('when root makes the first account without the code, no card shows it any more', async () => {
  await writeDeviceCard(device.system);
  await device.put('boot/firmware/gateway-status.txt', `all is well\n  claim code:     ${code}\n`);
  await helper.call('claim.close', {}, visitor);
  expect(await isOpen()).toBe(false);
  for (const card of [
    'boot/firmware/gateway-status.txt',
    'etc/issue.d/50-pi-gateway.issue',
    'var/lib/pi-gateway/device-card.txt',
  ])
    expect(await device.read(card), card).not.toMatch(/claim code/);
  await expect(use(code)).rejects.toMatchObject({ kind: 'missing' });
  await expect(helper.call('claim.close', {}, visitor)).resolves.toBeNull();
});

test('the code is used up by who has it, and no card shows it any more', async () => {
  await writeDeviceCard(device.system);
  await device.put('boot/firmware/gateway-status.txt', `all is well\n  claim code:     ${code}\n`);
  expect(await device.read('etc/issue.d/50-pi-gateway.issue')).toContain(code);
  expect(await isOpen()).toBe(true);
  await use(code.toLowerCase().replaceAll('-', ' '));
  expect(await isOpen()).toBe(false);
  expect(await readdir(join(device.root, 'var/lib/pi-gateway/claim'))).toEqual(['hash']);
  expect(await device.read('boot/firmware/gateway-status.txt')).toBe('all is well\n');
  for (const card of ['etc/issue.d/50-pi-gateway.issue', 'var/lib/pi-gateway/device-card.txt'])
    expect(await device.read(card), card).not.toMatch(/claim code/);
  await expect(use(code)).rejects.toMatchObject({ kind: 'missing' });
  // Only who has it learns that it is used, and so goes on where a power cut came between.
  await expect(use('0000-0000-0000-0000')).rejects.toMatchObject({ kind: 'refused' });
  // First boot, run again, makes no other.
  expect(await claim.check(device.system)).toBe(true);
});

test('before first boot has made it, nobody has used it', async () => {
  await rm(join(device.root, 'var/lib/pi-gateway/claim'), { recursive: true });
  await expect(use(code)).rejects.toMatchObject({ kind: 'conflict' });
});

test('of two who use it at once, one does', async () => {
  const both = await Promise.allSettled([use(code), use(code)]);
  expect(both.map((one) => one.status).toSorted()).toEqual(['fulfilled', 'rejected']);
});

test('a wrong code changes nothing, and after five the right one has to wait too', async () => {
  for (let i = 0; i < 5; i += 1)
    await expect(use(`0000-0000-0000-000${i}`)).rejects.toMatchObject({ kind: 'refused' });
  await expect(use(code)).rejects.toMatchObject({ kind: 'conflict' });
  expect(await isOpen()).toBe(true);
  const later = vi.spyOn(performance, 'now').mockReturnValue(performance.now() + 60_001);
  await use(code);
  later.mockRestore();
  expect(await isOpen()).toBe(false);
});

test('the audit log knows each try, and no code', async () => {
  await use('0000-0000-0000-0000').catch(() => undefined);
  await use(code);
  const entries = await listAudit(device.system, 9);
  expect(entries.map((one) => [one.verb, one.outcome, one.actor.address])).toEqual([
    ['claim.use', 'done', '10.66.0.2'],
    ['claim.use', 'refused', '10.66.0.2'],
  ]);
  const text = await device.read('var/log/pi-gateway/audit.jsonl');
  expect(text).not.toMatch(/0000-0000/);
  expect(text).not.toContain(code);
});
