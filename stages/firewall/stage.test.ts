import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../builder/config/load.ts';
import { BuildError } from '../../builder/errors.ts';
import { run } from '../../builder/exec.ts';
import { loadStages } from '../../builder/stages.ts';
import { project } from '../../builder/testing/build.ts';
import type { Chroot, StageDefinition } from '../define.ts';
import { monitoring } from '../monitoring/stage.ts';
import { ssh } from '../ssh/stage.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from '../wireguard/stage.ts';
import { networkFiles, setUpNetwork } from './network.ts';
import { firewallOptions } from './options.ts';
import { firewall } from './stage.ts';

const vpnOnlySsh: StageDefinition = {
  ...ssh,
  ports: () => ssh.ports?.(ssh.options.parse({ zones: ['vpn'] })) ?? [],
};
const all: StageDefinition[] = [ssh, wireguard, monitoring];
const closed = '/usr/lib/pi-gateway/firewall-closed.nft';

async function rules(
  options: Record<string, unknown> = {},
  others: Parameters<typeof renderStage>[2] = all,
  path = '/etc/nftables.conf',
): Promise<string> {
  return (await renderStage(firewall, options, others)).text(path);
}

/** The rules of one chain. */
function chain(text: string, name: string): string {
  const found = new RegExp(`^  chain ${name} \\{\\n([\\s\\S]*?)\\n  \\}$`, 'm').exec(text)?.[1];
  if (found === undefined) throw new Error(`there is no chain ${name}`);
  return found;
}

/** Lets the kernel check the rules: nft(8) --check in a network namespace of its own. */
async function accepted(text: string): Promise<void> {
  await run('unshare', ['--net', '--map-root-user', 'nft', '--check', '--file', '-'], {
    input: text,
  });
}

const router = {
  zones: {
    lan: { interfaces: ['eth1'], address4: '10.10.0.1/24', address6: 'fd10::1/64' },
    guest: { interfaces: ['eth2'], address4: '10.20.0.1/24', address6: 'fd20::1/64' },
    dmz: {
      interfaces: ['eth3', 'enx*'],
      address4: '10.30.0.1/24',
      address6: '2001:db8::1/64',
      networks: ['10.31.0.0/16'],
    },
  },
};

const everything = {
  ...router,
  allow: [
    { from: 'guest', to: 'lan', address: '10.10.0.20', tcp: [631], udp: [5353] },
    { from: 'dmz', to: 'gateway', tcp: [3000] },
    { from: 'wan', to: 'containers', tcp: [8080] },
    { from: 'lan', to: 'wan', all: true },
  ],
  forwards: [
    { tcp: 8443, to: '10.30.0.10', port: 443 },
    { udp: 3478, to: '2001:db8::10' },
  ],
  open_tcp: [80, 443],
  open_udp: [5000],
  trusted: ['192.168.0.0/16', '192.168.1.0/24', 'fd00::/64'],
  limits: { ssh_per_minute: 7, scan_block_seconds: 99 },
  log_drops: false,
};

