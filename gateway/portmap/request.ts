import * as z from 'zod';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { methods } from './view.ts';

/** What the service is to ask for: the settings, as far as they are its business. No secret is in it. */
export const requestFile = '/etc/pi-gateway/portmap.json';

/** Written by the stage: this image has the service. */
export const stageFile = '/usr/share/pi-gateway/portmap';

const request = z.object({
  mapping: z.enum(['auto', ...methods]),
  lease: z.number().int().min(1),
  ipv6: z.boolean(),
  /** Port of the router, if it is another than the VPN's own. */
  external_port: z.number().int().min(1).max(65_535).nullable(),
});
export type Request = z.output<typeof request>;

/** Undefined: nothing is to be asked for. @throws Error if the file is damaged. */
export async function readRequest(system: System): Promise<Request | undefined> {
  const text = await readIfThere(at(system, requestFile));
  return text === undefined ? undefined : request.parse(JSON.parse(text));
}

export async function hasPortmap(system: System): Promise<boolean> {
  return (await readIfThere(at(system, stageFile))) !== undefined;
}
