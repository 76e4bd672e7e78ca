import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { readPending } from '../firewall/change.ts';
import { defineVerb } from '../helper/verb.ts';
import { findService, serviceIds } from './registry.ts';
import { readUnits, unitOf } from './units.ts';

/** Milliseconds: systemd gives a service 90 s to stop (DefaultTimeoutStopSec=) and then kills it. */
const patience = 110_000;

/** The one who waits for the answer. */
const asker = 'pi-gatewayd.service';

export const serviceRestart = defineVerb({
  summary: 'Restarts a service of the gateway, or reloads it',
  args: z.strictObject({ id: z.string().max(32) }),
  result: z.strictObject({ did: z.enum(['restart', 'reload']), state: z.string() }),
  changes: true,
  run: (system, { id }) => restartService(system, id),
});

export const servicesVerbs = { 'service.restart': serviceRestart } as const;

/** @throws GatewayError for what is none of the registry's, may not be restarted, or does not come up again. */
export async function restartService(
  system: System,
  id: string,
): Promise<{ did: 'restart' | 'reload'; state: string }> {
  const definition = findService(id);
  const unit = await unitOf(system, id);
  if (!definition || unit === undefined)
    throw new GatewayError(
      definition ? `This gateway has no ${definition.title}` : `There is no service '${id}'`,
      `See sudo pi-gateway service list; there are ${serviceIds.join(', ')}`,
      'missing',
    );
  if (definition.restart === 'no')
    throw new GatewayError(
      `${definition.title} cannot be restarted: ${definition.note}`,
      'Restart the device if it must be: sudo systemctl reboot',
      'refused',
    );
  if (id === 'firewall' && (await readPending(system)))
    throw new GatewayError(
      'Rules are on trial: loading the last good ones would end it unseen',
      'Keep them: sudo pi-gateway firewall confirm; or drop them: sudo pi-gateway firewall rollback',
      'conflict',
    );
  await restart(system, unit, definition.restart);
  return {
    did: definition.restart,
    state: (await readUnits(system, [unit])).get(unit)?.state ?? '',
  };
}

async function restart(system: System, unit: string, how: 'restart' | 'reload'): Promise<void> {
  // One that failed too often is not started any more (StartLimitBurst=); its owner means it now.
  await system.run('systemctl', ['reset-failed', '--', unit]).catch(() => undefined);
  try {
    await system.run(
      'systemctl',
      [
        // Started, if it does not run; and restarted, if it cannot reload.
        how === 'reload' ? 'reload-or-restart' : 'restart',
        ...(unit === asker ? ['--no-block'] : []),
        '--',
        unit,
      ],
      { timeout: patience },
    );
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError(
      `${unit} did not come up again: ${text.split('\n')[0]}`,
      `See why: sudo pi-gateway logs --unit ${unit}`,
    );
  }
}
