import * as z from 'zod';
import { at, readIfThere, type System } from '../firstboot/system.ts';

export const daemonFacts = '/usr/share/pi-gateway/daemon.json';

/** What stage `gateway` was told, for the programs on the device. */
const facts = z.object({
  port: z.number().int(),
  /** The gateway's own addresses that the API listens on. */
  addresses: z.array(z.string()),
  dashboard: z.boolean(),
  /** Stages that the image has; a view of what it lacks is not shown. */
  stages: z.array(z.string()).default([]),
});

export type DaemonFacts = z.output<typeof facts>;

/** @throws Error if this is no device, or its image is damaged. */
export async function readDaemonFacts(system: System): Promise<DaemonFacts> {
  const text = await readIfThere(at(system, daemonFacts));
  if (text === undefined) throw new Error(`This is no Pi Gateway: there is no ${daemonFacts}`);
  return facts.parse(JSON.parse(text));
}

/** The device's name, as first boot or its owner has set it. */
export async function readHostname(system: System): Promise<string> {
  const name = (await readIfThere(at(system, '/etc/hostname')))?.trim().toLowerCase() ?? '';
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name) ? name : 'pi-gateway';
}
