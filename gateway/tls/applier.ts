import type { Applier } from '../settings/applier.ts';

/** Further names of the gateway (`api.names`) are in its certificate, too; the daemon is started anew with it. */
export const certificateApplier: Applier = {
  areas: ['api'],
  activate: async (system) => {
    await system.run('systemctl', ['start', '--no-block', 'pi-gateway-tls.service']);
  },
};
