import { createHmac } from 'node:crypto';
import { at, readIfThere, type System } from './system.ts';

/** Ours among the applications that machine-id(5) tells apart. */
const application = Buffer.from('6f0d5c6a3b8e4d5f9a417c2e8b1d90f3', 'hex');

/**
 * A name for this device that may be told to everybody, 12 hex digits. The machine-id may not: with it
 * others derive what is secret to them (machine-id(5)). sd_id128_get_machine_app_specific(3):
 * HMAC-SHA256 of the application's id, keyed by the machine's, cut short.
 * @throws Error while there is no machine-id.
 */
export async function deviceId(system: System): Promise<string> {
  const id = (await readIfThere(at(system, '/etc/machine-id')))?.trim() ?? '';
  if (!/^[0-9a-f]{32}$/.test(id)) throw new Error('/etc/machine-id is not made yet');
  const full = createHmac('sha256', Buffer.from(id, 'hex')).update(application).digest('hex');
  return full.slice(0, 12);
}
