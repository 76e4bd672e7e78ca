import type { System } from '../../firstboot/system.ts';
import { firewallApplier } from '../firewall/forwards.ts';
import { routerApplier } from '../portmap/applier.ts';
import { proxyApplier } from '../proxy/applier.ts';
import { certificateApplier } from '../tls/applier.ts';
import { tuningApplier } from '../tuning/applier.ts';
import { updatesApplier } from '../updates/applier.ts';
import type { Applier } from './applier.ts';

/** The daemon reads the file itself; systemd asks it to. Where it does not run, there is nothing to do. */
const daemonApplier: Applier = {
  areas: 'all',
  activate: (system) => reloadDaemon(system),
};

async function reloadDaemon(system: System): Promise<void> {
  const state = await system
    .run('systemctl', ['show', '--property=ActiveState', '--value', 'pi-gatewayd.service'])
    .catch(() => '');
  if (state.trim() === 'active') await system.run('systemctl', ['reload', 'pi-gatewayd.service']);
}

/** How each area comes into force, in this order. */
export const appliers: readonly Applier[] = [
  firewallApplier,
  updatesApplier,
  daemonApplier,
  certificateApplier,
  routerApplier,
  tuningApplier,
  proxyApplier,
];
