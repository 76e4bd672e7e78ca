import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Agent, type Networks, openNetworks } from '../../builder/testing/networks.ts';
import { firewall } from '../../stages/firewall/stage.ts';
import { ssh } from '../../stages/ssh/stage.ts';
import { renderStage } from '../../stages/testing.ts';
import { wireguard } from '../../stages/wireguard/stage.ts';
import type { Actor } from '../helper/verb.ts';
import { SettingsDevice } from '../settings/testing.ts';
import { forwardsFile } from './forwards.ts';
import { firewallVerbs } from './verbs.ts';

/** Real packets through the image's rules with forwards that the device adds and removes. */

const actor: Actor = { via: 'cli', name: 'ann' };
const options = {
  zones: {
    lan: { interfaces: ['eth1'], address4: '192.168.10.1/24', address6: 'fd10::1/64' },
    dmz: { interfaces: ['eth2'], address4: '192.168.30.1/24', address6: 'fd30::1/64' },
  },
  // The image's own, which must not notice the others.
  forwards: [{ tcp: 80, to: '192.168.30.10', port: 7777 }],
};

/** Hosts with their addresses, and the router's interface and addresses there. */
const hosts = {
  wan: ['eth0', ['203.0.113.1/24', '2001:db8::1/64'], ['203.0.113.9/24', '2001:db8::9/64']],
  stranger: ['eth0', [], ['203.0.113.77/24', '2001:db8::77/64']],
  lan: ['eth1', ['192.168.10.1/24', 'fd10::1/64'], ['192.168.10.50/24', 'fd10::50/64']],
  server: ['eth2', ['192.168.30.1/24', 'fd30::1/64'], ['192.168.30.10/24', 'fd30::10/64']],
  neighbour: ['eth2', [], ['192.168.30.11/24', 'fd30::11/64']],
} as const;

const gateways: Record<string, readonly [string, string]> = {
  eth0: ['203.0.113.1', '2001:db8::1'],
  eth1: ['192.168.10.1', 'fd10::1'],
  eth2: ['192.168.30.1', 'fd30::1'],
};
const wanAddress = { 4: '203.0.113.1', 6: '2001:db8::1' } as const;
const server = { 4: '192.168.30.10', 6: 'fd30::10' } as const;

