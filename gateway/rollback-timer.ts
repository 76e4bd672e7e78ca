import type { System } from '../firstboot/system.ts';
import { GatewayError } from './errors.ts';

/**
 * Starts a unit in `seconds` unless it is disarmed, and sees that it will.
 * @param unit name of the service, without its suffix.
 * @param sofar what the owner is told when it cannot be armed, e.g. `Nothing was loaded.`
 * @throws GatewayError when it is not armed.
 */
export async function armRollback(
  system: System,
  unit: string,
  seconds: number,
  sofar: string,
): Promise<void> {
  try {
    // The default accuracy of a timer is a minute: systemd.timer(5).
    await system.run('systemd-run', [
      '--quiet',
      `--unit=${unit}.service`,
      `--on-active=${seconds}s`,
      '--timer-property=AccuracySec=100ms',
    ]);
    // Fails unless the timer runs.
    await system.run('systemctl', ['is-active', `${unit}.timer`]);
  } catch (cause) {
    throw new GatewayError(
      `The roll-back could not be armed: ${cause instanceof Error ? cause.message : String(cause)}`,
      `${sofar} See: systemctl status ${unit}.timer`,
    );
  }
}

export async function disarmRollback(system: System, unit: string): Promise<void> {
  await system.run('systemctl', ['stop', `${unit}.timer`]).catch(() => undefined);
}
