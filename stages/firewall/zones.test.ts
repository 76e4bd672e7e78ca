import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { gatewayConfig } from '../../builder/config/gateway.ts';
import { loadConfig } from '../../builder/config/load.ts';
import { loadStages } from '../../builder/stages.ts';
import { project } from '../../builder/testing/build.ts';
import { type Agent, type Networks, openNetworks } from '../../builder/testing/networks.ts';
import { type Zone, zones } from '../define.ts';
import { renderConfigured } from '../testing.ts';
import type { FirewallOptions } from './options.ts';
import { firewall } from './stage.ts';
import { accepts, type ClientZone, clientZones, type Policy, policyOf } from './zones.ts';

/**
 * Real packets through the very rules that environments/router.yaml makes: a router in a network
 * namespace of its own, with two hosts in every zone.
 */

/** Limits that a test can reach, and a block that it can wait for. */
const sets = [
  'stages.firewall.limits.wan_per_second=20',
  'stages.firewall.limits.wan_total_per_second=60',
  'stages.firewall.limits.scan_block_seconds=2',
  'stages.firewall.limits.wireguard_per_minute=30',
  'stages.ssh.never_ban=[203.0.113.77/32]',
];

/** The router's interface, its addresses, and the hosts' in each zone. */
const net: Record<Zone, { port: string; router: [string, string]; hosts: [string, string][] }> = {
  wan: {
    port: 'eth0',
    router: ['203.0.113.1/24', '2001:db8:113::1/48'],
    hosts: [
      ['203.0.113.9', '2001:db8:113::9'], // the internet
      ['203.0.113.10', '2001:db8:113::10'],
    ],
  },
  lan: {
    port: 'eth1',
    router: ['192.168.10.1/24', 'fd10:6761:7465:10::1/64'],
    hosts: [
      ['192.168.10.50', 'fd10:6761:7465:10::50'],
      ['192.168.10.20', 'fd10:6761:7465:10::20'], // the printer
    ],
  },
  guest: {
    port: 'eth2',
    router: ['192.168.20.1/24', 'fd10:6761:7465:20::1/64'],
    hosts: [
      ['192.168.20.50', 'fd10:6761:7465:20::50'],
      ['192.168.20.51', 'fd10:6761:7465:20::51'],
    ],
  },
  dmz: {
    port: 'eth3',
    router: ['192.168.30.1/24', 'fd10:6761:7465:30::1/64'],
    hosts: [
      ['192.168.30.10', 'fd10:6761:7465:30::10'], // the web server
      ['192.168.30.11', 'fd10:6761:7465:30::11'],
    ],
  },
  vpn: {
    port: 'wg0',
    router: ['10.66.0.1/24', 'fd66:6761:7465::1/64'],
    hosts: [
      ['10.66.0.2', 'fd66:6761:7465::2'],
      ['10.66.0.3', 'fd66:6761:7465::3'],
    ],
  },
  // Networks of containers are nowhere in the configuration: only the routing table has them.
  containers: {
    port: 'podman0',
    router: ['10.88.0.1/16', 'fd88::1/64'],
    hosts: [
      ['10.88.0.5', 'fd88::5'],
      ['10.88.0.6', 'fd88::6'],
    ],
  },
};

/** More sources on the wan: one for each test that may be shut out. */
const stranger = (host: number) => [`203.0.113.${host}`, `2001:db8:113:${host}::1`] as const;
const strangers = Array.from({ length: 30 }, (_, index) => stranger(60 + index));

/** Sources that a host of a zone pretends to be, and where it sends to. */
const forged = {
  inside: [
    ['guest', '192.168.10.99', '203.0.113.9'], // a device of the lan
    ['guest', 'fd10:6761:7465:10::99', '2001:db8:113::9'],
    ['guest', '198.51.100.7', '203.0.113.9'], // somebody on the internet
    ['lan', '10.66.0.77', '192.168.30.10'], // a VPN client
    ['containers', '192.168.20.99', '203.0.113.9'], // a guest
    ['containers', 'fd66:6761:7465::99', '2001:db8:113::9'],
  ],
  // Of within, by configuration or by the routing table alone; and nobody's.
  wan: ['192.168.10.99', 'fd66:6761:7465::99', '10.88.0.99', 'fd88::99', '240.0.0.9'],
} as const;

