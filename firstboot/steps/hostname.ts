import { readSettings } from '../settings.ts';
import type { Step } from '../step.ts';
import { at, readIfThere, writeDurably } from '../system.ts';

/** In the files alone: the unit's ExecStopPost= names the running machine, which this process may not. */
export const hostName: Step = {
  name: 'hostname',
  needs: ['settings'],
  check: async (system) => {
    const wanted = (await readSettings(system)).hostname;
    const now = (await readIfThere(at(system, '/etc/hostname')))?.trim();
    return wanted === undefined || wanted === now;
  },
  apply: async (system) => {
    const wanted = (await readSettings(system)).hostname;
    if (!wanted) return;
    const hosts = (await readIfThere(at(system, '/etc/hosts'))) ?? '127.0.0.1 localhost\n';
    const others = hosts.split('\n').filter((line) => line !== '' && !line.startsWith('127.0.1.1'));
    await writeDurably(
      at(system, '/etc/hosts'),
      `${[...others, `127.0.1.1 ${wanted}`].join('\n')}\n`,
    );
    await writeDurably(at(system, '/etc/hostname'), `${wanted}\n`);
  },
};
