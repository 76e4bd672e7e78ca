import { networkOf, networksOverlap, parseCidr } from '../../builder/config/fields.ts';
import type { GatewayConfig, OptionProblem, Zone } from '../define.ts';
import { forwardMistakes } from './forwards.ts';
import { served } from './network.ts';
import type { FirewallOptions } from './options.ts';
import { bridgeOf, type Policy, policyOf, vpnInterface } from './zones.ts';

type Path = readonly (string | number)[];
type Claim = { path: Path; text: string; owner: string };

/** Mistakes in the firewall's options that a schema can't say, each with the key that it is at. */
export function checkFirewall(o: FirewallOptions, config: GatewayConfig): OptionProblem[] {
  const policy = policyOf(o, config);
  return [
    ...interfaceProblems(o, config),
    ...addressProblems(o),
    ...overlapProblems(o, config),
    ...allowProblems(o, policy),
    ...forwardProblems(o, policy),
    ...unreachable(policy),
  ];
}

function interfaceProblems(o: FirewallOptions, config: GatewayConfig): OptionProblem[] {
  // Those of containers have a default: the others are what somebody wrote.
  const claims: Claim[] = ['containers' as const, ...served].flatMap((zone) => {
    const owner = `zone ${zone}`;
    const bridge = zone === 'containers' ? undefined : bridgeOf(zone, o.zones[zone]);
    return [
      ...o.zones[zone].interfaces.map((text, index) => ({
        path: ['zones', zone, 'interfaces', index],
        text,
        owner,
      })),
      ...(bridge ? [{ path: ['zones', zone, 'interfaces'], text: bridge, owner }] : []),
    ];
  });
  const taken: Claim[] = [
    { path: [], text: 'lo', owner: 'the gateway itself' },
    ...('wireguard' in config.stages
      ? [{ path: [], text: vpnInterface, owner: 'zone vpn, by the wireguard stage' }]
      : []),
  ];
  return claims.flatMap((claim, index) =>
    [...taken, ...claims.slice(0, index)]
      .filter((other) => namesMeet(claim.text, other.text))
      .map((other) => ({
        path: claim.path,
        message: `${claim.text} is also ${other.text === claim.text ? '' : `${other.text} `}of ${other.owner}; an interface is in one zone`,
      })),
  );
}

/** True if an interface can have both names, of which each may be the start of one and `*`. */
function namesMeet(a: string, b: string): boolean {
  const start = (name: string) => name.slice(0, -1);
  if (a.endsWith('*') && b.endsWith('*'))
    return start(a).startsWith(start(b)) || start(b).startsWith(start(a));
  if (a.endsWith('*')) return b.startsWith(start(a));
  if (b.endsWith('*')) return a.startsWith(start(b));
  return a === b;
}

function addressProblems(o: FirewallOptions): OptionProblem[] {
  return served.flatMap((name) => {
    const zone = o.zones[name];
    const problems: OptionProblem[] = [];
    for (const key of ['address4', 'address6'] as const)
      if (zone[key] !== null && zone.interfaces.length === 0)
        problems.push({
          path: ['zones', name, key],
          message: `is the address of no interface; say which, e.g. zones.${name}.interfaces: [eth1]`,
        });
    if (zone.address6 !== null && parseCidr(zone.address6)?.bits !== 64)
      problems.push({
        path: ['zones', name, 'address6'],
        message:
          'must be in a /64: devices make their own addresses in it (RFC 4862), e.g. fd10::1/64',
      });
    return problems;
  });
}

function overlapProblems(o: FirewallOptions, config: GatewayConfig): OptionProblem[] {
  const { wireguard } = config.stages as { wireguard?: Record<'network4' | 'network6', string> };
  const vpn: Claim[] = wireguard
    ? (['network4', 'network6'] as const).map((key) => ({
        path: [],
        text: wireguard[key],
        owner: `the vpn (stages.wireguard.${key})`,
      }))
    : [];
  const { containers } = config.stages as { containers?: Record<'network4' | 'network6', string> };
  const further: Claim[] = containers
    ? (['network4', 'network6'] as const).map((key) => ({
        path: [],
        text: containers[key],
        owner: `the containers (stages.containers.${key})`,
      }))
    : [];
  const own: Claim[] = [...served, 'containers' as const].flatMap((name) => {
    const zone = o.zones[name];
    const claim = (text: string, ...path: Path): Claim => ({
      path: ['zones', name, ...path],
      text,
      owner: `zone ${name}`,
    });
    return [
      ...('address4' in zone && zone.address4 ? [claim(networkOf(zone.address4), 'address4')] : []),
      ...('address6' in zone && zone.address6 ? [claim(networkOf(zone.address6), 'address6')] : []),
      ...zone.networks.map((network, index) => claim(network, 'networks', index)),
    ];
  });
  return own.flatMap((claim, index) =>
    [...vpn, ...further, ...own.slice(0, index)]
      .filter((other) => networksOverlap(claim.text, other.text))
      .map((other) => ({
        path: claim.path,
        message: `the network ${claim.text} overlaps ${other.text} of ${other.owner}`,
      })),
  );
}

const missingZone: Record<Exclude<Zone, 'wan'>, string> = {
  lan: 'set stages.firewall.zones.lan.interfaces',
  guest: 'set stages.firewall.zones.guest.interfaces',
  dmz: 'set stages.firewall.zones.dmz.interfaces',
  containers: 'set stages.firewall.zones.containers.interfaces',
  vpn: 'turn the wireguard stage on',
};

function allowProblems(o: FirewallOptions, policy: Policy): OptionProblem[] {
  return o.allow.flatMap((one, index) => {
    const problems: OptionProblem[] = [];
    const at = (key: string, message: string) =>
      problems.push({ path: ['allow', index, key], message });
    for (const key of ['from', 'to'] as const) {
      const zone = one[key];
      if (zone === 'gateway' || zone === 'wan') continue;
      if (!policy.zones.some((active) => active.name === zone))
        at(key, `the zone ${zone} has no interface; ${missingZone[zone]}`);
    }
    if (!one.all && one.tcp.length + one.udp.length === 0)
      at('to', 'allows nothing; name ports, e.g. tcp: [443], or write all: true');
    if (one.all && one.tcp.length + one.udp.length > 0)
      at('all', 'allows every port; leave tcp and udp out, or all');
    const networks = policy.zones.find((zone) => zone.name === one.to)?.networks ?? [];
    const { address } = one;
    if (
      address !== null &&
      networks.length > 0 &&
      !networks.some((network) => networksOverlap(network, address))
    )
      at('address', `is not in the zone ${one.to}, which is ${networks.join(', ')}`);
    return problems;
  });
}

function forwardProblems(o: FirewallOptions, policy: Policy): OptionProblem[] {
  return forwardMistakes(policy, o.forwards).map(({ index, key, message }) => ({
    path: ['forwards', index, key],
    message,
  }));
}

/** A service that answers only to zones which are not there: with SSH, nobody could get in. */
function unreachable(policy: Policy): OptionProblem[] {
  return policy.ports
    .filter((port) => port.name === 'ssh' && port.zones.length > 0)
    .filter((port) => !policy.zones.some((zone) => port.zones.includes(zone.name)))
    .map((port) => ({
      path: ['zones'],
      message: `SSH answers only to ${port.zones.join(', ')}, and no such zone has an interface, so nobody could log in: ${port.zones.flatMap((zone) => (zone === 'wan' ? [] : missingZone[zone])).join(', or ')}`,
    }));
}