const forgedBy = (name: string): string[] => [
  ...(name === 'wan0' ? forged.wan : []),
  ...(name === 'guest1' ? ['203.0.113.9'] : []),
  ...forged.inside.filter(([zone]) => name === `${zone}0`).map(([, source]) => source),
];

const bare = (address: string) => address.split('/')[0] ?? '';
const hostName = (zone: Zone, index: number) => `${zone}${index}`;

/** ip(8) commands of one namespace, as one batch: a process for each would take most of the test. */
const batch = (name: string, lines: readonly string[]) =>
  `ip -n ${name} -batch - << 'END'\n${lines.join('\n')}\nEND\n`;

/** Hosts have no network but a router: so even those of one zone speak through it. */
function hostScript(zone: Zone, index: number): string {
  const { port, router, hosts } = net[zone];
  const [v4 = '', v6 = ''] = hosts[index] ?? [];
  const name = hostName(zone, index);
  const more = [...(name === 'wan0' ? strangers.flat() : []), ...forgedBy(name)];
  return [
    `ip netns add ${name}\n`,
    `ip netns exec ${name} sh -c 'cd /proc/sys/net/ipv6/conf; echo 0 > default/accept_dad; echo 0 > default/accept_redirects'\n`,
    batch('router', [
      `link add ${name} type veth peer name e0 netns ${name}`,
      `link set ${name} master ${port} up`,
    ]),
    batch(name, [
      'link set lo up',
      'link set e0 up',
      ...[v4, v6, ...more].map(
        (one) => `address add ${one}/${one.includes(':') ? '128 nodad' : '32'} dev e0`,
      ),
      `route add default via ${bare(router[0])} dev e0 onlink src ${v4}`,
      `route add ${bare(router[1])} dev e0`,
      `route add default via ${bare(router[1])} dev e0 src ${v6}`,
    ]),
  ].join('');
}

function routerScript(): string {
  return [
    'ip netns add router\n',
    `ip netns exec router sh -c '
      echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
      echo 1 > /proc/sys/net/ipv4/ip_forward
      echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
      echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
      echo 0 > /proc/sys/net/ipv4/conf/default/send_redirects
      for file in /proc/sys/net/bridge/bridge-nf-call-*; do if [ -e $file ]; then echo 0 > $file; fi; done
    '\n`,
    batch('router', [
      'link set lo up',
      ...zones.flatMap((zone) => [
        `link add ${net[zone].port} type bridge`,
        `link set ${net[zone].port} up`,
        ...net[zone].router.map(
          (one) => `address add ${one} dev ${net[zone].port}${one.includes(':') ? ' nodad' : ''}`,
        ),
      ]),
      `route add default via ${net.wan.hosts[0]?.[0]}`,
      `route add default via ${net.wan.hosts[0]?.[1]}`,
    ]),
  ].join('');
}

let networks: Networks;
let policy: Policy;
let peers = '';
let rules = '';
const agents = new Map<string, Agent>();
const agent = (name: string): Agent => {
  const found = agents.get(name);
  if (!found) throw new Error(`there is no host ${name}`);
  return found;
};
const router = () => agent('router');
const wan = () => agent('wan0');

/** What the hosts of the VPN may reach; the files and the program that lets them are the device's own. */
async function clients(...zonesOf: (readonly ClientZone[] | undefined)[]): Promise<void> {
  await Promise.all(
    net.vpn.hosts.map(async ([v4, v6], index) => {
      const may = zonesOf[index];
      const zoneLine = may ? [`# zones = ${may.join(' ')}`] : [];
      const key = `${'ab'[index]?.repeat(42)}A=`;
      await writeFile(
        join(peers, `client${index}.conf`),
        ['[Peer]', ...zoneLine, `PublicKey = ${key}`, `AllowedIPs = ${v4}/32, ${v6}/128`, ''].join(
          '\n',
        ),
      );
    }),
  );
  const script = join(project, 'overlays/wireguard/usr/lib/pi-gateway/wireguard-peer');
  await networks.run('router', ['env', `PEERS=${peers}`, 'sh', script, 'load']);
}

