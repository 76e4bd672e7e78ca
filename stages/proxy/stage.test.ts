import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { TestDevice } from '../../firstboot/testing.ts';
import { readProxyFacts } from '../../gateway/proxy/facts.ts';
import { renderProxy } from '../../gateway/proxy/render.ts';
import { firewall } from '../firewall/stage.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from '../wireguard/stage.ts';
import { proxy } from './stage.ts';

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

describe('the proxy', () => {
  test('listens on the addresses of lan and VPN alone, in the order that its configuration counts on', async () => {
    const files = await renderStage(proxy, {}, router);
    const listens = files
      .text(`${units}/pi-gateway-proxy.socket`)
      .match(/(?<=^ListenStream=).*$/gm);
    const addresses = ['192.168.10.1', '[fd10:1::1]', '10.66.0.1', '[fd66:6761:7465::1]'];
    expect(listens).toEqual([
      ...addresses.map((one) => `${one}:443`),
      ...addresses.map((one) => `${one}:80`),
    ]);
    const device = await TestDevice.make();
    await device.put(
      'usr/share/pi-gateway/proxy.json',
      files.text('/usr/share/pi-gateway/proxy.json'),
    );
    const facts = await readProxyFacts(device.system);
    await device.remove();
    if (!facts) throw new Error('no facts');
    const [tls = '', plain = ''] = renderProxy([], facts).split('frontend http\n');
    expect(tls.match(/bind fd@\d+/g)).toEqual(['bind fd@3', 'bind fd@4', 'bind fd@5', 'bind fd@6']);
    expect(plain.match(/bind fd@\d+/g)).toEqual([
      'bind fd@7',
      'bind fd@8',
      'bind fd@9',
      'bind fd@10',
    ]);
  });

  test('is open to those zones in the firewall, and to no other', async () => {
    const rules = (await renderStage(firewall, router.firewall, [proxy, wireguard])).text(
      '/etc/nftables.conf',
    );
    const chain = (name: string) => new RegExp(`chain in_${name} \\{[^}]*\\}`).exec(rules)?.[0];
    for (const zone of ['lan', 'vpn']) expect(chain(zone), zone).toMatch(/\b443\b/);
    for (const zone of ['wan', 'guest']) expect(chain(zone), zone).not.toMatch(/\b443\b/);
    expect(proxy.options.safeParse({ zones: ['wan'] }).success).toBe(false);
  });

  test('is off unless gateway.yaml says so, and needs a zone with an address', () => {
    expect(proxy.enabledByDefault).toBe(false);
    const stages = { firewall: firewall.options.parse({}) };
    expect(
      proxy.validate?.(proxy.options.parse({}), { name: 'x', stages, ports: [] }),
    ).toMatchObject([{ message: expect.stringMatching(/no zone .*stages\.wireguard/) }]);
    expect(
      proxy.validate?.(proxy.options.parse({}), { name: 'x', stages: router, ports: [] }),
    ).toEqual([]);
  });

  test('has the client of a public CA only where it is asked for', () => {
    expect(proxy.packages?.(proxy.options.parse({}))).not.toContain('uacme');
    expect(proxy.packages?.(proxy.options.parse({ acme: true }))).toContain('uacme');
    expect(proxy.services?.(proxy.options.parse({})).enable).not.toContain('pi-gateway-acme.timer');
  });
});

test('its services score at most 2.0 with systemd-analyze security', async () => {
  const files = await renderStage(proxy, {}, router);
  const folder = await mkdtemp(join(tmpdir(), 'proxy-units-'));
  const root = join(folder, 'etc/systemd/system');
  await mkdir(root, { recursive: true });
  for (const { path } of files.entries)
    if (path.startsWith(units) && path.endsWith('.service'))
      await writeFile(join(root, basename(path)), files.text(path));
  for (const unit of ['proxy', 'certificates', 'acme']) {
    const file = `pi-gateway-${unit}.service`;
    const { stdout } = await run(
      'systemd-analyze',
      ['security', '--offline=true', `--root=${folder}`, '--no-pager', file],
      { okCodes: [1] },
    );
    const score = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
    expect(score, file).toBeLessThanOrEqual(2.0);
  }
  await rm(folder, { recursive: true });
});