describe('the ruleset', () => {
  test('drops what nothing opens, into the gateway and through it', async () => {
    const text = await rules();
    expect(text).toContain('type filter hook input priority filter; policy drop;');
    expect(text).toContain('type filter hook forward priority filter; policy drop;');
  });

  test('opens the ports of the stages to the zones that they name, and no others', async () => {
    const text = await rules(router);
    const open = (zone: string) =>
      [...chain(text, `in_${zone}`).matchAll(/(tcp|udp) dport (\d+|@\w+) (?:goto|accept)/g)]
        .map(([, protocol, port]) => `${protocol} ${port}`)
        .filter((port) => port !== 'udp 68' && port !== 'udp 546');
    expect(open('wan')).toEqual(['tcp 22', 'udp @wireguard_ports']);
    // nft 1.1.3 crashes if the elements are in the set's declaration: see the ruleset.
    expect(text).toMatch(/set wireguard_ports \{ type inet_service; \}/);
    expect(text).toMatch(/^add element inet gateway wireguard_ports \{ 51820 \}$/m);
    expect(open('lan')).toEqual(['udp 53', 'tcp 53', 'udp 67', 'tcp 22', 'udp @wireguard_ports']);
    expect(open('vpn')).toEqual(['udp 53', 'tcp 53', 'tcp 22']);
    expect(open('guest')).toEqual(['udp 53', 'tcp 53', 'udp 67']);
    // No DHCP in the dmz unless it is asked for, and nothing but names for containers.
    expect(open('dmz')).toEqual(['udp 53', 'tcp 53']);
    expect(open('containers')).toEqual(['udp 53', 'tcp 53']);
  });

  test('has neither a zone nor a port of what is not there', async () => {
    const text = await rules({ zones: { containers: { interfaces: [] } } }, []);
    expect(text).not.toMatch(/dport (?!68|546)\d/);
    expect(text).not.toMatch(/masquerade|chain (in|from)_(?!wan)/);
  });

  test('hides SSH from every zone but the VPN, if so asked', async () => {
    const text = await rules(router, [vpnOnlySsh, wireguard]);
    expect(text.match(/tcp dport 22 /g)).toHaveLength(1);
    expect(chain(text, 'in_vpn')).toContain('tcp dport 22 ');
  });

  test('opens further ports to every zone, and exceptions to one', async () => {
    const text = await rules(everything);
    for (const zone of ['wan', 'lan', 'guest', 'dmz', 'vpn', 'containers'])
      expect(chain(text, `in_${zone}`)).toMatch(
        /tcp dport 80 accept comment "open_tcp"[\s\S]*tcp dport 443 [\s\S]*udp dport 5000/,
      );
    expect(chain(text, 'in_dmz')).toContain('tcp dport { 3000 } accept');
    expect(chain(text, 'in_guest')).not.toContain('3000');
    expect(chain(text, 'from_guest')).toContain(
      'oifname @lan ip daddr 10.10.0.20 tcp dport { 631 } accept',
    );
    expect(chain(text, 'from_wan')).toContain('oifname @containers tcp dport { 8080 } accept');
  });

  test('gives VPN clients and inner networks the address of wan, and IPv6 ones only if unique local', async () => {
    const nat = chain(await rules(router), 'translate');
    expect(nat).toContain(
      'ip saddr { 10.10.0.0/24, 10.20.0.0/24, 10.30.0.0/24, 10.31.0.0/16, 10.66.0.0/24 } masquerade',
    );
    expect(nat).toContain('ip6 saddr { fd10::/64, fd20::/64, fd66:6761:7465::/64 } masquerade');
    expect(nat).not.toContain('2001:db8');
  });

  test('accepts what belongs to a connection before it looks at anything else', async () => {
    const text = await rules(everything);
    const first = (name: string, rules: string) =>
      chain(rules, name)
        .split('\n')
        .filter((line) => !/^ *(type .*|)$/.test(line));
    for (const name of ['input', 'forward']) {
      // But for connections of VPN clients, which may have lost their leave.
      const [rule] = first(name, text).filter((line) => !line.includes('jump kept_'));
      expect(rule).toContain('ct state vmap { established : accept');
      expect(first(name, await rules({}, []))[0]).toContain('ct state vmap');
    }
  });

  test('lets a VPN client through only where it has the zone, and has no sets without the VPN', async () => {
    const text = await rules(everything);
    const passes = chain(text, 'from_vpn')
      .split('\n')
      .filter((line) => line.includes('accept'));
    expect(passes.length).toBeGreaterThan(4);
    for (const line of passes)
      expect(line).toMatch(
        /oifname (!= @inside|@\w+) ip6? saddr @vpn_(wan|lan|dmz|vpn|containers)/,
      );
    expect(chain(text, 'in_vpn')).toMatch(/^ *jump clients\n.*\n.*\n *udp dport 53 accept/);
    expect(await rules({}, [])).not.toMatch(/vpn_|pi-gateway\/nftables.d\/\*\.nft"\n.*\n.*include/);
  });

  test('asks of a client for the zone of an exception, too', async () => {
    const made = await rules({
      ...router,
      allow: [
        { from: 'vpn', to: 'guest', address: '10.20.0.9', tcp: [631] },
        { from: 'vpn', to: 'guest', udp: [5353] },
      ],
    });
    expect(chain(made, 'from_vpn').match(/.* by allow"/g)).toEqual([
      '    oifname @guest ip saddr @vpn_guest4 ip daddr 10.20.0.9 tcp dport { 631 } accept comment "vpn → guest, by allow"',
      '    oifname @guest ip saddr @vpn_guest4 udp dport { 5353 } accept comment "vpn → guest, by allow"',
      '    oifname @guest ip6 saddr @vpn_guest6 udp dport { 5353 } accept comment "vpn → guest, by allow"',
    ]);
    await accepted(made);
  });

  test('limits what comes from the wan in UDP too, where it leads to something', async () => {
    const text = await rules(everything);
    expect(chain(text, 'in_wan')).toContain('udp dport { 5000 } jump strangers');
    expect(chain(text, 'from_wan')).toMatch(/l4proto != tcp jump strangers[^\n]*\n *jump forwards/);
  });

  test('never shuts out the networks of the admin', async () => {
    const text = await rules(
      { trusted: ['192.168.1.0/24'] },
      { ssh: ssh.options.parse({ never_ban: ['10.9.0.0/16', 'fd09::/64'] }) },
    );
    expect(text).toMatch(/set spared4 .*elements = \{ 192\.168\.1\.0\/24, 10\.9\.0\.0\/16 \}/);
    expect(text).toMatch(/set spared6 .*elements = \{ fd09::\/64 \}/);
    expect(chain(text, 'scan')).toMatch(/^ {4}ip saddr @spared4 return\n {4}ip6 saddr @spared6/);
  });

  test('says each kind of drop by its own name, a few a minute, or not at all', async () => {
    const prefixes = [...(await rules()).matchAll(/.*log prefix "([^"]+)"/g)];
    expect(prefixes.map(([, prefix]) => prefix)).toEqual([
      'gateway drop spoofed: ',
      'gateway drop flood: ',
      'gateway drop limited: ',
      'gateway drop input: ',
      'gateway drop forward: ',
      'gateway blocks a scan: ',
    ]);
    for (const [line] of prefixes) expect(line).toContain('limit rate 5/minute');
    expect(await rules({ log_drops: false })).not.toContain('log prefix');
  });

  test.each([
    ['all stages', {}, all],
    ['no other stage', {}, []],
    ['no zone at all', { zones: { containers: { interfaces: [] } } }, []],
    ['a router', router, all],
    ['every option', everything, all],
  ])('is valid for nft: %s', async (_, options, others) => {
    await accepted(await rules(options, others));
    await accepted(await rules(options, others, closed));
  });

  test('that is broken is refused by the same check', async () => {
    await expect(
      accepted((await rules()).replace('policy drop', 'policy maybe')),
    ).rejects.toThrow();
  });
});

describe('the rules that are loaded when the others are broken', () => {
  test('let the owner in where SSH is open, and nobody through', async () => {
    const text = await rules(router, all, closed);
    expect(text).toContain(
      'iifname != { "eth2", "br-dmz", "eth3", "enx*", "podman*", "docker*" } tcp dport 22 accept',
    );
    expect(text).toMatch(/hook forward priority filter; policy drop;\n {2}\}/);
  });

  test('let the owner in by the VPN, where SSH is for that alone', async () => {
    const text = await rules({}, [vpnOnlySsh, wireguard], closed);
    expect(text).toContain('iifname { "wg0", "wg0next" } tcp dport 22 accept');
    // Where the VPN's server listens since its key was replaced, too.
    for (const port of [51820, 51821])
      expect(text).toMatch(new RegExp(`iifname != \\{ "wg0", .* \\} udp dport ${port} accept`));
  });

  test('are loaded when, and only when, the service failed', async () => {
    const script = join(project, 'overlays/firewall/usr/lib/pi-gateway/firewall-closed');
    const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-closed-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, 'closed.nft');
    await writeFile(file, await rules({}, all, closed));
    const ended = (result: string) =>
      run('unshare', ['--net', '--map-root-user', 'sh', '-c', `sh ${script}; nft list ruleset`], {
        env: { SERVICE_RESULT: result, CLOSED_RULES: file },
      });
    expect((await ended('success')).stdout).toBe('');
    const failed = await ended('exit-code');
    expect(failed.stdout).toContain('counter closed');
    expect(failed.stderr).toMatch(/^<0>The firewall rules/);
  });

  test('follow a failed start, and stopping the service opens nothing', async () => {
    const drop = await rules({}, all, '/etc/systemd/system/nftables.service.d/10-gateway.conf');
    expect(drop).toMatch(/^ExecStopPost=\/usr\/lib\/pi-gateway\/firewall-closed$/m);
    expect(drop).toMatch(/^ExecStop=$/m);
  });
});

