import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { auditFile } from '../../gateway/helper/audit.ts';
import { helperSocket } from '../../gateway/helper/protocol.ts';
import { stateSocket } from '../../gateway/kernel-state.ts';
import { firewall } from '../firewall/stage.ts';
import { firstboot } from '../firstboot/stage.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from '../wireguard/stage.ts';
import { gateway } from './stage.ts';

const units = '/usr/lib/systemd/system';
const router = {
  wireguard: wireguard.options.parse({}),
  firewall: firewall.options.parse({
    zones: {
      lan: { interfaces: ['eth1'], address4: '192.168.10.1/24', address6: 'fd10:1::1/64' },
      guest: { interfaces: ['eth2'], address4: '192.168.20.1/24' },
    },
  }),
};

const listening = async (options: object, others: object) =>
  (await renderStage(gateway, { ...options }, { ...others }))
    .text(`${units}/pi-gatewayd.socket`)
    .match(/(?<=^ListenStream=).*$/gm);

describe('the API listens', () => {
  test('on loopback and on the addresses of lan and VPN, and no other', async () => {
    expect(await listening({}, router)).toEqual([
      '127.0.0.1:8443',
      '[::1]:8443',
      '192.168.10.1:8443',
      '[fd10:1::1]:8443',
      '10.66.0.1:8443',
      '[fd66:6761:7465::1]:8443',
    ]);
  });

  test('where it is told to, on the port that it is told', async () => {
    const options = { zones: ['guest'], port: 9443 };
    expect(await listening(options, router)).toEqual([
      '127.0.0.1:9443',
      '[::1]:9443',
      '192.168.20.1:9443',
    ]);
    expect(gateway.ports?.(gateway.options.parse(options))).toMatchObject([
      { port: 9443, protocol: 'tcp', zones: ['guest'] },
    ]);
  });

  test('on loopback alone where no zone has an address', async () => {
    expect(await listening({}, {})).toEqual(['127.0.0.1:8443', '[::1]:8443']);
  });

  test('never on wan', () => {
    const options = gateway.options.parse({ zones: ['vpn', 'wan'] });
    expect(gateway.validate?.(options, { name: 'x', stages: {}, ports: [] })).toMatchObject([
      { path: ['zones', 1], message: expect.stringMatching(/^is wan: .*VPN$/) },
    ]);
  });

  test('and the firewall opens its port to those zones alone', async () => {
    const rules = (await renderStage(firewall, router.firewall, [gateway, wireguard])).text(
      '/etc/nftables.conf',
    );
    const chain = (name: string) => new RegExp(`chain in_${name} \\{[^}]*\\}`).exec(rules)?.[0];
    for (const zone of ['lan', 'vpn']) expect(chain(zone), zone).toMatch(/8443/);
    for (const zone of ['wan', 'guest']) expect(chain(zone), zone).not.toMatch(/8443/);
  });
});

test('the daemon knows the addresses that its certificate is for', async () => {
  const files = await renderStage(gateway, { dashboard: false }, router);
  expect(JSON.parse(files.text('/usr/share/pi-gateway/daemon.json'))).toEqual({
    port: 8443,
    addresses: ['127.0.0.1', '::1', '192.168.10.1', 'fd10:1::1', '10.66.0.1', 'fd66:6761:7465::1'],
    dashboard: false,
    stages: ['firewall', 'gateway', 'wireguard'],
  });
});

