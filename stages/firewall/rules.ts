import type { GatewayConfig, Zone } from '../define.ts';
import { rotationPort } from '../wireguard/stage.ts';
import type { Allow, FirewallOptions, Forward } from './options.ts';
import {
  cell,
  clientZones,
  containersInterface,
  type OpenPort,
  openPorts,
  type Policy,
  policyOf,
  report,
  vpnInterface,
  zoneOf,
} from './zones.ts';

/** What the templates of the ruleset print: nft(8)'s words for the policy. */
export type RuleValues = {
  /** Zones behind the gateway. */
  inner: readonly InnerZone[];
  /** What each VPN client may reach is in sets of these names, `vpn_lan4`; none without a vpn. */
  clientZones: readonly string[];
  /** Interfaces of all of them, as elements of a set. */
  inside: string;
  wan: Destination & {
    /** Open UDP ports that have no limit of their own. */
    udp: readonly number[];
  };
  /** Networks of all inner zones. */
  networks4: readonly string[];
  networks6: readonly string[];
  /** Networks whose packets get the gateway's own address on their way to wan. */
  masquerade4: readonly string[];
  masquerade6: readonly string[];
  trusted4: readonly string[];
  trusted6: readonly string[];
  /** Never shut out: trusted, and what the ssh stage never bans. */
  spared4: readonly string[];
  spared6: readonly string[];
  forwards: readonly ForwardRules[];
  /** Ports that are opened even if the ruleset does not load, so that the owner gets in. */
  lifelines: readonly (OpenPort & { zones: readonly Zone[] })[];
  /** The way to the containers of stage containers, if it is there. */
  containers: string | null;
  /** JSON for the device's command. */
  report: string;
};

type Destination = {
  ports: readonly OpenPort[];
  /** Exceptions, as rules. */
  toGateway: readonly string[];
  onward: readonly string[];
};

type InnerZone = Destination & {
  name: Zone;
  elements: string;
  /** It is given IPv6 addresses by the gateway's router advertisements. */
  advertised: boolean;
  /** Zones that it may open connections to. */
  passes: readonly Zone[];
};

/** Rules of one port forward, for the chains of destinations, of what passes and of translated sources. */
export type ForwardRules = { name: string; nat: string; pass: string; hairpin: string };

const family = (address: string): 'ip' | 'ip6' => (address.includes(':') ? 'ip6' : 'ip');
const only = (kind: 'ip' | 'ip6', addresses: readonly string[]) =>
  addresses.filter((address) => family(address) === kind);

/** Unique local addresses (RFC 4193) are not routed on the internet. */
const isUniqueLocal = (network: string) => /^f[cd]/i.test(network);

export function ruleValues(o: FirewallOptions, config: GatewayConfig): RuleValues {
  const policy = policyOf(o, config);
  const inner = policy.zones.filter((zone) => zone.name !== 'wan');
  const networks = inner.flatMap((zone) => zone.networks);
  const { ssh, wireguard } = config.stages as {
    ssh?: { never_ban?: readonly string[] };
    wireguard?: { rotation_port?: number };
  };
  const spared = [...new Set([...o.trusted, ...(ssh?.never_ban ?? [])])];
  return {
    inner: inner.map((zone) => ({
      name: zone.name,
      elements: elements(zone.interfaces),
      advertised: zone.name !== 'vpn' && only('ip6', zone.addresses).length > 0,
      passes: policy.zones
        .map((other) => other.name)
        .filter((other) => cell(policy, zone.name, other).passes),
      ...destination(policy, zone.name),
    })),
    clientZones: inner.some((zone) => zone.name === 'vpn') ? clientZones : [],
    inside: elements(inner.flatMap((zone) => zone.interfaces)),
    wan: { ...destination(policy, 'wan'), udp: openUdp(policy) },
    networks4: only('ip', networks),
    networks6: only('ip6', networks),
    masquerade4: only('ip', networks),
    masquerade6: only('ip6', networks).filter(isUniqueLocal),
    trusted4: only('ip', o.trusted),
    trusted6: only('ip6', o.trusted),
    spared4: only('ip', spared),
    spared6: only('ip6', spared),
    forwards: o.forwards.map((forward) => forwardRules(policy, forward)),
    lifelines: policy.ports
      .filter((port) => port.name === 'ssh' || port.name === 'wireguard')
      .flatMap(({ name, port, protocol, zones }) =>
        // It listens there since its key was replaced.
        [port, ...(name === 'wireguard' ? [rotationPort({ port, ...wireguard })] : [])].map(
          (one) => ({ name, port: one, protocol, zones }),
        ),
      ),
    containers: 'containers' in config.stages ? containersInterface : null,
    report: JSON.stringify(report(policy)),
  };
}

