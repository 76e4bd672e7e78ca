import { stat, statfs } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import type * as z from 'zod';
import { deviceId } from '../../firstboot/device-id.ts';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { readHostname } from '../image-facts.ts';
import type { status } from './operations.ts';

type Status = z.output<typeof status>;

/** What the files of the device tell about it: nothing here needs root, a process or a socket. */
export type DeviceFacts = Pick<
  Status,
  | 'name'
  | 'device_id'
  | 'model'
  | 'image'
  | 'uptime_seconds'
  | 'cpus'
  | 'load'
  | 'memory'
  | 'disk'
  | 'temperature_celsius'
  | 'addresses'
> & { rebootRequired: boolean };

export type Interfaces = ReturnType<typeof networkInterfaces>;

export async function readDeviceFacts(
  system: System,
  interfaces: Interfaces = networkInterfaces(),
): Promise<DeviceFacts> {
  const [name, id, model, image, uptime, load, cpus, memory, disk, temperature, zones, reboot] =
    await Promise.all([
      readHostname(system),
      deviceId(system).catch(() => null),
      readModel(system),
      readImage(system),
      text(system, '/proc/uptime'),
      text(system, '/proc/loadavg'),
      readCpus(system),
      readMemory(system),
      readDisk(system),
      readTemperature(system),
      readZones(system),
      readIfThere(at(system, '/run/reboot-required')),
    ]);
  return {
    name,
    device_id: id,
    model,
    image,
    uptime_seconds: Math.round(Number.parseFloat(uptime) || 0),
    cpus,
    load: [0, 1, 2].map((i) => Number(load.split(' ')[i]) || 0),
    memory,
    disk,
    temperature_celsius: temperature,
    addresses: addressesByZone(interfaces, zones),
    rebootRequired: reboot !== undefined,
  };
}

/** A file that this machine need not have, or that a sandbox hides. */
async function text(system: System, path: string): Promise<string> {
  return (await readIfThere(at(system, path)).catch(() => undefined)) ?? '';
}

/** Of the device tree, as on a Pi; a machine without one tells by DMI. */
async function readModel(system: System): Promise<string | null> {
  const tree = await text(system, '/sys/firmware/devicetree/base/model');
  const name = tree || (await text(system, '/sys/class/dmi/id/product_name'));
  // A string of the device tree ends with NUL (Devicetree Specification 0.4, 2.2.4).
  return name.replaceAll('\0', '').trim() || null;
}

async function readImage(system: System): Promise<Status['image']> {
  const json = await text(system, '/usr/share/pi-gateway/image.json');
  if (json === '') return null;
  const { name, base } = JSON.parse(json) as { name?: string; base?: { description?: string } };
  return {
    name: name ?? 'pi-gateway',
    base: base?.description ?? null,
    built: await readBuilt(system),
  };
}

/** The image's date: its builder sets the time of this file (systemd-timesyncd.service(8)). */
async function readBuilt(system: System): Promise<string | null> {
  const epoch = await stat(at(system, '/usr/lib/clock-epoch')).catch(() => undefined);
  return epoch ? epoch.mtime.toISOString() : null;
}

/** cpu(7) of sysfs: `0-3`, or `0,2-3`. */
async function readCpus(system: System): Promise<number> {
  const online = (await text(system, '/sys/devices/system/cpu/online')).trim() || '0';
  return online.split(',').reduce((sum, part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return sum + last - first + 1;
  }, 0);
}

async function readMemory(system: System): Promise<Status['memory']> {
  const table = await text(system, '/proc/meminfo');
  const of = (name: string) =>
    Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(table)?.[1] ?? 0) * 1024;
  return { total_bytes: of('MemTotal'), available_bytes: of('MemAvailable') };
}

async function readDisk(system: System): Promise<Status['disk']> {
  const { blocks, bavail, bsize } = await statfs(system.root);
  return { total_bytes: blocks * bsize, available_bytes: bavail * bsize };
}

/** The hottest of the thermal zones, which the kernel has in thousandths of a degree. */
async function readTemperature(system: System): Promise<number | null> {
  const zones = await Promise.all(
    [0, 1, 2, 3].map((i) => text(system, `/sys/class/thermal/thermal_zone${i}/temp`)),
  );
  const degrees = zones.filter((one) => /^\d+\s*$/.test(one)).map((one) => Number(one) / 1000);
  return degrees.length === 0 ? null : Math.max(...degrees);
}

export type ZoneInterfaces = { name: string; interfaces: readonly string[] };

/** Zones as the image was built: stages/firewall. */
export async function readZones(system: System): Promise<ZoneInterfaces[]> {
  const json = await text(system, '/usr/share/pi-gateway/firewall.json');
  return json === '' ? [] : (JSON.parse(json) as { zones: ZoneInterfaces[] }).zones;
}

/** An interface is in the zone that names it, or a pattern for it (`podman*`); any other is wan. */
export function zoneOf(name: string, zones: readonly ZoneInterfaces[]): string {
  const zone = zones.find(({ interfaces }) =>
    interfaces.some((one) =>
      one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : one === name,
    ),
  );
  return zone?.name ?? 'wan';
}

/** Without loopback and link-local addresses, which nobody else can use. */
function addressesByZone(
  interfaces: Interfaces,
  zones: readonly ZoneInterfaces[],
): Status['addresses'] {
  return Object.entries(interfaces)
    .map(([name, list = []]) => ({
      zone: zoneOf(name, zones),
      interface: name,
      addresses: list
        .filter(({ internal, address }) => !internal && !/^(fe[89ab]|169\.254\.)/i.test(address))
        .map(({ address }) => address),
    }))
    .filter(({ addresses }) => addresses.length > 0)
    .sort((a, b) => (a.interface < b.interface ? -1 : 1));
}
