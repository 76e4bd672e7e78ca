import type { Step } from '../step.ts';
import { at, readIfThere } from '../system.ts';

/**
 * systemd makes the id when the image's "uninitialized" is found, and writes it as soon as it can:
 * machine-id(5), systemd-machine-id-commit.service(8). Here it is made sure of.
 */
export const machineId: Step = {
  name: 'machine-id',
  check: async (system) => isMachineId(await readIfThere(at(system, '/etc/machine-id'))),
  apply: async (system) => {
    await system.run('systemd-machine-id-setup', []);
  },
};

export function isMachineId(text: string | undefined): boolean {
  return text !== undefined && /^[0-9a-f]{32}\n?$/.test(text) && !/^0+\n?$/.test(text);
}
