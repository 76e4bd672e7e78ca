import { at, readIfThere } from '../../firstboot/system.ts';
import { type DdnsStatus, settingsPath, statusFile } from '../ddns/view.ts';
import { readForeignJson } from '../foreign-file.ts';
import { readPorts } from '../services/units.ts';
import {
  type Examination,
  type Finding,
  failed,
  ok,
  skipped,
  type World,
  warning,
} from './examination.ts';
import { defaultRoute, isGlobal6, type Kind, kindOf } from './route.ts';

/** How the gateway can be reached from outside: what most VPNs at home fail of. */

export type Line = {
  device: string;
  router: string | undefined;
  /** The uplink's own IPv4 address. */
  own: string;
  kind: Kind;
  /** The address that others see, by dynamic DNS; undefined: it has not looked. */
  seen: string | undefined;
  /** The address that the router has outside, if it tells. */
  outside: string | undefined;
  global6: string | undefined;
};

async function readDdns({ system }: World): Promise<DdnsStatus | undefined> {
  return (await readForeignJson(at(system, statusFile))) as DdnsStatus | undefined;
}

async function lineOf(world: World): Promise<Line | undefined> {
  const route = await defaultRoute(world.system);
  if (!route) return undefined;
  const addresses = world.interfaces[route.device] ?? [];
  const own = addresses.find(({ family }) => family === 'IPv4')?.address;
  if (own === undefined) return undefined;
  const ddns = await readDdns(world);
  return {
    device: route.device,
    router: route.router,
    own,
    kind: kindOf(own),
    seen: ddns?.addresses.find(({ family }) => family === 4)?.address ?? undefined,
    outside: route.router === undefined ? undefined : await world.outside(route.router),
    global6: addresses.find(({ family, address }) => family === 'IPv6' && isGlobal6(address))
      ?.address,
  };
}

const noPublicAddress =
  'Other customers share your public IPv4 address: nobody can connect to you by IPv4, whatever port your router forwards';

/** What helps where there is no public IPv4 address. */
function without4({ global6 }: Line): string {
  const six =
    global6 === undefined
      ? 'or for IPv6, which reaches you without it'
      : `or use IPv6, which you have (${global6}): open the VPN's port for this device in the router's IPv6 firewall, and give the name an AAAA record (docs/ddns.md)`;
  return `Ask the provider for a public IPv4 address of your own (often free, or "dual stack"), ${six}`;
}

const cgnat: Examination = {
  id: 'public-address',
  title: 'Public address (CGNAT, DS-Lite)',
  run: async (world) => {
    const line = await lineOf(world);
    return line ? judgeLine(line) : skipped('There is no uplink with IPv4');
  },
};

/** Whether the internet can reach a line at all. */
export function judgeLine(line: Line): Finding {
  const { own, kind, seen, outside, device } = line;
  if (kind === 'shared')
    return failed(
      `${device} has ${own}, of the range of carrier-grade NAT (RFC 6598)`,
      noPublicAddress,
      without4(line),
    );
  if (kind === 'ds-lite')
    return failed(
      `${device} has ${own}, an inner address of DS-Lite (RFC 6333)`,
      noPublicAddress,
      without4(line),
    );
  if (kind === 'link-local')
    return failed(
      `${device} has only ${own}, which it gave to itself`,
      'The router gives no address, so there is no way out',
      'Is DHCP on in the router? See: networkctl status',
    );
  if (kind === 'public')
    return seen === undefined || seen === own
      ? ok(`${own} on ${device} itself: no router is before it`)
      : warning(
          `${device} has ${own}, but others see ${seen}`,
          'Something on the way turns addresses; connections from outside may not come through',
          'Ask the provider whether the line has a public IPv4 address of its own',
        );
  if (outside !== undefined) return judgeRouter(line, outside);
  return seen === undefined
    ? ok(
        `${own} behind the router ${line.router ?? ''}; its public address is not known, as dynamic DNS is not set up or has not looked`,
      )
    : ok(
        `${own} behind the router ${line.router ?? ''}; others see ${seen}. If the router's own page shows another address than that, the provider shares it (CGNAT)`,
      );
}