describe('the build', () => {
  const chroot = (check: (path: string) => void): Chroot => ({
    root: '/nowhere',
    run: async (_, args = []) => {
      check(args.at(-1) ?? '');
      return '';
    },
    write: async () => undefined,
    read: async () => '',
    exists: async () => false,
    remove: async () => undefined,
  });

  test('lets nft check both rulesets and fails with its words', async () => {
    const checked: string[] = [];
    const options = firewallOptions.parse({});
    const config = { name: 'x', stages: {}, ports: [] };
    await firewall.run?.(
      chroot((path) => checked.push(path)),
      options,
      config,
    );
    expect(checked).toEqual(['/etc/nftables.conf', closed]);
    const refuse = () => {
      throw new BuildError({ what: 'failed', detail: '/etc/nftables.conf:7:1-3: Error: syntax' });
    };
    await expect(firewall.run?.(chroot(refuse), options, config)).rejects.toMatchObject({
      message: 'nft refuses the firewall rules',
      where: '/etc/nftables.conf',
      detail: '/etc/nftables.conf:7:1-3: Error: syntax',
    });
  });
});

describe('the network of a zone', () => {
  const files = (zones: object) => networkFiles(firewallOptions.parse({ zones }));

  test('is none where the gateway has no address', () => {
    expect(files({})).toEqual({});
    expect(files({ lan: { interfaces: ['eth1'] } })).toEqual({});
  });

  test('has the gateway with its addresses, DHCP, router advertisements and DNS', () => {
    const made = files(router.zones);
    const lan = made['/etc/systemd/network/30-zone-lan.network'];
    for (const line of [
      'Name=eth1',
      'Address=10.10.0.1/24',
      'Address=fd10::1/64',
      'DHCPServer=yes',
      // Half of 256 addresses, but for the broadcast one.
      'PoolOffset=128',
      'PoolSize=127',
      'DNS=_server_address',
      'IPv6SendRA=yes',
      'Prefix=fd10::/64',
      'ConfigureWithoutCarrier=yes',
      'RequiredForOnline=no',
    ])
      expect(lan).toContain(`${line}\n`);
    expect(made['/etc/systemd/network/30-zone-dmz.network']).toContain('DHCPServer=no\n');
    expect(made['/etc/systemd/resolved.conf.d/20-gateway-zones.conf']).toContain(
      'DNSStubListenerExtra=10.10.0.1\nDNSStubListenerExtra=fd10::1\nDNSStubListenerExtra=10.20.0.1\n',
    );
  });

  test('with several ports is a bridge of them', () => {
    const made = files(router.zones);
    expect(made['/etc/systemd/network/30-zone-dmz.netdev']).toContain('Name=br-dmz\nKind=bridge');
    expect(made['/etc/systemd/network/30-zone-dmz-ports.network']).toMatch(
      /Name=eth3 enx\*\n[\s\S]*Bridge=br-dmz\n/,
    );
    expect(made['/etc/systemd/network/30-zone-dmz.network']).toContain('Name=br-dmz\n');
  });

  test('is left to systemd-networkd by NetworkManager, which keeps wan', async () => {
    const written = new Map<string, unknown>();
    const called: string[] = [];
    const device = (manager: boolean): Chroot => ({
      root: '/nowhere',
      run: async (command, args = []) => {
        called.push([command, ...args].join(' '));
        return '';
      },
      write: async (path, content) => void written.set(path, content),
      read: async () => '',
      exists: async () => manager,
      remove: async () => undefined,
    });
    await setUpNetwork(device(false), firewallOptions.parse(router));
    expect(called).toEqual([]);
    await setUpNetwork(device(true), firewallOptions.parse({}));
    expect(called).toEqual([]);
    await setUpNetwork(device(true), firewallOptions.parse(router));
    expect(called).toContain('systemctl enable systemd-networkd.service');
    expect(written.get('/etc/NetworkManager/conf.d/10-gateway-zones.conf')).toContain(
      'interface-name:eth1;interface-name:eth2;interface-name:br-dmz;interface-name:eth3;interface-name:enx*\n',
    );
    expect(written.get('/etc/systemd/network/20-not-a-zone.network')).toContain(
      'Name=!eth1 eth2 br-dmz eth3 enx*\n[Link]\nUnmanaged=yes\n',
    );
  });
});