/** Every port that any zone may reach on the gateway, and one that none may. */
const gatewayPorts = { tcp: [22, 53, 7777], udp: [53, 67, 7777, 51820] } as const;
const hostPorts = { tcp: [443, 631, 632, 7777], udp: [7777] } as const;

const hostNames = zones.flatMap((zone) => net[zone].hosts.map((_, index) => hostName(zone, index)));

beforeAll(async () => {
  const stages = (await loadStages(project)).map((stage) => stage.definition);
  const root = join(project, 'environments'); // where nobody has a gateway.local.yaml
  const { config } = await loadConfig({ root, file: join(root, 'router.yaml'), sets, stages });
  const enabled = stages.filter(({ name }) => name in config.stages);
  const gateway = gatewayConfig(config, enabled);
  const options = config.stages.firewall as FirewallOptions;
  policy = policyOf(options, gateway);
  rules = (await renderConfigured(firewall, gateway)).text('/etc/nftables.conf');
  networks = await openNetworks();
  await networks.sh(
    [
      routerScript(),
      ...zones.flatMap((zone) => net[zone].hosts.map((_, index) => hostScript(zone, index))),
    ].join(''),
  );
  await networks.run('router', ['nft', '--file', '-'], { input: rules });
  peers = await mkdtemp(join(tmpdir(), 'pi-gateway-peers-'));
  await clients();
  await Promise.all(
    ['router', ...hostNames].map(async (name) => {
      const one = await networks.agent(name);
      agents.set(name, one);
      const ports = name === 'router' ? gatewayPorts : hostPorts;
      await one.ask({ do: 'listen', protocol: 'tcp', ports: ports.tcp });
      await one.ask({ do: 'listen', protocol: 'udp', ports: ports.udp });
    }),
  );
});
afterAll(async () => {
  await networks?.close();
  if (peers) await rm(peers, { recursive: true });
});

type Flow = {
  from: Zone;
  to: Zone | 'gateway';
  protocol: 'tcp' | 'udp';
  address: string;
  port: number;
};

/** Every cell of the table, by each protocol and family, and every port of the gateway. */
function flows(): Flow[] {
  return zones.flatMap((from) =>
    ([0, 1] as const).flatMap((family) =>
      (['tcp', 'udp'] as const).flatMap((protocol): Flow[] => [
        ...zones.map((to) => ({
          from,
          to,
          protocol,
          address: net[to].hosts[to === from ? 1 : 0]?.[family] ?? '',
          port: 7777,
        })),
        ...gatewayPorts[protocol].map((port) => ({
          from,
          to: 'gateway' as const,
          protocol,
          address: bare(net[from].router[family]),
          port,
        })),
      ]),
    ),
  );
}

const named = (flow: Flow, passes: boolean) =>
  `${flow.from} → ${flow.to} ${flow.protocol} ${flow.address} ${flow.port}: ${passes ? 'passes' : 'dropped'}`;

/**
 * Milliseconds: what must pass has time on a busy machine, but where a block would have ended by
 * then; what must not is not waited for long.
 */
const patience = { pass: 5000, soon: 1500, drop: 400 };

const pause = () => new Promise((resolve) => setTimeout(resolve, 200));

const counter = async (name: string): Promise<number> => {
  const { stdout } = await networks.run('router', [
    'nft',
    'list',
    'counter',
    'inet',
    'gateway',
    name,
  ]);
  return Number(/packets (\d+)/.exec(stdout)?.[1]);
};

const opens = async (host: string, to: string, port: number, from?: string, wait = patience.pass) =>
  await agent(host).ask({
    do: 'try',
    protocol: 'tcp',
    to,
    port,
    timeout: wait,
    ...(from === undefined ? {} : { from }),
  });

test('every cell of the zone table holds, for TCP and UDP, IPv4 and IPv6', async () => {
  const expected = flows().map((flow) => named(flow, accepts(policy, flow)));
  const seen = await Promise.all(
    flows().map(async (flow) => {
      const answer = await agent(hostName(flow.from, 0)).ask({
        do: 'try',
        protocol: flow.protocol,
        to: flow.address,
        port: flow.port,
        timeout: accepts(policy, flow) ? patience.pass : patience.drop,
      });
      return named(flow, answer !== null);
    }),
  );
  expect(seen).toEqual(expected);
  // The table is not one of all yes or all no.
  expect(expected.filter((line) => line.endsWith('passes')).length).toBeGreaterThan(50);
  expect(expected.filter((line) => line.endsWith('dropped')).length).toBeGreaterThan(100);
});

