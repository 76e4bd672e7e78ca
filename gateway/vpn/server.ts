import { parse } from 'yaml';
import { type VpnFacts, vpnFacts } from '../../firstboot/image.ts';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { type ClientZone, clientZones, type ZoneReport } from '../../stages/firewall/zones.ts';
import { settingsPath as ddnsSettings } from '../ddns/view.ts';
import { GatewayError } from '../errors.ts';
import { readDeviceSettings } from '../settings/read.ts';
import { freePlaces } from './addresses.ts';
import type { ServerRecord } from './schema.ts';
import { readIdentity, readLastRotation, readServerRotation } from './server-key.ts';
import type { VpnSettings } from './settings.ts';
import { readClients } from './store.ts';

export type Server = {
  facts: VpnFacts;
  settings: VpnSettings;
  /** As clients are told: while the key is replaced, the one to come; and so is the port in `facts`. */
  publicKey: string | undefined;
  /** Port on the outside, since the key was replaced. */
  outsidePort?: number | undefined;
};

/** @throws GatewayError on an image without the wireguard stage. */
export async function readServer(system: System): Promise<Server> {
  const facts = await vpnFacts(system);
  if (!facts)
    throw new GatewayError(
      'This image has no WireGuard',
      'Build one with it: stages.wireguard in gateway.yaml',
      'missing',
    );
  const { settings } = await readDeviceSettings(system);
  const { publicKey, port, outsidePort } = await readIdentity(system);
  return {
    facts: { ...facts, port: port ?? facts.port },
    settings: settings.vpn,
    publicKey,
    // What was set or written into files before is the old key's.
    outsidePort: outsidePort ?? port,
  };
}

export type Endpoint = {
  host: string;
  port: number;
  /** False for the device's own name, which the internet does not know. */
  known: boolean;
};

/**
 * Where clients find the gateway: what the owner has set; what is in a file that was made before, unless it
 * is but the device's name; its first dynamic DNS name; the device's name.
 */
export async function endpointOf(
  system: System,
  { facts, settings, outsidePort }: Server,
  before?: string,
): Promise<Endpoint> {
  const port = outsidePort ?? settings.endpoint_port ?? facts.port;
  if (settings.endpoint !== undefined) return { host: settings.endpoint, port, known: true };
  const [, host = '', old] = /^\[?(.*?)\]?:(\d+)$/.exec(before ?? '') ?? [];
  if (/[.:]/.test(host))
    return { host, port: outsidePort ?? settings.endpoint_port ?? Number(old), known: true };
  const dynamic = await dynamicName(system);
  if (dynamic !== undefined) return { host: dynamic, port, known: true };
  const own = (await readIfThere(at(system, '/etc/hostname')))?.trim() || 'pi-gateway';
  return { host: own, port, known: false };
}

async function dynamicName(system: System): Promise<string | undefined> {
  const text = await readIfThere(at(system, ddnsSettings));
  if (text === undefined) return undefined;
  try {
    const data = parse(text, { logLevel: 'silent' }) as {
      providers?: { hostnames?: unknown[] }[];
    } | null;
    const name = data?.providers?.[0]?.hostnames?.[0];
    return typeof name === 'string' ? name : undefined;
  } catch {
    // Its own service tells of it.
    return undefined;
  }
}

/** The firewall's zone table; undefined on an image without that stage. */
async function readZones(system: System): Promise<ZoneReport | undefined> {
  const text = await readIfThere(at(system, '/usr/share/pi-gateway/firewall.json'));
  return text === undefined ? undefined : (JSON.parse(text) as ZoneReport);
}

/** What clients can be allowed on this gateway. */
async function reachable(system: System): Promise<ClientZone[]> {
  const report = await readZones(system);
  return clientZones.filter(
    (zone) =>
      report &&
      (zone === 'gateway' ||
        report.table.some(
          ({ from, to, passes, exceptions }) =>
            from === 'vpn' && to === zone && (passes || exceptions.length > 0),
        )),
  );
}

/** Networks behind the gateway that a client with these zones may reach; undefined: with all. */
export async function networksOf(
  system: System,
  { facts }: Server,
  zones: readonly ClientZone[] | undefined,
): Promise<string[]> {
  const report = await readZones(system);
  const may = (await reachable(system)).filter((zone) => zones?.includes(zone) ?? true);
  const behind = (report?.zones ?? [])
    .filter(({ name }) => name !== 'wan' && name !== 'vpn' && may.includes(name))
    .flatMap(({ networks }) => networks);
  return [...new Set([facts.network4, facts.network6, ...behind])];
}

export async function describeServer(system: System): Promise<ServerRecord> {
  const server = await readServer(system);
  const { facts, settings } = server;
  const { peers } = readClients(system);
  const endpoint = await endpointOf(system, server);
  return {
    interface: 'wg0',
    public_key: server.publicKey ?? null,
    port: endpoint.port,
    rotation: await readServerRotation(system),
    last_rotation: await readLastRotation(system),
    mtu: settings.mtu ?? facts.mtu,
    network4: facts.network4,
    network6: facts.network6,
    dns: [...(settings.dns ?? facts.dns.split(/,\s*/))],
    endpoint: endpoint.host,
    endpoint_known: endpoint.known,
    zones: await reachable(system),
    defaults: { zones: settings.zones && [...settings.zones], tunnel: settings.tunnel },
    free: freePlaces(facts, peers.values()),
  };
}
