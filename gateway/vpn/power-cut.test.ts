import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { readIfThere } from '../../firstboot/system.ts';
import { publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import {
  addClient,
  cancelRotation,
  changeClient,
  forgetClient,
  listClients,
  revokeClient,
  rotateClient,
} from './clients.ts';
import type { ClientRecord } from './schema.ts';
import { VpnDevice } from './testing.ts';

/**
 * The power is cut before everything that changes the disk, and in the middle of each write, be it done by
 * the helper or by wireguard-peer: after the next start there is what was before, or what was asked for.
 */
const card = vi.hoisted(() => ({ beforeChange: async (): Promise<void> => undefined }));

vi.mock('node:fs/promises', async (original) => {
  const { interruptedFiles } = await import('../../firstboot/interrupted-files.ts');
  return interruptedFiles(await original(), card, ['rename', 'rm', 'link']);
});

let vpn: VpnDevice;
let cuts = '';
beforeEach(async () => {
  vpn = await VpnDevice.make();
  cuts = await mkdtemp(join(tmpdir(), 'pi-gateway-cuts-'));
  await addClient(vpn.system, { name: 'other' });
});
afterEach(async () => {
  card.beforeChange = async () => undefined;
  await vpn.remove();
  await rm(cuts, { recursive: true, force: true });
});

/** One clock for both: copies are named by the nanosecond. */
const copy = (root: string) => `cp -a ${root}/etc ${cuts}/$(date +%s%N)`;

/** Does the work, and keeps the disk as each cut would leave it. */
async function cutDuring(work: () => Promise<unknown>): Promise<void> {
  const { root } = vpn.device;
  const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
  await vpn.beforeEachChange(`[ -z "\${QUIET:-}" ] && QUIET=1 ${copy(root)}`);
  card.beforeChange = async () => {
    await real.cp(
      join(root, 'etc'),
      join(cuts, `${BigInt(Date.now()) * 1_000_000n}-${Math.random()}`),
      {
        recursive: true,
      },
    );
  };
  try {
    await work();
  } finally {
    card.beforeChange = async () => undefined;
    await vpn.beforeEachChange(':');
  }
}

type State = { clients: ClientRecord[]; peers: string[] };

/** What a device is like that starts with this disk. */
async function started(root: string): Promise<State> {
  const system = vpn.on(root);
  await vpn.restart();
  await system.run('/usr/lib/pi-gateway/wireguard-peer', ['load'], {});
  for (const { name, public_key, config_held, rotation } of listClients(system)) {
    // What is handed out is whole, and of the client.
    const held = (kind: string) => readIfThere(join(root, `etc/wireguard/clients/${name}.${kind}`));
    const keyOf = (text = '') => publicKeyOf(/^PrivateKey = (.*)$/m.exec(text)?.[1] ?? '');
    if (config_held) expect(keyOf(await held('conf'))).toBe(public_key);
    if (rotation?.config_held) expect(keyOf(await held('next'))).toBe(rotation.public_key);
  }
  return { clients: listClients(system), peers: await vpn.interface() };
}

/** @returns how many cuts there were. */
async function leavesOldOrNew(work: () => Promise<unknown>): Promise<number> {
  const snapshot = async () => {
    const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
    const root = await mkdtemp(join(tmpdir(), 'pi-gateway-state-'));
    await real.cp(join(vpn.device.root, 'etc'), join(root, 'etc'), { recursive: true });
    const state = await started(root);
    await rm(root, { recursive: true });
    return state;
  };
  const before = await snapshot();
  await cutDuring(work);
  const after = await snapshot();
  expect(after).not.toEqual(before);
  const names = (await readdir(cuts)).sort();
  for (const name of names) {
    const root = join(cuts, `${name}-root`);
    const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
    await real.mkdir(root);
    await real.rename(join(cuts, name), join(root, 'etc'));
    const state = await started(root);
    expect([before, after], `cut ${name}`).toContainEqual(state);
  }
  return names.length;
}

/** Keys are replaced as soon as their deadline is over. */
async function takeOver(name: string): Promise<void> {
  const file = `etc/wireguard/peers.d/${name}.next`;
  const text = await vpn.device.read(file);
  await vpn.device.put(file, text.replace('[Peer]', '[Peer]\n# deadline = 2026-01-01T00:00:00Z'));
  await vpn.system.run('/usr/lib/pi-gateway/wireguard-peer', ['load', name], {});
}

describe('a cut while a client', () => {
  test('is added', async () => {
    expect(await leavesOldOrNew(() => addClient(vpn.system, { name: 'phone' }))).toBeGreaterThan(5);
  });

  test('is changed', async () => {
    await addClient(vpn.system, { name: 'phone' });
    const change = { zones: ['lan' as const], note: 'mine', expires_at: '2999-01-01T00:00:00Z' };
    const count = await leavesOldOrNew(() => changeClient(vpn.system, 'phone', change));
    expect(count).toBeGreaterThan(4);
  });

  test('is disabled', async () => {
    await addClient(vpn.system, { name: 'phone' });
    await leavesOldOrNew(() => changeClient(vpn.system, 'phone', { enabled: false }));
  });

  test('is renamed, with the configuration that waits for it', async () => {
    await addClient(vpn.system, { name: 'phone' });
    await leavesOldOrNew(() => changeClient(vpn.system, 'phone', { name: 'mobile' }));
  });

  test('is forgotten', async () => {
    await addClient(vpn.system, { name: 'phone' });
    await leavesOldOrNew(() => forgetClient(vpn.system, 'phone'));
  });

  test('is revoked', async () => {
    await addClient(vpn.system, { name: 'phone' });
    expect(await leavesOldOrNew(() => revokeClient(vpn.system, 'phone'))).toBeGreaterThan(7);
  });

  test('gets new keys', async () => {
    await addClient(vpn.system, { name: 'phone' });
    await leavesOldOrNew(() => rotateClient(vpn.system, 'phone', {}));
  });

  test('keeps its old keys after all', async () => {
    await addClient(vpn.system, { name: 'phone' });
    await rotateClient(vpn.system, 'phone', {});
    await leavesOldOrNew(() => cancelRotation(vpn.system, 'phone'));
  });

  test('takes its new keys over: the next start finishes what was begun', async () => {
    await addClient(vpn.system, { name: 'phone' });
    await rotateClient(vpn.system, 'phone', {});
    await takeOver('phone');
    const program = '/usr/lib/pi-gateway/wireguard-peer';
    const key = listClients(vpn.system).find(({ name }) => name === 'phone')?.rotation?.public_key;
    await cutDuring(() => vpn.system.run(program, ['follow'], {}));
    const after = listClients(vpn.system);
    expect(after.find(({ name }) => name === 'phone')).toMatchObject({
      public_key: key,
      rotation: null,
    });
    const names = (await readdir(cuts)).sort();
    expect(names.length).toBeGreaterThan(5);
    const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
    for (const name of names) {
      const root = join(cuts, `${name}-root`);
      await real.mkdir(root);
      await real.rename(join(cuts, name), join(root, 'etc'));
      const system = vpn.on(root);
      await vpn.restart();
      // As systemd does: wg0 first, then whatever pi-gateway-wireguard-rotation.path finds.
      await system.run(program, ['load'], {});
      expect(await vpn.interface(), name).toContainEqual(expect.stringContaining(' 10.66.0.3/32,'));
      await system.run(program, ['follow'], {});
      expect(listClients(system), name).toEqual(after);
      expect((await started(root)).peers, name).toHaveLength(2);
    }
  });
});
