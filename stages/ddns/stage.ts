import { z } from 'zod';
import { defineStage } from '../define.ts';

export const ddns = defineStage({
  name: 'ddns',
  summary: 'Dynamic DNS: the names under which the gateway is found, with fall-back',
  needs: ['gateway', 'firstboot'],
  options: z.strictObject({
    rfc2136: z
      .boolean()
      .default(true)
      .describe('Lets the owner update a name server of their own (nsupdate, 8 MB)'),
  }),
  packages: (o) => ['nodejs', 'ca-certificates', ...(o.rfc2136 ? ['bind9-dnsutils'] : [])],
  services: () => ({ enable: ['pi-gateway-ddns.timer'] }),
  bundles: [{ entry: 'gateway/ddns/main.ts', path: '/usr/lib/pi-gateway/ddns.mjs' }],
  // systemd makes users by itself only when /usr is newer than /etc.
  run: async (chroot) => {
    await chroot.run('systemd-sysusers', ['/usr/lib/sysusers.d/pi-gateway-ddns.conf']);
  },
});