describe('the units', () => {
  const text = async (unit: string) => (await renderStage(gateway)).text(`${units}/${unit}`);

  test('start the programs that are bundled, without JIT and WebAssembly', async () => {
    const started = await Promise.all(
      [
        'pi-gatewayd',
        'pi-gateway-helper',
        'pi-gateway-settings',
        'pi-gateway-tls',
        'pi-gateway-update@',
      ].map(async (name) => {
        const [, flags = '', program = ''] =
          /^ExecStart=\/usr\/bin\/node ([- \w=]+) (\S+\.mjs)/m.exec(
            await text(`${name}.service`),
          ) ?? [];
        expect(flags, name).toContain('--jitless --no-expose-wasm');
        return program;
      }),
    );
    const paths = gateway.bundles?.map((bundle) => bundle.path);
    expect(paths).toEqual(expect.arrayContaining(started));
    expect(new Set(started).size).toBe(5);
  });

  test('listen where the programs ask, for the groups that may', async () => {
    for (const [unit, path] of [
      ['pi-gateway-helper.socket', helperSocket],
      ['pi-gateway-state.socket', stateSocket],
    ] as const) {
      const lines = (await text(unit)).split('\n');
      expect(lines).toEqual(
        expect.arrayContaining([
          `ListenStream=${path}`,
          'SocketGroup=pi-gatewayd',
          'SocketMode=0660',
        ]),
      );
    }
    const local = (await text('pi-gatewayd-local.socket')).split('\n');
    expect(local).toEqual(
      expect.arrayContaining(['ListenStream=/run/pi-gatewayd/api.sock', 'SocketMode=0600']),
    );
    expect(local).not.toContain('SocketGroup=pi-gatewayd');
  });

  test('are exposed at most 2.0 of 10, and are understood (systemd-analyze)', async () => {
    const root = await mkdtemp(join(tmpdir(), 'pi-gateway-units-'));
    try {
      const folder = join(root, 'etc/systemd/system');
      await mkdir(folder, { recursive: true });
      const names: string[] = [];
      const own = (await renderStage(gateway, {}, router)).entries;
      // What ours come before and after.
      const others = (await renderStage(firstboot)).entries;
      for (const entry of [...own, ...others]) {
        if (!entry.path.startsWith(`${units}/`) || !('content' in entry)) continue;
        if (own.includes(entry)) names.push(basename(entry.path));
        await writeFile(join(folder, basename(entry.path)), entry.content);
      }
      // All at once, as at boot: a cycle shows only there.
      const boot = [
        'sysinit.target',
        'sockets.target',
        'basic.target',
        'pi-gateway-firstboot.service',
      ];
      await writeFile(
        join(folder, 'boot.target'),
        `[Unit]\nWants=${[...boot, ...names.filter((name) => !name.includes('@'))].join(' ')}\n`,
      );
      const services = names.filter((name) => name.endsWith('.service'));
      expect(services.length).toBeGreaterThan(6);
      // It installs packages, whose scripts may do anything.
      for (const name of services.filter((one) => one !== 'pi-gateway-update@.service')) {
        const { stdout } = await run(
          'systemd-analyze',
          ['security', '--offline=true', `--root=${root}`, '--no-pager', name],
          { okCodes: [1] },
        );
        const score = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
        expect(score, name).toBeLessThanOrEqual(2);
      }
      const verify = async (...given: string[]) =>
        (await run('systemd-analyze', ['verify', '--man=no', ...given], { okCodes: [1] })).stderr;
      const said =
        (await verify('--recursive-errors=no', ...names.map((name) => join(folder, name)))) +
        (await verify(join(folder, 'boot.target')));
      // Programs, users and other stages' units are not on this machine; PrivateTmp=disconnected came with
      // systemd 257, which the device has.
      const wrong = said
        .split('\n')
        .filter((line) => /Unknown|Failed to parse|invalid|ordering cycle/i.test(line))
        .filter((line) => !line.endsWith('disconnected'));
      expect(wrong).toEqual([]);
    } finally {
      await rm(root, { recursive: true });
    }
  });
});

test('the audit log is the one that is rotated', async () => {
  const rules = (await renderStage(gateway)).text('/etc/logrotate.d/pi-gateway-audit');
  expect(rules).toContain(`\n${auditFile} {\n  size 1M\n  rotate 4\n`);
});

test('the device has its completion, made of its own commands', async () => {
  const written = new Map<string, string>();
  await gateway.run?.(
    {
      root: '/nowhere',
      run: async () => '',
      write: async (path, content) => void written.set(path, String(content)),
      read: async () => '',
      exists: async () => false,
      remove: async () => undefined,
    },
    gateway.options.parse({}),
    { name: 'test', stages: {}, ports: [] },
  );
  expect(written.get('/usr/share/bash-completion/completions/pi-gateway')).toContain(
    'complete -F _pi_gateway pi-gateway',
  );
  expect([...written.keys()]).toHaveLength(3);
});

test('the device knows the ports of all stages, and who may reach them', async () => {
  const ports: unknown = JSON.parse(
    (await renderStage(gateway, {}, [wireguard])).text('/usr/share/pi-gateway/ports.json'),
  );
  expect(ports).toContainEqual({
    name: 'wireguard',
    port: 51820,
    protocol: 'udp',
    zones: ['wan', 'lan'],
  });
  expect(ports).toContainEqual({ name: 'api', port: 8443, protocol: 'tcp', zones: ['lan', 'vpn'] });
});