/**
 * Names as elements of an nft set, each once. The VPN's has a second one beside it while the server's key is
 * replaced: wg0next.
 */
function elements(names: readonly string[]): string {
  return [...new Set(names)]
    .flatMap((name) => (name === vpnInterface ? [name, `${name}next`] : [name]))
    .map((name) => `"${name}"`)
    .join(', ');
}

function destination(policy: Policy, zone: Zone): Destination {
  const exceptions = policy.allow.filter((one) => one.from === zone);
  return {
    ports: openPorts(policy, zone),
    toGateway: exceptions.filter((one) => one.to === 'gateway').flatMap(allowRules),
    onward: exceptions.filter((one) => one.to !== 'gateway').flatMap(allowRules),
  };
}

function openUdp(policy: Policy): number[] {
  const services = openPorts(policy, 'wan')
    .filter((one) => one.protocol === 'udp' && one.name !== 'wireguard')
    .map((one) => one.port);
  const exceptions = policy.allow
    .filter((one) => one.from === 'wan' && one.to === 'gateway')
    .flatMap((one) => one.udp);
  return [...new Set([...services, ...exceptions])];
}

function allowRules(one: Allow): string[] {
  const to =
    one.to === 'gateway' ? '' : one.to === 'wan' ? 'oifname != @inside ' : `oifname @${one.to} `;
  const address = one.address === null ? '' : `${family(one.address)} daddr ${one.address} `;
  const comment = `comment "${one.from} → ${one.to}, by allow"`;
  const what = one.all
    ? ['']
    : (['tcp', 'udp'] as const)
        .filter((protocol) => one[protocol].length > 0)
        .map((protocol) => `${protocol} dport { ${[...new Set(one[protocol])].join(', ')} } `);
  return sourcesOf(one).flatMap((source) =>
    what.map((ports) => `${to}${source}${address}${ports}accept ${comment}`),
  );
}

/** VPN clients that have the zone, in each family that the exception is for; of others everybody. */
function sourcesOf({ from, to, address }: Allow): string[] {
  if (from !== 'vpn' || to === 'gateway') return [''];
  return (['ip', 'ip6'] as const)
    .filter((kind) => address === null || family(address) === kind)
    .map((kind) => `${kind} saddr @vpn_${to}${kind === 'ip' ? 4 : 6} `);
}

/**
 * A port forward: the destination is changed where the packet is for an address of the gateway's on
 * the wan side, also when it comes from within (hairpin); the way back of a connection from the
 * server's own zone must lead through the gateway too.
 */
export function forwardRules(
  policy: Policy,
  forward: Forward & {
    /** Only sources of this network. */
    from?: string | undefined;
  },
): ForwardRules {
  const protocol = forward.tcp === undefined ? 'udp' : 'tcp';
  const outside = forward.tcp ?? forward.udp ?? 0;
  const port = forward.port ?? outside;
  const ip = family(forward.to);
  const inner = policy.zones.flatMap((zone) => only(ip, zone.addresses));
  const home = zoneOf(policy, forward.to);
  const own = home ? only(ip, home.networks) : [];
  const elsewhere = inner.length > 0 ? `${ip} daddr != { ${inner.join(', ')} } ` : '';
  const server = `${ip} daddr ${forward.to} ${protocol} dport ${port}`;
  const source = forward.from === undefined ? '' : `${ip} saddr ${forward.from} `;
  const target = ip === 'ip6' ? `[${forward.to}]:${port}` : `${forward.to}:${port}`;
  return {
    name: `${protocol} ${outside} → ${target}`,
    nat: `${source}fib daddr type local ${elsewhere}${protocol} dport ${outside} dnat ${ip} to ${target}`,
    pass: `oifname @${home?.name ?? 'inside'} ${source}${server} ct status dnat accept`,
    hairpin: `${ip} saddr { ${own.join(', ')} } ${server} ct status dnat masquerade`,
  };
}