test('an exception opens its ports of its address, and no others', async () => {
  const [other = '', printer = ''] = net.lan.hosts.map((host) => host[0]);
  expect(await opens('guest0', printer, 631)).not.toBeNull();
  const rest = [
    opens('guest0', printer, 632, undefined, patience.drop),
    opens('guest0', other, 631, undefined, patience.drop),
    opens('guest0', net.lan.hosts[1]?.[1] ?? '', 631, undefined, patience.drop),
  ];
  expect(await Promise.all(rest)).toEqual([null, null, null]);
});

describe.each([
  ['IPv4', 0],
  ['IPv6', 1],
] as const)('addresses, %s:', (_, family) => {
  const outside = bare(net.wan.router[family]);
  const host = (zone: Zone, index = 0) => net[zone].hosts[index]?.[family] ?? '';

  test('those of inner networks are not seen on the wan', async () => {
    const seen = (['lan', 'guest', 'dmz', 'vpn'] as const).map((zone) =>
      opens(`${zone}0`, host('wan'), 7777),
    );
    expect(await Promise.all(seen)).toEqual([outside, outside, outside, outside]);
    // Within, everybody is who they are.
    expect(await opens('vpn0', host('lan'), 7777)).toBe(host('vpn'));
  });

  test('a forwarded port of the wan leads to its server, from everywhere', async () => {
    const seen = ['wan0', 'lan0', 'guest0', 'dmz1'].map((from) => opens(from, outside, 443));
    // From the server's own zone the answer must come back through the gateway.
    const gateway = bare(net.dmz.router[family]);
    expect(await Promise.all(seen)).toEqual([host('wan'), host('lan'), host('guest'), gateway]);
    // The server is not reached by its own address, nor the forwarded port on the gateway's others.
    const other = bare(net.guest.router[family]);
    const direct = [
      opens('wan0', host('dmz'), 443, undefined, patience.drop),
      opens('guest0', other, 443, undefined, patience.drop),
    ];
    expect(await Promise.all(direct)).toEqual([null, null]);
  });
});

test('a device without an address may ask for one', async () => {
  await networks.sh(
    `ip netns add fresh\n${batch('router', ['link add fresh type veth peer name e0 netns fresh', 'link set fresh master eth2 up'])}${batch('fresh', ['link set e0 up', 'route add default dev e0'])}`,
  );
  const discover = { to: '255.255.255.255', port: 67, fromPort: 68, broadcast: true } as const;
  const fresh = await networks.agent('fresh');
  await router().ask({ do: 'received', port: 67 });
  await fresh.ask({ do: 'send', protocol: 'udp', ...discover });
  await pause();
  expect(await router().ask({ do: 'received', port: 67 })).toEqual(['0.0.0.0']);
  // The bridge had taken over a hardware address of its new port; the other guests know the old one.
  await networks.sh(batch('router', ['link delete fresh']));
});

