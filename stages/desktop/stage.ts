import { z } from 'zod';
import { addressIn, port } from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

const program = z.strictObject({
  title: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$/,
      'must be 1 to 40 of A-Z, a-z, 0-9, space, dot, - and _',
    )
    .describe('In the menu'),
  command: z
    .string()
    .regex(
      /^[a-z0-9][a-zA-Z0-9 ./_=-]{0,119}$/,
      'must be a program with its arguments, e.g. pcmanfm',
    )
    .describe('What it starts'),
  package: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.+-]+$/, "must be a Debian package's name")
    .describe('Debian package that has it; a Wayland program'),
});

const options = z.strictObject({
  port: port.default(5900).describe('TCP port, for VPN clients alone'),
  idle_minutes: z
    .number()
    .int()
    .min(1)
    .max(1440)
    .default(15)
    .describe('Minutes without a viewer after which the desktop ends'),
  network: z
    .boolean()
    .default(false)
    .describe('Lets programs on the desktop use the network; without it they reach nobody'),
  programs: z.array(program).max(20).default([]).describe('Further programs for the menu'),
});

export const desktop = defineStage({
  name: 'desktop',
  summary:
    'A remote desktop (VNC with TLS) for VPN clients: started when asked for, ends when nobody looks',
  needs: ['gateway', 'wireguard'],
  enabledByDefault: false,
  options,
  packages: (o) => [
    'wayvnc',
    'labwc',
    'foot',
    'openssl', // a certificate for each session
    ...new Set(o.programs.map((one) => one.package)),
  ],
  ports: (o) => [
    { port: o.port, protocol: 'tcp', zones: ['vpn'], path: ['port'], name: 'desktop' },
  ],
  derive: (o, config) => {
    const { wireguard } = config.stages as { wireguard?: Record<'network4', string> };
    const network = wireguard?.network4 ?? '';
    const address = addressIn(network, 1);
    return {
      address,
      network,
      facts: JSON.stringify({ address, port: o.port, idle_minutes: o.idle_minutes }),
    };
  },
  // systemd makes users by itself only when /usr is newer than /etc.
  run: async (chroot) => {
    await chroot.run('systemd-sysusers', ['/usr/lib/sysusers.d/pi-gateway-desktop.conf']);
  },
});