function script(): string {
  const lines = [
    'ip netns add router',
    `ip netns exec router sh -c '
      echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
      echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
      for file in /proc/sys/net/bridge/bridge-nf-call-*; do if [ -e $file ]; then echo 0 > $file; fi; done'`,
    'ip -n router link set lo up',
    ...Object.keys(gateways).flatMap((port) => [
      `ip -n router link add ${port} type bridge`,
      `ip -n router link set ${port} up`,
    ]),
  ];
  for (const [name, [port, router, own]] of Object.entries(hosts)) {
    const [via4 = '', via6 = ''] = gateways[port] ?? [];
    lines.push(
      `ip netns add ${name}`,
      `ip netns exec ${name} sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad'`,
      `ip -n router link add ${name} type veth peer name e0 netns ${name}`,
      `ip -n router link set ${name} master ${port} up`,
      ...router.map(
        (one) => `ip -n router address add ${one} dev ${port} ${one.includes(':') ? 'nodad' : ''}`,
      ),
      `ip -n ${name} link set lo up`,
      `ip -n ${name} link set e0 up`,
      ...own.map(
        (one) => `ip -n ${name} address add ${one} dev e0 ${one.includes(':') ? 'nodad' : ''}`,
      ),
      `ip -n ${name} route add default via ${via4}`,
      `ip -n ${name} route add default via ${via6}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

let networks: Networks;
let device: SettingsDevice;
let rules = '';
const agents = new Map<string, Agent>();
type Host = keyof typeof hosts;
const agent = (name: Host): Agent => {
  const found = agents.get(name);
  if (!found) throw new Error(`there is no host ${name}`);
  return found;
};

beforeAll(async () => {
  networks = await openNetworks();
  await networks.sh(script());
  device = await SettingsDevice.make(options);
  device.programs.set('nft', async (args) => {
    const { stdout } = await networks.run('router', ['nft', ...args]);
    return stdout;
  });
  const text = (await renderStage(firewall, options, [ssh, wireguard])).text('/etc/nftables.conf');
  // As on the device, but for where that lies.
  rules = text.replaceAll('include "/', `include "${device.root}/`);
  await networks.run('router', ['nft', '--file', '-'], { input: rules });
  await Promise.all(
    Object.keys(hosts).map(async (name) => {
      const one = await networks.agent(name);
      agents.set(name, one);
      for (const protocol of ['tcp', 'udp'] as const)
        await one.ask({ do: 'listen', protocol, ports: [443, 7777] });
    }),
  );
});
afterAll(async () => {
  await networks?.close();
  await device?.remove();
});

beforeEach(async () => {
  const { forwards } = await firewallVerbs['firewall.forwards'].run(device.system, {}, actor);
  for (const { id, origin } of forwards) if (origin === 'device') await remove(id);
});

type New = Parameters<(typeof firewallVerbs)['firewall.forward_add']['run']>[1];
const add = async (one: New): Promise<string> =>
  (await firewallVerbs['firewall.forward_add'].run(device.system, one, actor)).id;
const remove = (id: string) =>
  firewallVerbs['firewall.forward_remove'].run(device.system, { id }, actor);

/** The source that the server saw; null: no answer. */
const tryFrom = (
  name: Host,
  to: string,
  port: number,
  protocol: 'tcp' | 'udp' = 'tcp',
  timeout = 3_000,
) => agent(name).ask({ do: 'try', protocol, to, port, timeout });
const dropped = (name: Host, to: string, port: number, protocol: 'tcp' | 'udp' = 'tcp') =>
  tryFrom(name, to, port, protocol, 300);

/** As the server says it: IPv4 as it is, IPv6 too. */
const sourceOf = (name: Host, family: 4 | 6): string =>
  hosts[name][2][family === 4 ? 0 : 1].split('/')[0] ?? '';

describe.each([4, 6] as const)('over IPv%d, a forward', (family) => {
  const to = server[family];
  const wan = wanAddress[family];

  test.each(['tcp', 'udp'] as const)(
    'of %s works as soon as it is added, and no longer than it is there',
    async (protocol) => {
      expect(await dropped('wan', wan, 8080, protocol)).toBeNull();
      const id = await add({ protocol, port: 8080, to, to_port: 443 });
      expect(await tryFrom('wan', wan, 8080, protocol)).toBe(sourceOf('wan', family));
      await remove(id);
      expect(await dropped('wan', wan, 8080, protocol)).toBeNull();
    },
  );

  test('is reached by the wan address from other zones, and from the own one', async () => {
    await add({ protocol: 'tcp', port: 8080, to, to_port: 443 });
    expect(await tryFrom('lan', wan, 8080)).toBe(sourceOf('lan', family));
    // Back through the gateway: the server must not answer its neighbour directly.
    expect(await tryFrom('neighbour', wan, 8080)).toBe(gateways.eth2?.[family === 4 ? 0 : 1]);
  });

  test('opens its own port alone', async () => {
    await add({ protocol: 'tcp', port: 8080, to, to_port: 443 });
    expect(await dropped('wan', wan, 443)).toBeNull();
    expect(await dropped('wan', to, 443)).toBeNull();
    expect(await dropped('wan', wan, 8080, 'udp')).toBeNull();
  });

  test('with a limit is for its network alone', async () => {
    const from = family === 4 ? '203.0.113.77/32' : '2001:db8::77/128';
    await add({ protocol: 'tcp', port: 8080, to, to_port: 443, from });
    expect(await tryFrom('stranger', wan, 8080)).toBe(sourceOf('stranger', family));
    expect(await dropped('wan', wan, 8080)).toBeNull();
    expect(await dropped('lan', wan, 8080)).toBeNull();
  });

  test('leaves the connections of others alone, and its own when it is removed', async () => {
    const id = await add({ protocol: 'tcp', port: 8080, to, to_port: 443 });
    const other = agent('lan');
    const own = agent('wan');
    await other.ask({
      do: 'hold',
      protocol: 'tcp',
      to: sourceOf('wan', family),
      port: 443,
      timeout: 3_000,
    });
    expect(
      await own.ask({ do: 'hold', protocol: 'tcp', to: wan, port: 8080, timeout: 3_000 }),
    ).toBe(true);
    await add({ protocol: 'tcp', port: 8081, to, to_port: 443 });
    await remove(id);
    expect(await other.ask({ do: 'alive', timeout: 3_000 })).toBe(true);
    expect(await own.ask({ do: 'alive', timeout: 3_000 })).toBe(true);
    expect(await dropped('stranger', wan, 8080)).toBeNull();
    expect(await tryFrom('stranger', wan, 8081)).toBe(sourceOf('stranger', family));
  });
});

test('what the rules remember (who is shut out, what was dropped) stays over a change', async () => {
  const blocked = ['element', 'inet', 'gateway', 'blocked4', '{ 203.0.113.200 timeout 100s }'];
  await networks.run('router', ['nft', 'add', ...blocked]);
  await dropped('wan', wanAddress[4], 9);
  const before = await firewallVerbs['firewall.state'].run(device.system, {}, actor);
  await add({ protocol: 'tcp', port: 8080, to: server[4], to_port: 443 });
  const after = await firewallVerbs['firewall.state'].run(device.system, {}, actor);
  expect(after.blocked.map((one) => one.address)).toEqual(['203.0.113.200']);
  expect(after.counters.input?.packets).toBeGreaterThanOrEqual(before.counters.input?.packets ?? 1);
  expect(before.counters.input?.packets).toBeGreaterThan(0);
});

test("the image's forwards work beside them", async () => {
  await add({ protocol: 'tcp', port: 8080, to: server[4], to_port: 443 });
  expect(await tryFrom('wan', wanAddress[4], 80)).toBe(sourceOf('wan', 4));
});

test('a restart of the rules brings them back, and their removal is for good, too', async () => {
  const id = await add({ protocol: 'tcp', port: 8080, to: server[4], to_port: 443, name: 'web' });
  expect(await device.read(forwardsFile)).toContain('comment "tcp 8080 → 192.168.30.10:443: web"');
  await networks.run('router', ['nft', '--file', '-'], { input: rules });
  expect(await tryFrom('wan', wanAddress[4], 8080)).toBe(sourceOf('wan', 4));
  await remove(id);
  await networks.run('router', ['nft', '--file', '-'], { input: rules });
  expect(await dropped('wan', wanAddress[4], 8080)).toBeNull();
});

test('rules that lack the chains refuse it, and nothing is changed', async () => {
  const settings = await device.settings();
  await networks.run('router', ['nft', 'delete', 'table', 'inet', 'gateway']);
  await expect(add({ protocol: 'tcp', port: 8080, to: server[4], to_port: 443 })).rejects.toThrow(
    'nft refuses the port forwards',
  );
  expect(await device.settings()).toBe(settings);
  await networks.run('router', ['nft', '--file', '-'], { input: rules });
});
