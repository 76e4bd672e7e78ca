import { z } from 'zod';
import { defineStage } from '../define.ts';

export const firstboot = defineStage({
  name: 'firstboot',
  summary: "First boot: this device's own keys, its owner's settings, the whole card",
  needs: ['ssh', 'system'],
  options: z.strictObject({
    keyboard: z
      .boolean()
      .default(true)
      .describe(
        'Lets the owner choose the layout of a keyboard at the device (console-setup, 11 MB)',
      ),
    locales: z
      .boolean()
      .default(true)
      .describe('Lets the owner choose a locale, as Raspberry Pi Imager does (locales, 16 MB)'),
  }),
  packages: (o) => [
    'nodejs',
    'openssl', // signs the internal CA's root
    ...(o.keyboard ? ['console-setup', 'keyboard-configuration'] : []),
    ...(o.locales ? ['locales'] : []),
  ],
  services: () => ({
    enable: ['pi-gateway-firstboot.service', 'pi-gateway-grow.service'],
    mask: [
      // It makes keys only on what systemd calls a first boot, and skips files of zero bytes.
      'sshd-keygen.service',
      // Fonts for a console that nobody reads; keyboard-setup.service has the layout.
      'console-setup.service',
    ],
  }),
  bundles: [
    { entry: 'firstboot/main.ts', path: '/usr/lib/pi-gateway/firstboot.mjs' },
    { entry: 'firstboot/grow.ts', path: '/usr/lib/pi-gateway/grow.mjs' },
  ],
  run: async (chroot, _options, config) => {
    const { admin } = config.stages.system as { admin: string };
    await chroot.write('/usr/share/pi-gateway/firstboot.json', `${JSON.stringify({ admin })}\n`);
  },
});