describe('a forged source gets nowhere', () => {
  /** Waits until that many were dropped for their source, as a busy machine takes its time. */
  const dropped = (count: number) =>
    expect.poll(() => counter('spoofed'), { timeout: 5000 }).toBe(count);

  test('from an inner zone', async () => {
    await Promise.all(
      ['wan0', 'dmz0'].map((one) => agent(one).ask({ do: 'received', port: 7777 })),
    );
    const before = await counter('spoofed');
    await Promise.all(
      forged.inside.map(([zone, from, to]) =>
        agent(`${zone}0`).ask({ do: 'send', protocol: 'udp', to, port: 7777, from }),
      ),
    );
    await dropped(before + forged.inside.length);
    for (const one of ['wan0', 'dmz0'])
      expect(await agent(one).ask({ do: 'received', port: 7777 }), one).toEqual([]);
  });

  test('from the wan', async () => {
    await router().ask({ do: 'received', port: 51820 });
    const before = await counter('spoofed');
    const send = (from: string) =>
      wan().ask({
        do: 'send',
        protocol: 'udp',
        to: bare(net.wan.router[from.includes(':') ? 1 : 0]),
        port: 51820, // which answers to the wan
        from,
      });
    await Promise.all(forged.wan.map(send));
    await dropped(before + forged.wan.length);
    expect(await router().ask({ do: 'received', port: 51820 })).toEqual([]);
  });

  test('as an answer from the internet to a connection of another zone', async () => {
    // lan0 asks 203.0.113.9 something: its answer would come to port 40000 of the wan address.
    const flow = { protocol: 'udp', to: '203.0.113.9', port: 7778, fromPort: 40000 } as const;
    await agent('lan0').ask({ do: 'send', ...flow });
    const before = await counter('spoofed');
    await agent('guest1').ask({
      do: 'send',
      protocol: 'udp',
      to: '203.0.113.1',
      port: 40000,
      from: '203.0.113.9',
      fromPort: 7778,
    });
    await dropped(before + 1);
  });
});

describe('a scan of the gateway from the wan', () => {
  const closedPorts = Array.from({ length: 14 }, (_, index) => 9000 + index);
  const knock = async (from: string, to: string, ports: readonly number[]) => {
    await Promise.all(
      ports.map((port) => wan().ask({ do: 'try', protocol: 'tcp', to, port, from, timeout: 50 })),
    );
  };

  test('shuts its source out, nobody else, and not for ever', async () => {
    const scans = ([0, 1] as const).map(async (family) => {
      const to = bare(net.wan.router[family]);
      const scanner = stranger(66)[family];
      expect(await opens('wan0', to, 22, scanner)).toBe(scanner);
      await knock(scanner, to, closedPorts);
      expect(await opens('wan0', to, 22, scanner, patience.drop)).toBeNull();
      // Nor through a forwarded port, while a neighbour on the same network gets in.
      expect(await opens('wan0', to, 443, scanner, patience.drop)).toBeNull();
      expect(await opens('wan0', to, 22, stranger(67)[family])).not.toBeNull();
      await new Promise((resolve) => setTimeout(resolve, 1500));
      expect(await opens('wan0', to, 22, scanner)).toBe(scanner);
    });
    await Promise.all(scans);
  });

  test('is not what a program does that tries one port again and again', async () => {
    const from = stranger(68)[0];
    for (let round = 0; round < 3; round++)
      await knock(from, '203.0.113.1', [9000, 9000, 9000, 9000, 9001, 9001]);
    expect(await opens('wan0', '203.0.113.1', 22, from, patience.soon)).toBe(from);
  });

  test("is no reason to shut the admin's own networks out", async () => {
    await knock('203.0.113.77', '203.0.113.1', closedPorts);
    const seen = await opens('wan0', '203.0.113.1', 22, '203.0.113.77', patience.soon);
    expect(seen).toBe('203.0.113.77');
  });
});

