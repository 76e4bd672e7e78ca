import { addressIn, networkOf, networksOverlap } from '../../builder/config/fields.ts';
import { type GatewayConfig, type StagePort, type Zone, zones } from '../define.ts';
import type { Allow, FirewallOptions, Forward } from './options.ts';

/**
 * Who may open a connection to whom. The ruleset, docs/zones.md, the device's `pi-gateway firewall
 * zones` and the test that sends a packet through each cell all come from this module.
 */

/** Whether new connections pass, and why; answers to them always do. */
export type Cell = { passes: boolean; because: string };

const yes = (because: string): Cell => ({ passes: true, because });
const no = (because: string): Cell => ({ passes: false, because });

const forwardsOnly = no('The internet comes in by port forwards only');
const brokenServer = no('A server that was broken into stays where it is');
const brokenContainer = no('A container that was broken into stays where it is');
const ownersOnly = no("Guests see nothing of the owner's");

/** From (rows) to (columns), before the options of gateway.yaml. */
const table: Record<Zone, Record<Zone, Cell>> = {
  wan: {
    wan: no('The gateway carries nothing from one uplink to another'),
    lan: forwardsOnly,
    vpn: forwardsOnly,
    containers: forwardsOnly,
    dmz: forwardsOnly,
    guest: forwardsOnly,
  },
  lan: {
    wan: yes('Own devices use the internet'),
    lan: yes('One network, also where it has parts of its own'),
    vpn: yes("The owner's devices reach those on the road"),
    containers: yes('Services on the gateway are for the owner'),
    dmz: yes('Servers are looked after from the lan'),
    guest: yes('Devices there are looked after from the lan, not the other way round'),
  },
  vpn: {
    wan: yes("A client's whole traffic may go through the gateway"),
    lan: yes('A client is an own device elsewhere'),
    vpn: yes('Clients reach one another (zones.vpn.isolate: false)'),
    containers: yes('Services on the gateway are for the owner'),
    dmz: yes('Servers are looked after from anywhere'),
    guest: no('Nobody on the road has business with guests'),
  },
  containers: {
    wan: yes('Containers fetch what they need'),
    lan: brokenContainer,
    vpn: brokenContainer,
    containers: no('Networks of containers are kept apart'),
    dmz: brokenContainer,
    guest: brokenContainer,
  },
  dmz: {
    wan: yes('Servers fetch updates'),
    lan: brokenServer,
    vpn: brokenServer,
    containers: brokenServer,
    dmz: brokenServer,
    guest: brokenServer,
  },
  guest: {
    wan: yes('Guests use the internet'),
    lan: ownersOnly,
    vpn: ownersOnly,
    containers: ownersOnly,
    dmz: ownersOnly,
    guest: no('Guests are kept apart'),
  },
};

/** A zone that there is on this gateway. */
export type ActiveZone = {
  name: Zone;
  /** None for wan: it is what no other zone claims. */
  interfaces: readonly string[];
  networks: readonly string[];
  /** The gateway's own addresses there, without prefix. */
  addresses: readonly string[];
};

/**
 * What a VPN client can be given, one by one: AllowedIPs say which addresses it has, not which it may
 * reach. A client that has all of them may what the table lets the vpn; none gets more. `gateway` are the
 * gateway's own services but for DNS, which every client needs.
 */
export const clientZones = [...zones, 'gateway'] as const;
export type ClientZone = (typeof clientZones)[number];

/** The table with the options of gateway.yaml. */
export type Policy = {
  /** wan first. */
  zones: readonly ActiveZone[];
  isolateVpn: boolean;
  ports: readonly StagePort[];
  open: { tcp: readonly number[]; udp: readonly number[] };
  allow: readonly Allow[];
  forwards: readonly Forward[];
};

/** What the firewall must know of the wireguard stage. */
type VpnOptions = { network4: string; network6: string };

export const vpnInterface = 'wg0';

export function policyOf(o: FirewallOptions, config: GatewayConfig): Policy {
  const { wireguard } = config.stages as { wireguard?: VpnOptions };
  const bare = (address: string) => address.split('/')[0] ?? '';
  const active: ActiveZone[] = [{ name: 'wan', interfaces: [], networks: [], addresses: [] }];
  for (const name of ['lan', 'guest', 'dmz'] as const) {
    const zone = o.zones[name];
    const own = [zone.address4, zone.address6].filter((address) => address !== null);
    active.push({
      name,
      interfaces: zoneInterfaces(name, zone),
      networks: [...own.map(networkOf), ...zone.networks],
      addresses: own.map(bare),
    });
  }
  if (wireguard) {
    const networks = [wireguard.network4, wireguard.network6];
    active.push({
      name: 'vpn',
      interfaces: [vpnInterface],
      networks,
      addresses: networks.map((network) => addressIn(network, 1)),
    });
  }
  active.push(containersZone(o, config));
  return {
    zones: active.filter((zone) => zone.name === 'wan' || zone.interfaces.length > 0),
    isolateVpn: o.zones.vpn.isolate,
    ports: config.ports,
    open: { tcp: o.open_tcp, udp: o.open_udp },
    allow: o.allow,
    forwards: o.forwards,
  };
}

/** What the firewall must know of the containers stage: the one way to all its containers. */
type ContainersOptions = { network4: string; network6: string };

/** The device that leads to the network namespace of stage containers; it fits `podman*` of the zone. */
export const containersInterface = 'podman-zone';

