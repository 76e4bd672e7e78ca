import { at, type System } from '../../firstboot/system.ts';
import type { Condition } from '../alerts/condition.ts';
import { readForeignJson } from '../foreign-file.ts';
import { portmapStatus, statusFile } from './view.ts';

/** What the owner should know of the router: it does not let the VPN in, though it is asked to. */
export async function routerConditions(system: System): Promise<Condition[]> {
  const found = portmapStatus.safeParse(await readForeignJson(at(system, statusFile)));
  if (!found.success || found.data.state === 'off') return [];
  const { state, summary } = found.data;
  const active = state === 'refused' || state === 'error';
  return [
    {
      source: 'router:mapping',
      active,
      severity: 'warning',
      text: active
        ? `${summary}. See: sudo pi-gateway router status`
        : 'The router lets the VPN in again',
      needs: ['check:uplink'],
    },
  ];
}