/** Behind a router that tells its address outside. */
function judgeRouter(line: Line, outside: string): Finding {
  const { seen, router } = line;
  const kind = kindOf(outside);
  if (kind === 'shared' || kind === 'ds-lite')
    return failed(
      `The router ${router} has ${outside} outside: ${kind === 'shared' ? 'carrier-grade NAT (RFC 6598)' : 'DS-Lite (RFC 6333)'}`,
      noPublicAddress,
      without4(line),
    );
  if (kind !== 'public')
    return warning(
      `The router ${router} has ${outside} outside: there is a second router before it`,
      'A port must be forwarded in both of them',
      'Forward the ports in the outer router to the inner one, too; or set the outer one to bridge mode',
    );
  if (seen !== undefined && seen !== outside)
    return failed(
      `The router ${router} has ${outside} outside, but others see ${seen}`,
      noPublicAddress,
      without4(line),
    );
  return ok(
    `The router ${router} has ${outside} outside${seen === undefined ? '' : ', as others see it'}`,
  );
}

const forwards: Examination = {
  id: 'router-forwards',
  title: 'Ports to forward in the router',
  run: async (world) => {
    const line = await lineOf(world);
    if (!line) return skipped('There is no uplink with IPv4');
    const ports = (await readPorts(world.system)).filter(({ zones }) => zones.includes('wan'));
    if (ports.length === 0) return skipped('Nothing is open to the internet');
    const list = ports.map(
      ({ name, port, protocol }) => `${protocol.toUpperCase()} ${port} (${name})`,
    );
    if (line.kind === 'public')
      return ok(`${list.join(', ')}: reached directly, nothing to forward`);
    const one = ports.find(({ name }) => name === 'wireguard') ?? ports[0];
    return ok(
      `Whether the router forwards cannot be seen from here. For clients outside it must: ${one?.protocol.toUpperCase()} port ${one?.port} to ${line.own} port ${one?.port}${list.length > 1 ? `; open here: ${list.join(', ')}` : ''}`,
    );
  },
};

const ddns: Examination = {
  id: 'ddns',
  title: 'Dynamic DNS',
  run: async (world) => {
    const { system } = world;
    if ((await readIfThere(at(system, settingsPath))) === undefined)
      return skipped('It is not set up');
    const status = await readDdns(world);
    if (!status)
      return warning(
        'It has not run since the device was started',
        'The name may lead to an old address',
        'Run it: sudo pi-gateway ddns update',
      );
    if (!status.registered)
      return failed(
        status.summary,
        'Clients do not find the gateway once its address has changed',
        'See what to mend: sudo pi-gateway ddns status',
      );
    return await agreement(world, status);
  },
};

/** Whether the name leads here. */
async function agreement(world: World, status: DdnsStatus): Promise<Finding> {
  const name = status.active?.hostnames[0];
  const own = status.addresses.flatMap(({ address }) => address ?? []);
  if (name === undefined || own.length === 0) return ok(status.summary);
  let found: readonly string[];
  try {
    found = await world.lookup(name);
  } catch {
    return failed(
      `${name} is registered, but cannot be resolved`,
      'Clients do not find the gateway',
      'Is the name right at the provider? See: sudo pi-gateway ddns status',
    );
  }
  const strange = found.filter((address) => !own.includes(address));
  return strange.length === 0
    ? ok(`${name} leads here: ${found.join(', ')}`)
    : warning(
        `${name} is ${found.join(', ')}, but this gateway is ${own.join(', ')}`,
        'Clients may go to the wrong address',
        'An old answer lasts for some minutes; if it stays: sudo pi-gateway ddns update',
      );
}

export const reachExaminations: readonly Examination[] = [cgnat, forwards, ddns];
