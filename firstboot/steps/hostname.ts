import { hostsWith, servedAddresses } from '../hosts.ts';
import { readSettings } from '../settings.ts';
import type { Step } from '../step.ts';
import { at, readIfThere, type System, writeDurably } from '../system.ts';

const hostsFile = '/etc/hosts';

/** In the files alone: the unit's ExecStopPost= names the running machine, which this process may not. */
export const hostName: Step = {
  name: 'hostname',
  needs: ['settings'],
  check: async (system) => {
    const { wanted, now, hosts } = await names(system);
    return wanted === now && hosts === (await readIfThere(at(system, hostsFile)));
  },
  apply: async (system) => {
    const { wanted, now, hosts } = await names(system);
    await writeDurably(at(system, hostsFile), hosts);
    if (wanted !== now) await writeDurably(at(system, '/etc/hostname'), `${wanted}\n`);
  },
};

async function names(system: System): Promise<{ wanted: string; now: string; hosts: string }> {
  const now = (await readIfThere(at(system, '/etc/hostname')))?.trim() || 'pi-gateway';
  const wanted = (await readSettings(system)).hostname ?? now;
  const before = (await readIfThere(at(system, hostsFile))) ?? '127.0.0.1 localhost\n';
  return { wanted, now, hosts: hostsWith(before, wanted, await servedAddresses(system)) };
}
