import { at, readIfThere, type System } from '../../../firstboot/system.ts';
import { parseDdnsSettings } from '../../ddns/service.ts';
import { settingsPath } from '../../ddns/view.ts';
import { providerFor } from './dns.ts';

/** @returns the first of the names that no provider of dynamic DNS of this device could prove; undefined: none. */
export async function firstUnproven(
  system: System,
  names: readonly string[],
): Promise<string | undefined> {
  const text = await readIfThere(at(system, settingsPath));
  if (text === undefined) return names[0];
  const { providers } = parseDdnsSettings(text);
  return names.find((name) => providerFor(providers, name) === undefined);
}
