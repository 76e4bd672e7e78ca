import * as z from 'zod';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { lastResult } from './last.ts';
import { automaticUpdates, pendingPackages, refreshedAt } from './packages.ts';
import { runtimeVerbs } from './runtime/verbs.ts';
import { started, type UpdatesState, updateKinds, updatesState } from './view.ts';

const none = z.strictObject({});

/** Seconds until the device restarts: the answer gets out before. */
const rebootDelay = 5;

/** Outside the helper's sandbox: a package's scripts may do anything. */
const units = {
  refresh: 'pi-gateway-update@refresh.service',
  security: 'pi-gateway-update@security.service',
  all: 'pi-gateway-update@all.service',
  automatic: 'apt-daily-upgrade.service',
} as const;

export const updateVerbs = {
  ...runtimeVerbs,
  'updates.list': defineVerb({
    summary: 'Lists updates that wait, and how the last ones went',
    args: none,
    result: updatesState,
    changes: false,
    run: state,
  }),
  'updates.refresh': defineVerb({
    summary: 'Fetches the lists of packages',
    args: none,
    result: started,
    changes: true,
    run: (system) => start(system, 'refresh'),
  }),
  'updates.apply': defineVerb({
    summary: 'Installs updates',
    args: z.strictObject({ what: z.enum(updateKinds).default('security') }),
    result: started,
    changes: true,
    run: (system, { what }) => start(system, what),
  }),
  'system.reboot': defineVerb({
    summary: 'Restarts the device',
    args: none,
    result: z.object({ seconds: z.number().int() }),
    changes: true,
    run: async (system) => {
      const active = await running(system);
      if (active !== null && active !== 'refresh')
        throw new GatewayError(
          'An update is under way: a restart now could leave half of it',
          'Wait for its end: sudo pi-gateway update status',
          'conflict',
        );
      await system.run('systemd-run', [
        '--quiet',
        '--unit=pi-gateway-reboot',
        `--on-active=${rebootDelay}s`,
        '--timer-property=AccuracySec=100ms',
        'systemctl',
        'reboot',
      ]);
      return { seconds: rebootDelay };
    },
  }),
} as const;

async function state(system: System): Promise<UpdatesState> {
  const [packages, refreshed, active, automatic, last, required, asking] = await Promise.all([
    pendingPackages(system),
    refreshedAt(system),
    running(system),
    automaticUpdates(system),
    lastResult(system),
    readIfThere(at(system, '/run/reboot-required')),
    readIfThere(at(system, '/run/reboot-required.pkgs')),
  ]);
  const names = (asking ?? '').split('\n').filter((line) => line.trim() !== '');
  return {
    packages,
    refreshed_at: refreshed,
    running: active,
    reboot_required: required !== undefined,
    reboot_packages: [...new Set(names)],
    ...automatic,
    last,
  };
}

/** What is under way; a unit of type oneshot is activating as long as it works. */
async function running(system: System): Promise<UpdatesState['running']> {
  const text = await system.run('systemctl', [
    'show',
    '--property=Id,ActiveState',
    ...Object.values(units),
  ]);
  for (const [what, unit] of Object.entries(units))
    if (
      new RegExp(`Id=${unit}\\nActiveState=activating|ActiveState=activating\\nId=${unit}`).test(
        text,
      )
    )
      return what as keyof typeof units;
  return null;
}

async function start<W extends 'refresh' | 'security' | 'all'>(
  system: System,
  what: W,
): Promise<{ started: W }> {
  const active = await running(system);
  if (active !== null)
    throw new GatewayError(
      `Something of this kind is under way already: ${active}`,
      'Wait for its end: sudo pi-gateway update status',
      'conflict',
    );
  await system.run('systemctl', ['start', '--no-block', units[what]]);
  return { started: what };
}
