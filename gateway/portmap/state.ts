import { at, readIfThere, type System } from '../../firstboot/system.ts';
import type { DdnsStatus } from '../ddns/view.ts';
import { statusFile as ddnsStatusFile } from '../ddns/view.ts';
import { type Finding, skipped } from '../doctor/examination.ts';
import { judgeLine } from '../doctor/reach.ts';
import { kindOf } from '../doctor/route.ts';
import { zoneReport } from '../firewall/status.ts';
import { readForeignJson } from '../foreign-file.ts';
import { readPorts, readUnits } from '../services/units.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { guideOf } from './guide.ts';
import { hasPortmap } from './request.ts';
import { type Uplink, uplinksOf } from './routers.ts';
import {
  type PortmapStatus,
  portmapStatus,
  type RouterGuide,
  type RouterView,
  statusFile,
} from './view.ts';

export const service = 'pi-gateway-portmap.service';

/** All that is known of the router, but for who has come in from outside. */
export async function readRouter(system: System): Promise<RouterView> {
  const { settings } = await readDeviceSettings(system);
  const status = await readStatus(system);
  const uplinks = await uplinksOf(system);
  const line = await judge(system, uplinks, status);
  return {
    available: await hasPortmap(system),
    mapping: settings.router.mapping,
    running: await isRunning(system),
    status,
    line: { state: line.state, found: line.found, why: line.why ?? null, fix: line.fix ?? null },
    guide: guideOf({
      ...(await placeOf(system, uplinks)),
      forwards: await forwardsOf(system, settings.vpn.endpoint_port),
      direct: uplinks.some(({ direct }) => direct),
      line,
    }),
  };
}

async function readStatus(system: System): Promise<PortmapStatus | null> {
  const found = portmapStatus.safeParse(await readForeignJson(at(system, statusFile)));
  return found.success ? found.data : null;
}

export async function isRunning(system: System): Promise<boolean> {
  const units = await readUnits(system, [service]).catch(() => new Map());
  return ['activating', 'active'].includes(units.get(service)?.state ?? '');
}

/** By the address that the router says it has, and by that which others see (dynamic DNS). */
async function judge(
  system: System,
  uplinks: readonly Uplink[],
  status: PortmapStatus | null,
): Promise<Finding> {
  const four = uplinks.find(({ family }) => family === 4);
  if (!four) return skipped('There is no uplink with IPv4');
  const ddns = (await readForeignJson(at(system, ddnsStatusFile))) as DdnsStatus | undefined;
  const asked = status?.families.find(
    ({ family, router }) => family === 4 && router === four.router,
  );
  return judgeLine({
    device: four.device,
    router: four.router,
    own: four.own,
    kind: kindOf(four.own),
    seen: ddns?.addresses.find(({ family }) => family === 4)?.address ?? undefined,
    outside: asked?.external_address ?? undefined,
    global6: uplinks.find(({ family }) => family === 6)?.own,
  });
}

async function placeOf(
  system: System,
  uplinks: readonly Uplink[],
): Promise<Pick<RouterGuide, 'device' | 'mac' | 'own4' | 'own6' | 'router4' | 'router6'>> {
  const of = (family: 4 | 6) => uplinks.find((one) => one.family === family);
  const device = (of(4) ?? of(6))?.device ?? null;
  const mac =
    device === null
      ? undefined
      : await readIfThere(at(system, `/sys/class/net/${device}/address`)).catch(() => undefined);
  return {
    device,
    mac: mac?.trim() ?? null,
    own4: of(4)?.own ?? null,
    own6: of(6)?.own ?? null,
    router4: of(4)?.router ?? null,
    router6: of(6)?.router ?? null,
  };
}

/** What answers to the internet: services of the gateway, and forwards to servers behind it. */
async function forwardsOf(
  system: System,
  endpointPort: number | undefined,
): Promise<RouterGuide['forwards']> {
  const own = (await readPorts(system))
    .filter(({ zones }) => zones.includes('wan'))
    .map(({ name, port, protocol }) => ({
      name,
      protocol,
      external_port: name === 'wireguard' ? (endpointPort ?? port) : port,
      internal_port: port,
    }));
  const { settings } = await readDeviceSettings(system);
  const image = await zoneReport(system).then(
    ({ policy }) => policy.forwards,
    () => [],
  );
  const behind = [...image, ...settings.firewall.forwards]
    .filter(({ to }) => !to.includes(':'))
    .map((one) => {
      const port = one.tcp ?? one.udp ?? 0;
      const protocol = one.tcp === undefined ? ('udp' as const) : ('tcp' as const);
      return { name: `forwarded to ${one.to}`, protocol, external_port: port, internal_port: port };
    });
  // What everybody needs comes first.
  return [
    ...own.filter((one) => one.name === 'wireguard'),
    ...own.filter((one) => one.name !== 'wireguard'),
    ...behind,
  ];
}
