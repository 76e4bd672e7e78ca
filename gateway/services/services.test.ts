import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serviceId } from './operations.ts';
import { registry, serviceIds } from './registry.ts';
import { FakeSystemd } from './testing.ts';
import { restartService } from './verbs.ts';
import { serviceViews } from './view.ts';

let root = '';
let systemd: FakeSystemd;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-services-'));
  systemd = new FakeSystemd(root, {
    'nftables.service': { SubState: 'exited' },
    'systemd-networkd.service': {},
    'ssh.service': { MemoryCurrent: '3145728', NRestarts: '2' },
    'chrony.service': {},
    'systemd-timesyncd.service': { ActiveState: 'inactive', UnitFileState: 'disabled' },
    'systemd-resolved.service': {},
    'wg-quick@wg0.service': { SubState: 'exited', MemoryCurrent: '[not set]' },
    'pi-gatewayd.service': {},
    'pi-gateway-helper.socket': { SubState: 'listening' },
    'auditd.service': {},
  });
});
afterEach(() => rm(root, { recursive: true }));

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}

const viewOf = async (id: string, checks: Parameters<typeof serviceViews>[1] = []) => {
  const views = await serviceViews(systemd.system, checks);
  return views.find((one) => one.id === id);
};

describe('the registry', () => {
  test('has ids that the API takes, and needs that are in it, what is needed first', () => {
    expect(new Set(serviceIds).size).toBe(serviceIds.length);
    for (const [index, one] of registry.entries()) {
      expect(serviceId.safeParse(one.id).success).toBe(true);
      for (const need of one.needs) {
        expect(serviceIds.indexOf(need), `${one.id} needs ${need}`).toBeGreaterThanOrEqual(0);
        expect(serviceIds.indexOf(need), `${one.id} needs ${need}`).toBeLessThan(index);
      }
    }
  });

  test('says why, of each that may not be restarted', () => {
    for (const one of registry)
      if (one.restart === 'no') expect('note' in one && one.note, one.id).toBeTruthy();
  });
});

describe('the list', () => {
  test('has what this device has, of two for one task the one that is on', async () => {
    const views = await serviceViews(systemd.system, []);
    expect(views.map(({ id }) => id)).toEqual([
      'firewall',
      'network',
      'dns',
      'time',
      'ssh',
      'vpn',
      'dashboard',
      'helper',
      'audit',
    ]);
    expect(views.find(({ id }) => id === 'time')?.unit).toBe('chrony.service');
  });

  test('tells state, since when, restarts and memory; what systemd does not know is null', async () => {
    expect(await viewOf('ssh')).toMatchObject({
      state: 'active',
      health: 'ok',
      since: '2026-01-01T00:00:00.000Z',
      restarts: 2,
      memory_bytes: 3145728,
    });
    expect(await viewOf('vpn')).toMatchObject({ memory_bytes: null });
  });

  test('has the ports that the image was built with, and who may reach them', async () => {
    await put(
      'usr/share/pi-gateway/ports.json',
      JSON.stringify([
        { name: 'ssh', port: 2222, protocol: 'tcp', zones: ['lan', 'vpn'] },
        { name: 'wireguard', port: 51820, protocol: 'udp', zones: ['wan', 'lan'] },
        // By the firewall for its zones, and by WireGuard for its own.
        { name: 'dns', port: 53, protocol: 'udp', zones: ['lan', 'dmz'] },
        { name: 'dns', port: 53, protocol: 'udp', zones: ['vpn'] },
      ]),
    );
    expect((await viewOf('ssh'))?.ports).toEqual([
      { port: 2222, protocol: 'tcp', zones: ['lan', 'vpn'] },
    ]);
    expect((await viewOf('vpn'))?.ports).toEqual([
      { port: 51820, protocol: 'udp', zones: ['wan', 'lan'] },
    ]);
    expect((await viewOf('dns'))?.ports).toEqual([
      { port: 53, protocol: 'udp', zones: ['lan', 'dmz', 'vpn'] },
    ]);
  });

  test('needs are those that this device has', async () => {
    systemd.remove('nftables.service');
    expect((await viewOf('vpn'))?.needs).toEqual(['network']);
  });

  test.each([
    [{ ActiveState: 'failed', SubState: 'failed', Result: 'oom-kill' }, 'failed', 'oom-kill'],
    [
      { ActiveState: 'activating', SubState: 'auto-restart', Result: 'exit-code' },
      'failed',
      'ended',
    ],
    [{ ActiveState: 'inactive', SubState: 'dead' }, 'failed', 'does not run'],
    [{ ActiveState: 'inactive', SubState: 'dead', UnitFileState: 'disabled' }, 'ok', 'is off'],
    [{ ActiveState: 'activating', SubState: 'start' }, 'ok', 'starts'],
  ])('%o is %s: %s', async (state, health, detail) => {
    systemd.set('ssh.service', state);
    const view = await viewOf('ssh');
    expect(view?.health).toBe(health);
    expect(view?.detail).toContain(detail);
  });

  test('what monitoring has found of a unit that runs is told, but that it fails now counts more', async () => {
    const check = {
      id: 'unit:ssh.service',
      title: 'SSH',
      health: 'warning' as const,
      detail: 'was restarted 4 times in an hour',
      since: 0,
      needs: [],
    };
    expect(await viewOf('ssh', [check])).toMatchObject({
      health: 'warning',
      detail: 'was restarted 4 times in an hour',
    });
    const other = new FakeSystemd(root, {
      'ssh.service': { ActiveState: 'failed', Result: 'exit-code' },
    });
    const [view] = await serviceViews(other.system, [{ ...check, health: 'ok' }]);
    expect(view).toMatchObject({ health: 'failed', detail: 'has failed: exit-code' });
  });

  test('many who ask at once are one question to systemd', async () => {
    const { system } = systemd;
    await Promise.all(Array.from({ length: 20 }, () => serviceViews(system, [])));
    expect(systemd.calls.filter(([verb]) => verb === 'show')).toHaveLength(1);
  });
});