describe('a flood', () => {
  const entries = async () =>
    Number(
      (await networks.run('router', ['cat', '/proc/sys/net/netfilter/nf_conntrack_count'])).stdout,
    );
  const flood = (count: number, sources: readonly string[]) =>
    wan().ask({
      do: 'burst',
      protocol: 'tcp',
      to: '203.0.113.1',
      port: 443,
      count,
      sources,
      timeout: 900, // a lost SYN is sent again after a second
    });

  test('of SSH connections from one source ends at its limit', async () => {
    const from = stranger(88)[0];
    let opened = 0;
    // 30 a minute; in rounds, since 40 at once would meet the limit of SYN.
    for (let round = 0; round < 4; round++)
      opened += (
        await wan().ask({
          do: 'burst',
          protocol: 'tcp',
          to: '203.0.113.1',
          port: 22,
          count: 10,
          sources: [from],
          timeout: 1500,
        })
      ).length;
    expect(opened).toBeGreaterThanOrEqual(30);
    expect(opened).toBeLessThanOrEqual(33);
    expect(await opens('wan0', '203.0.113.1', 22, stranger(89)[0])).not.toBeNull();
  });

  test('of WireGuard peers from one source ends at its limit, without an answer', async () => {
    const opened = await wan().ask({
      do: 'burst',
      protocol: 'udp',
      to: '203.0.113.1',
      port: 51820,
      count: 45,
      sources: [stranger(87)[0]],
      timeout: 700,
    });
    expect(opened.length).toBeGreaterThanOrEqual(30);
    expect(opened.length).toBeLessThanOrEqual(33);
  });

  test('of TCP connections is held back by source and in all, before conntrack; what is open lives', async () => {
    const held = { protocol: 'tcp', to: '203.0.113.1', port: 22, from: stranger(69)[0] } as const;
    expect(await wan().ask({ do: 'hold', ...held, timeout: patience.pass })).toBe(true);
    const before = await entries();
    // 20 a second and 40 at once from one source; the flood is over within two seconds.
    const one = (await flood(150, [stranger(70)[0]])).length;
    expect(one).toBeGreaterThan(0);
    expect(one).toBeLessThanOrEqual(80);
    expect(await wan().ask({ do: 'alive', timeout: patience.pass })).toBe(true);
    // 60 a second and 120 at once from all; the admin's own network is not held back by the others.
    const admin = '203.0.113.77';
    const all = await flood(400, [...strangers.slice(14, 25).map(([source]) => source), admin]);
    const many = all.filter((source) => source !== admin).length;
    expect(all.length - many).toBeGreaterThan(25);
    expect(many).toBeLessThanOrEqual(240);
    expect(await wan().ask({ do: 'alive', timeout: patience.pass })).toBe(true);
    expect(await counter('flood')).toBeGreaterThan(250);
    expect((await entries()) - before).toBeLessThan(one + all.length + 50);
    // Inner zones are not held back by it.
    expect(await opens('lan0', '203.0.113.9', 7777)).not.toBeNull();
  });
});

test('segments are cut to what the VPN can carry', async () => {
  await networks.sh('ip -n router link set wg0 mtu 1420');
  const to = net.wan.hosts[0]?.[0] ?? '';
  const hold = { do: 'hold', protocol: 'tcp', to, port: 7777, timeout: patience.pass } as const;
  expect(await agent('vpn0').ask(hold)).toBe(true);
  const { stdout } = await networks.run('vpn0', ['ss', '-tin', 'dst', to]);
  // 1420 without the headers of IPv4 and TCP, and the latter's time stamps.
  expect(stdout).toMatch(/\bmss:1368\b/);
});

test('the rules of others stay when ours are loaded again, and what is open lives', async () => {
  await networks.sh(
    'ip netns exec router nft add table inet f2b-table; ip netns exec router nft add set inet f2b-table bans "{ type ipv4_addr; elements = { 192.0.2.1 }; }"',
  );
  expect(await agent('vpn0').ask({ do: 'alive', timeout: patience.pass })).toBe(true);
  const { stdout } = await networks.run('router', ['nft', 'list', 'table', 'inet', 'gateway']);
  expect(stdout).toContain('chain from_guest');
  await networks.run('router', ['nft', '--file', '-'], { input: rules });
  expect((await networks.run('router', ['nft', 'list', 'ruleset'])).stdout).toContain('192.0.2.1');
  expect(await agent('vpn0').ask({ do: 'alive', timeout: patience.pass })).toBe(true);
});

