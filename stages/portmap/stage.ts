import { z } from 'zod';
import { defineStage } from '../define.ts';

export const portmap = defineStage({
  name: 'portmap',
  summary:
    "Asks the router before the gateway for the VPN's port: PCP, NAT-PMP, UPnP; once its owner says so",
  needs: ['gateway', 'wireguard'],
  enabledByDefault: false,
  options: z.strictObject({}),
  packages: () => ['nodejs'],
  services: () => ({ enable: ['pi-gateway-portmap.timer'] }),
  bundles: [{ entry: 'gateway/portmap/main.ts', path: '/usr/lib/pi-gateway/portmap.mjs' }],
  // systemd makes users by itself only when /usr is newer than /etc.
  run: async (chroot) => {
    await chroot.run('systemd-sysusers', ['/usr/lib/sysusers.d/pi-gateway-portmap.conf']);
  },
});