function containersZone(o: FirewallOptions, config: GatewayConfig): ActiveZone {
  const { interfaces, networks } = o.zones.containers;
  const { containers } = config.stages as { containers?: ContainersOptions };
  if (!containers) return { name: 'containers', interfaces, networks, addresses: [] };
  const own = [containers.network4, containers.network6];
  const isThere = interfaces.some(
    (one) =>
      one === containersInterface ||
      (one.endsWith('*') && containersInterface.startsWith(one.slice(0, -1))),
  );
  return {
    name: 'containers',
    interfaces: isThere ? interfaces : [...interfaces, containersInterface],
    networks: [...own, ...networks],
    addresses: own.map((network) => addressIn(network, 1)),
  };
}

/**
 * The bridge of a served zone that has several ports, or ports known by the start of their names
 * only: one network with one address, which is there before and after its ports are.
 */
export function bridgeOf(
  name: Zone,
  zone: { interfaces: readonly string[]; address4: string | null; address6: string | null },
): string | undefined {
  const served = zone.address4 !== null || zone.address6 !== null;
  const many = zone.interfaces.length > 1 || zone.interfaces.some((one) => one.endsWith('*'));
  return served && many ? `br-${name}` : undefined;
}

function zoneInterfaces(
  name: Zone,
  zone: FirewallOptions['zones']['lan' | 'guest' | 'dmz'],
): readonly string[] {
  const bridge = bridgeOf(name, zone);
  return bridge ? [bridge, ...zone.interfaces] : zone.interfaces;
}

/** Whether new connections pass from one zone to another, but for `allow` and `forwards`. */
export function cell(policy: Pick<Policy, 'isolateVpn'>, from: Zone, to: Zone): Cell {
  if (from === 'vpn' && to === 'vpn' && policy.isolateVpn)
    return no('Clients are kept apart (zones.vpn.isolate)');
  return table[from][to];
}

export type OpenPort = { protocol: 'tcp' | 'udp'; port: number; name: string };

/** Ports of the gateway itself that answer to a zone, but for `allow`. */
export function openPorts(policy: Policy, zone: Zone): OpenPort[] {
  const further = (protocol: 'tcp' | 'udp'): OpenPort[] =>
    policy.open[protocol].map((port) => ({ protocol, port, name: `open_${protocol}` }));
  const services = policy.ports
    .filter((port) => port.zones.includes(zone))
    .map(({ protocol, port, name }) => ({ protocol, port, name }));
  const seen = new Set<string>();
  return [...services, ...further('tcp'), ...further('udp')].filter(({ protocol, port }) => {
    const key = `${protocol} ${port}`;
    return !seen.has(key) && seen.add(key);
  });
}

/** The zone whose networks hold the address. */
export function zoneOf(policy: Policy, address: string): ActiveZone | undefined {
  return policy.zones.find((zone) =>
    zone.networks.some((network) => networksOverlap(network, address)),
  );
}

/** A new connection, as it is once a port forward has changed its destination. */
export type Flow = {
  from: Zone;
  to: Zone | 'gateway';
  /** Where it leads to. */
  address: string;
  protocol: 'tcp' | 'udp';
  port: number;
};

/** Whether the connection is let in or through. Limits and forged sources are not its business. */
export function accepts(policy: Policy, flow: Flow): boolean {
  const { from, to, protocol, port } = flow;
  const excepted = policy.allow.some(
    (one) =>
      one.from === from &&
      one.to === to &&
      (one.all || one[protocol].includes(port)) &&
      (one.address === null || networksOverlap(one.address, flow.address)),
  );
  if (excepted) return true;
  if (to === 'gateway')
    return openPorts(policy, from).some((one) => one.protocol === protocol && one.port === port);
  return cell(policy, from, to).passes;
}

/** The policy as `pi-gateway firewall zones` and docs/zones.md show it. */
export type ZoneReport = {
  zones: {
    name: Zone;
    interfaces: readonly string[];
    networks: readonly string[];
    gateway: string[];
  }[];
  table: (Cell & { from: Zone; to: Zone; exceptions: string[] })[];
  forwards: string[];
  /** What all of it was made of: the device's own forwards are checked and printed by it. */
  policy: Policy;
};

export function report(policy: Policy): ZoneReport {
  const exceptions = (from: Zone, to: Zone | 'gateway') =>
    policy.allow
      .filter((one) => one.from === from && one.to === to)
      .map((one) => {
        const ports = [
          ...(one.all ? ['everything'] : []),
          ...one.tcp.map((port) => `tcp ${port}`),
          ...one.udp.map((port) => `udp ${port}`),
        ].join(', ');
        return one.address === null ? ports : `${ports} of ${one.address}`;
      });
  return {
    zones: policy.zones.map(({ name, interfaces, networks }) => ({
      name,
      interfaces,
      networks,
      gateway: [
        ...openPorts(policy, name).map((one) => `${one.name} (${one.protocol} ${one.port})`),
        ...exceptions(name, 'gateway'),
      ],
    })),
    table: policy.zones.flatMap(({ name: from }) =>
      policy.zones.map(({ name: to }) => ({
        from,
        to,
        ...cell(policy, from, to),
        exceptions: exceptions(from, to),
      })),
    ),
    forwards: policy.forwards.map(
      (one) =>
        `${one.tcp === undefined ? 'udp' : 'tcp'} ${one.tcp ?? one.udp} → ${one.to} port ${one.port ?? one.tcp ?? one.udp}`,
    ),
    policy,
  };
}