describe('a restart', () => {
  const changes = () => systemd.calls.filter(([verb]) => verb !== 'show');

  test('restarts the unit that the service is here, after its failures are forgotten', async () => {
    systemd.set('chrony.service', { ActiveState: 'failed', SubState: 'failed' });
    expect(await restartService(systemd.system, 'time')).toEqual({
      did: 'restart',
      state: 'active',
    });
    expect(changes()).toEqual([
      ['reset-failed', '--', 'chrony.service'],
      ['restart', '--', 'chrony.service'],
    ]);
  });

  test.each([
    ['firewall', 'nftables.service'],
    ['ssh', 'ssh.service'],
    ['network', 'systemd-networkd.service'],
  ])('of %s is a reload: nobody is cut off', async (id, unit) => {
    expect((await restartService(systemd.system, id)).did).toBe('reload');
    expect(changes().at(-1)).toEqual(['reload-or-restart', '--', unit]);
  });

  test('of the dashboard does not wait for it, as it is who asks', async () => {
    await restartService(systemd.system, 'dashboard');
    expect(changes().at(-1)).toEqual(['restart', '--no-block', '--', 'pi-gatewayd.service']);
  });

  test.each([
    ['nothing', 'missing'],
    ['ssh.service', 'missing'],
    ['--force', 'missing'],
    ['constructor', 'missing'],
    ['ban', 'missing'],
    ['audit', 'refused'],
    ['helper', 'refused'],
  ])('of %s is refused, and nothing is run', async (id, kind) => {
    await expect(restartService(systemd.system, id)).rejects.toMatchObject({ kind });
    expect(changes()).toEqual([]);
  });

  test('of the firewall is refused while rules are on trial: it would end the trial unseen', async () => {
    await put('run/pi-gateway/firewall/pending.json', '{"file":"new.nft","until":1e12}');
    await expect(restartService(systemd.system, 'firewall')).rejects.toMatchObject({
      kind: 'conflict',
    });
    expect(changes()).toEqual([]);
    await restartService(systemd.system, 'ssh');
  });

  test('that fails says so, and where to look', async () => {
    systemd.fail('restart', 'Job for chrony.service failed because the control process exited.');
    const restarted = restartService(systemd.system, 'time');
    await expect(restarted).rejects.toThrow('chrony.service did not come up again: ');
    await expect(restarted).rejects.toMatchObject({
      fix: expect.stringContaining('pi-gateway logs --unit chrony.service'),
    });
  });
});
