import * as z from 'zod';
import { keyName } from '../../../builder/trust/minisign.ts';
import type { System } from '../../../firstboot/system.ts';
import { GatewayError } from '../../errors.ts';
import { defineVerb } from '../../helper/verb.ts';
import { readDeviceSettings } from '../../settings/read.ts';
import { version } from '../../version.ts';
import { trustedKeys } from './run.ts';
import { currentRuntime, readState } from './store.ts';
import {
  type RuntimeTask,
  type RuntimeView,
  runtimeStarted,
  runtimeTasks,
  runtimeView,
} from './view.ts';

const unitOf = (task: RuntimeTask) => `pi-gateway-runtime@${task}.service`;

/** The work is done outside of the helper, which speaks with nobody and may not write programs. */
export const runtimeVerbs = {
  'updates.runtime': defineVerb({
    summary: "The gateway's own programs: which run, which are to be had",
    args: z.strictObject({}),
    result: runtimeView,
    changes: false,
    run: view,
  }),
  'updates.runtime_start': defineVerb({
    summary: "Looks for the gateway's own programs, installs them, or goes back",
    args: z.strictObject({ task: z.enum(runtimeTasks) }),
    result: runtimeStarted,
    changes: true,
    run: async (system, { task }) => {
      const running = await runningTask(system);
      if (running !== null)
        throw new GatewayError(
          `Something of this kind is under way already: ${running}`,
          'Wait for its end: sudo pi-gateway update runtime status',
          'conflict',
        );
      await system.run('systemctl', ['start', '--no-block', unitOf(task)]);
      return { started: task };
    },
  }),
} as const;

async function view(system: System): Promise<RuntimeView> {
  const [state, installed, running, { settings }, keys] = await Promise.all([
    readState(system),
    currentRuntime(system),
    runningTask(system),
    readDeviceSettings(system),
    trustedKeys(system).catch(() => []),
  ]);
  return {
    version: installed ?? version,
    installed: installed !== null,
    previous: state.previous,
    url: settings.updates.runtime.url ?? null,
    keys: keys.map(({ id }) => keyName(id)),
    running,
    checked_at: state.checked_at,
    available: state.available,
    problem: state.problem,
    last: state.last,
  };
}

/** A unit of type oneshot is activating as long as it works. */
async function runningTask(system: System): Promise<RuntimeTask | null> {
  const text = await system.run('systemctl', [
    'show',
    '--property=Id,ActiveState',
    ...runtimeTasks.map(unitOf),
  ]);
  const busy = text.split('\n\n').find((block) => /^ActiveState=(de)?activating$/m.test(block));
  return runtimeTasks.find((task) => busy?.includes(`Id=${unitOf(task)}`)) ?? null;
}