describe('a VPN client', () => {
  afterEach(() => clients());

  const own = () => flows().filter((flow) => flow.from === 'vpn');
  /** What passes of the first client, which has these zones. */
  const may = (flow: Flow, has: readonly ClientZone[]) =>
    accepts(policy, flow) && ((flow.to === 'gateway' && flow.port === 53) || has.includes(flow.to));

  test.each([...clientZones.map((zone) => [zone]), []].map((has) => [has]))(
    'that has %j reaches that and names, as far as the table says, and nothing else',
    async (has) => {
      await clients(has);
      const expected = own().map((flow) => named(flow, may(flow, has)));
      const seen = own().map(async (flow) => {
        const answer = await agent('vpn0').ask({
          do: 'try',
          protocol: flow.protocol,
          to: flow.address,
          port: flow.port,
          timeout: may(flow, has) ? patience.pass : patience.drop,
        });
        return named(flow, answer !== null);
      });
      expect(await Promise.all(seen)).toEqual(expected);
    },
  );

  test('that may not reach the internet reaches no forwarded port of its address either', async () => {
    const outside = bare(net.wan.router[0]);
    await clients(['lan']);
    expect(await opens('vpn0', outside, 443, undefined, patience.drop)).toBeNull();
    await clients(['wan']);
    expect(await opens('vpn0', outside, 443)).not.toBeNull();
  });

  test('that loses a zone loses what it has open there at once; others, and its other zones, keep theirs', async () => {
    const to = net.wan.hosts[0]?.[0] ?? '';
    const hold = { do: 'hold', protocol: 'tcp', timeout: patience.pass } as const;
    const alive = (host: string, timeout: number) => agent(host).ask({ do: 'alive', timeout });
    expect(await agent('vpn0').ask({ ...hold, to, port: 7777 })).toBe(true);
    expect(await agent('vpn1').ask({ ...hold, to, port: 7777 })).toBe(true);
    await clients(['lan']);
    expect(await alive('vpn0', patience.drop)).toBe(false);
    expect(await alive('vpn1', patience.pass)).toBe(true);
    await clients(['wan']);
    expect(await alive('vpn0', patience.pass)).toBe(true);
    // The gateway's own services: SSH.
    await clients();
    expect(await agent('vpn0').ask({ ...hold, to: '10.66.0.1', port: 22 })).toBe(true);
    await clients(['wan', 'lan', 'dmz', 'containers']);
    expect(await alive('vpn0', patience.drop)).toBe(false);
    await clients(['gateway']);
    expect(await alive('vpn0', patience.pass)).toBe(true);
  });

  test('that loses a zone hears no more of it, although it does not ask any more', async () => {
    const to = net.wan.hosts[0]?.[0] ?? '';
    // A question, and then answers as long as the server likes.
    await agent('vpn0').ask({ do: 'send', protocol: 'udp', to, port: 7779, fromPort: 40_100 });
    await agent('vpn0').ask({ do: 'listen', protocol: 'udp', ports: [40_100] });
    const answered = async () => {
      await wan().ask({
        do: 'send',
        protocol: 'udp',
        to: bare(net.wan.router[0]),
        port: 40_100,
        fromPort: 7779,
      });
      await pause();
      return await agent('vpn0').ask({ do: 'received', port: 40_100 });
    };
    expect(await answered()).toEqual([to]);
    await clients(['lan']);
    expect(await answered()).toEqual([]);
    await clients(['wan']);
    expect(await answered()).toEqual([to]);
  });

  test('that is no more in any file reaches nothing', async () => {
    await clients();
    await rm(join(peers, 'client0.conf'));
    const script = join(project, 'overlays/wireguard/usr/lib/pi-gateway/wireguard-peer');
    await networks.run('router', ['env', `PEERS=${peers}`, 'sh', script, 'load']);
    expect(
      await opens('vpn0', net.lan.hosts[0]?.[0] ?? '', 7777, undefined, patience.drop),
    ).toBeNull();
    expect(await opens('vpn1', net.lan.hosts[0]?.[0] ?? '', 7777)).not.toBeNull();
  });

  test('is as restricted as before when the rules are loaded again, and never less in between', async () => {
    await clients(['lan'], ['wan']);
    await networks.run('router', ['nft', '--file', '-'], { input: rules });
    const lan = net.lan.hosts[0]?.[0] ?? '';
    const wan = net.wan.hosts[0]?.[0] ?? '';
    expect(await opens('vpn0', lan, 7777)).not.toBeNull();
    expect(await opens('vpn1', wan, 7777)).not.toBeNull();
    const none = [
      opens('vpn0', wan, 7777, undefined, patience.drop),
      opens('vpn1', lan, 7777, undefined, patience.drop),
    ];
    expect(await Promise.all(none)).toEqual([null, null]);
    // Without the file, as before wg0 is up: nobody.
    await networks.sh('rm /run/pi-gateway/nftables.d/vpn.nft');
    await networks.run('router', ['nft', '--file', '-'], { input: rules });
    expect(await opens('vpn0', lan, 7777, undefined, patience.drop)).toBeNull();
  });
});