describe('a mistake is refused before anything is built, at its place', () => {
  let root = '';
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'pi-gateway-firewall-'));
  });
  afterEach(() => rm(root, { recursive: true }));

  const load = async (yaml: string) => {
    await writeFile(join(root, 'gateway.yaml'), yaml);
    const stages = (await loadStages(project)).map((stage) => stage.definition);
    return await loadConfig({ root, stages });
  };
  /** gateway.yaml with these lines below stages.firewall, the first of which is line 3. */
  const below = (...lines: string[]) =>
    ['stages:', '  firewall:', ...lines.map((line) => `    ${line}`), ''].join('\n');

  const lan = 'lan: {interfaces: [eth1], address4: 10.10.0.1/24}';
  test.each([
    [
      'networks of two zones that overlap',
      below(
        'zones:',
        `  ${lan}`,
        '  dmz:',
        '    interfaces: [eth2]',
        '    address4: 10.10.0.129/25',
      ),
      'gateway.yaml:7:19',
      'the network 10.10.0.128/25 overlaps 10.10.0.0/24 of zone lan',
    ],
    [
      'a network that overlaps the VPN',
      below('zones:', "  lan: {interfaces: [eth1], address6: 'fd66:6761:7465::5/64'}"),
      'gateway.yaml:4:43',
      'overlaps fd66:6761:7465::/64 of the vpn (stages.wireguard.network6)',
    ],
    [
      'a further network that overlaps',
      below('zones:', `  ${lan}`, '  containers: {networks: [10.0.0.0/8]}'),
      'gateway.yaml:5:31',
      'overlaps',
    ],
    [
      'host bits in a network',
      below('trusted: [10.0.0.0/8, 192.168.1.7/24]'),
      'gateway.yaml:3:27',
      'has host bits set; the network is 192.168.1.0/24',
    ],
    [
      'a zone that there is not, in an exception',
      below('allow:', '  - {from: lann, to: wan, tcp: [1]}'),
      'gateway.yaml:4:16',
      'must be a zone: wan, lan, vpn, containers, dmz, guest',
    ],
    [
      'a zone that there is not, for SSH',
      'stages:\n  ssh:\n    zones: [home]\n',
      'gateway.yaml:3:13',
      'must be a zone',
    ],
    [
      'options for wan, which is what no zone claims',
      below('zones:', '  wan: {interfaces: [eth0]}'),
      'gateway.yaml:4:7',
      "Unknown key 'stages.firewall.zones.wan'",
    ],
    [
      'a zone without an interface, in an exception',
      below('allow:', '  - {from: guest, to: wan, tcp: [1]}'),
      'gateway.yaml:4:16',
      'the zone guest has no interface; set stages.firewall.zones.guest.interfaces',
    ],
    [
      'an exception that allows nothing',
      below('allow:', '  - {from: vpn, to: wan}'),
      'gateway.yaml:4:25',
      'name ports, e.g. tcp: [443], or write all: true',
    ],
    [
      'an exception for an address elsewhere',
      below(
        'zones:',
        `  ${lan}`,
        'allow:',
        '  - {from: vpn, to: lan, all: true, address: 10.9.9.9}',
      ),
      'gateway.yaml:6:50',
      'is not in the zone lan, which is 10.10.0.0/24',
    ],
    [
      'ports of two stages that clash',
      'stages:\n  ssh: {port: 9100}\n',
      'gateway.yaml:2:15',
      "TCP port 9100 is also metrics's (stages.monitoring.port)",
    ],
    [
      'WireGuard on the port of DNS',
      'stages:\n  wireguard: {port: 53}\n',
      'gateway.yaml:2:21',
      "UDP port 53 is also dns's",
    ],
    [
      'an interface in two zones',
      below('zones:', '  lan: {interfaces: [eth1]}', '  guest: {interfaces: [eth2, eth1]}'),
      'gateway.yaml:5:34',
      'eth1 is also of zone lan; an interface is in one zone',
    ],
    [
      'names that can mean one interface',
      below('zones:', '  lan: {interfaces: [pod*]}'),
      'gateway.yaml:4:26',
      'pod* is also podman* of zone containers',
    ],
    [
      'a name that means the bridge of another zone',
      below(
        'zones:',
        '  lan: {interfaces: [eth1, eth2], address4: 10.10.0.1/24}',
        '  containers: {interfaces: [br-*]}',
      ),
      'gateway.yaml:4:25',
      'br-lan is also br-* of zone containers',
    ],
    [
      "the VPN's interface in another zone",
      below('zones:', '  lan: {interfaces: ["wg*"]}'),
      'gateway.yaml:4:26',
      'of zone vpn, by the wireguard stage',
    ],
    [
      'an interface that no interface can be called',
      below('zones:', '  lan: {interfaces: ["eth 1"]}'),
      'gateway.yaml:4:26',
      'must be a network interface, e.g. eth1',
    ],
    [
      'a forward to an address in no zone',
      below('zones:', `  ${lan}`, 'forwards:', '  - {tcp: 443, to: 192.168.99.1}'),
      'gateway.yaml:6:24',
      "is in no zone's network; the zones have 10.10.0.0/24 (lan)",
    ],
    [
      "a forward to the gateway's own address",
      below('zones:', `  ${lan}`, 'forwards:', '  - {tcp: 443, to: 10.10.0.1}'),
      'gateway.yaml:6:24',
      "is the gateway's own address in the zone lan; open_tcp opens ports",
    ],
    [
      'a forward of a port that the gateway has',
      below('zones:', `  ${lan}`, 'forwards:', '  - {tcp: 22, to: 10.10.0.9}'),
      'gateway.yaml:6:15',
      "port 22 of the wan address is the gateway's own, for ssh",
    ],
    [
      'two forwards of a port',
      below(
        'zones:',
        `  ${lan}`,
        'forwards:',
        '  - {udp: 7, to: 10.10.0.9}',
        '  - {udp: 7, to: 10.10.0.8}',
      ),
      'gateway.yaml:7:15',
      'forwarded already, by forwards[0]',
    ],
    [
      'a forward without a port',
      below('zones:', `  ${lan}`, 'forwards:', '  - {to: 10.10.0.9}'),
      'gateway.yaml:6:14',
      'needs one port of the wan address: tcp or udp',
    ],
    [
      'an address without its prefix',
      below('zones:', '  lan: {interfaces: [eth1], address4: 10.10.0.1}'),
      'gateway.yaml:4:43',
      'must be an address with its prefix, e.g. 192.168.10.1/24',
    ],
    [
      'an address that is the network',
      below('zones:', '  lan: {interfaces: [eth1], address4: 10.10.0.0/24}'),
      'gateway.yaml:4:43',
      "is the network itself; the gateway's address may be 10.10.0.1/24",
    ],
    [
      'an address that is the broadcast address',
      below('zones:', '  lan: {interfaces: [eth1], address4: 10.10.1.255/23}'),
      'gateway.yaml:4:43',
      'is the broadcast address of its network',
    ],
    [
      'an address of a network without room',
      below('zones:', '  lan: {interfaces: [eth1], address4: 10.10.0.1/32}'),
      'gateway.yaml:4:43',
      'leaves no room for others',
    ],
    [
      'an IPv6 network in which devices cannot make their addresses',
      below('zones:', "  lan: {interfaces: [eth1], address6: 'fd10::1/56'}"),
      'gateway.yaml:4:43',
      'must be in a /64',
    ],
    [
      'an address of no interface',
      below('zones:', '  lan: {address4: 10.10.0.1/24}'),
      'gateway.yaml:4:23',
      'say which, e.g. zones.lan.interfaces: [eth1]',
    ],
    [
      'SSH that nobody can reach',
      'stages:\n  ssh: {zones: [vpn]}\n  wireguard: false\n  firewall: {log_drops: true}\n',
      'gateway.yaml:4:3',
      'nobody could log in: turn the wireguard stage on',
    ],
  ])('%s', async (_, yaml, where, what) => {
    const error = await load(yaml).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!(error instanceof BuildError)) throw new Error(`it was accepted, or threw ${error}`);
    expect(error.message).toContain(what);
    expect(error.where).toBe(where);
  });

  test('every option off and on again is fine', async () => {
    await load(below('zones: {containers: {interfaces: []}}', 'log_drops: false'));
    await load(JSON.stringify({ stages: { firewall: everything } }));
    await load('stages: {wireguard: false, monitoring: false}\n');
  });
});
