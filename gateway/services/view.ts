import type * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import type { Check, Health } from '../monitor/monitor.ts';
import { remembered } from '../remembered.ts';
import type { service } from './operations.ts';
import { type PortFact, type RunningService, readPorts, readServices } from './units.ts';

export type ServiceView = z.output<typeof service>;

/** A dashboard asks each second, and several at once; systemd is asked every other. */
const state = remembered(2000, (system: System) =>
  Promise.all([readServices(system), readPorts(system)]),
);

/** Every service of this device, with what monitoring has found. */
export async function serviceViews(
  system: System,
  checks: readonly Check[],
): Promise<ServiceView[]> {
  const [running, ports] = await state(system);
  const there = new Set<string>(running.map(({ definition }) => definition.id));
  return running.map((one) => viewOf(one, ports, checks, there));
}

function viewOf(
  { definition, unit }: RunningService,
  ports: readonly PortFact[],
  checks: readonly Check[],
  there: ReadonlySet<string>,
): ServiceView {
  const check = checks.find(({ id }) => id === `unit:${unit.unit}`);
  const own = judge({ definition, unit });
  // Monitoring looks every so often; that systemd has it fail now is news.
  const watched =
    check && check.health !== 'unknown' && own.health !== 'failed' ? check : undefined;
  return {
    id: definition.id,
    title: definition.title,
    unit: unit.unit,
    state: unit.state,
    health: watched?.health ?? own.health,
    detail: watched?.detail ?? own.detail,
    since: unit.since === undefined ? null : new Date(unit.since).toISOString(),
    restarts: unit.restarts,
    memory_bytes: unit.memory ?? null,
    ports: ports
      .filter(({ name }) => definition.ports?.includes(name))
      .map(({ port, protocol, zones }) => ({ port, protocol, zones })),
    needs: definition.needs.filter((id) => there.has(id)),
    restart: definition.restart,
    note: definition.note ?? null,
  };
}

/** By what systemd says alone. */
export function judge({ unit }: RunningService): { health: Health; detail: string } {
  switch (unit.state) {
    case 'active':
      return { health: 'ok', detail: unit.sub === 'waiting' ? 'waits for its time' : 'runs' };
    case 'reloading':
      return { health: 'ok', detail: 'reads its settings' };
    case 'activating':
      return unit.sub === 'auto-restart'
        ? {
            health: 'failed',
            detail: `ended (${unit.result}) and is about to be started again, after ${unit.restarts} times`,
          }
        : { health: 'ok', detail: 'starts' };
    case 'deactivating':
      return { health: 'warning', detail: 'is being stopped' };
    case 'failed':
      return { health: 'failed', detail: `has failed: ${unit.result}` };
    default:
      return unit.enabled
        ? { health: 'failed', detail: 'does not run' }
        : { health: 'ok', detail: 'is off' };
  }
}
