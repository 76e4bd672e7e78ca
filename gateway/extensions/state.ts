import type { System } from '../../firstboot/system.ts';
import { readUnits } from '../services/units.ts';
import { isOn } from './installed.ts';
import type { Manifest } from './manifest.ts';
import { unitsOf } from './units.ts';

/** waits: it is started when somebody asks; runs; failed; off: an owner has switched it off; files: it is files alone. */
export const extensionStates = ['waits', 'runs', 'failed', 'off', 'files', 'refused'] as const;

export type ExtensionState = {
  state: (typeof extensionStates)[number];
  /** In words. */
  detail: string;
  memory_bytes: number | null;
};

/** How an extension is, by what systemd says. */
export async function stateOf(system: System, manifest: Manifest): Promise<ExtensionState> {
  const { service, socket, ports } = unitsOf(manifest);
  if (service === undefined || socket === undefined)
    return { state: 'files', detail: 'It runs nothing', memory_bytes: null };
  if (!(await isOn(system, manifest.name)))
    return {
      state: 'off',
      detail: `Switched off; on again: sudo pi-gateway extension enable ${manifest.name}`,
      memory_bytes: null,
    };
  const units = await readUnits(system, [service, socket, ...ports.values()]);
  const own = units.get(service);
  const failed = [...units.values()].find(({ state }) => state === 'failed');
  if (failed)
    return {
      state: 'failed',
      detail: `${failed.unit} has failed (${failed.result}); try again: sudo pi-gateway extension restart ${manifest.name}`,
      memory_bytes: null,
    };
  if (own?.state === 'active')
    return { state: 'runs', detail: 'It runs', memory_bytes: own.memory ?? null };
  if (own?.sub === 'auto-restart')
    return {
      state: 'failed',
      detail: `It ends (${own.result}) and is started again, ${own.restarts} times so far`,
      memory_bytes: null,
    };
  const isReady = units.get(socket)?.state === 'active';
  return isReady
    ? { state: 'waits', detail: 'It is started when it is asked', memory_bytes: null }
    : {
        state: 'failed',
        detail: `It does not run; start it: sudo pi-gateway extension restart ${manifest.name}`,
        memory_bytes: null,
      };
}
