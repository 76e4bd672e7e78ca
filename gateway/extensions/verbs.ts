import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as z from 'zod';
import {
  at,
  makeFolder,
  type System,
  syncDirectory,
  writeDurably,
} from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { findExtension, isOn, offFile } from './installed.ts';
import { extensionStates, stateOf } from './state.ts';
import { unitsOf } from './units.ts';

/** Milliseconds: longer than systemd gives a service to stop (TimeoutStopSec= of its unit) and to start. */
const patience = 60_000;

const stateView = z.strictObject({
  state: z.enum(extensionStates),
  detail: z.string(),
  memory_bytes: z.number().nullable(),
});

export const extensionVerbs = {
  'extension.switch': defineVerb({
    summary: 'Switches an extension on or off, or restarts it',
    args: z.strictObject({
      name: z.string().max(32),
      to: z.enum(['on', 'off', 'restart']),
    }),
    result: stateView,
    changes: true,
    run: async (system, { name, to }) => await switchExtension(system, name, to),
  }),
} as const;

/** The file comes first: whatever stops in the middle, the next boot does what was asked for. */
async function switchExtension(
  system: System,
  name: string,
  to: 'on' | 'off' | 'restart',
): Promise<z.output<typeof stateView>> {
  const { manifest } = await findExtension(system, name);
  const { service, socket, ports, all } = unitsOf(manifest);
  if (service === undefined || socket === undefined)
    throw new GatewayError(
      `The extension ${name} runs nothing that could be switched`,
      'Leave it out of gateway.yaml and build the image anew',
      'conflict',
    );
  const file = at(system, offFile(name));
  if (to === 'restart' && !(await isOn(system, name)))
    throw new GatewayError(
      `The extension ${name} is switched off`,
      `Switch it on: sudo pi-gateway extension enable ${name}`,
      'conflict',
    );
  if (to === 'off') {
    // The API, without privileges, looks for it, too.
    await makeFolder(dirname(file), 0o755);
    await writeDurably(file, '', 0o644);
  }
  if (to === 'on' && !(await isOn(system, name))) {
    await rm(file, { force: true });
    await syncDirectory(dirname(file));
  }
  // Sockets first, or the next question would start it again.
  await system.run('systemctl', ['stop', '--', ...all], { timeout: patience });
  if (to !== 'off') {
    await system.run('systemctl', ['reset-failed', '--', ...all]).catch(() => undefined);
    const begun = [
      socket,
      ...ports.values(),
      ...(manifest.service?.start === 'boot' ? [service] : []),
    ];
    await system.run('systemctl', ['start', '--', ...begun], { timeout: patience });
  }
  return await stateOf(system, manifest);
}
