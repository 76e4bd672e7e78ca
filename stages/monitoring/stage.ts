import { z } from 'zod';
import { addressIn, port } from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

/** What this stage reads of the wireguard stage's options. */
type Vpn = { network4: string; network6: string };

/** A limit in percent; 0 turns it off. */
const percent = z
  .number({ error: 'must be a percentage, e.g. 90; 0 turns the alert off' })
  .int('must be a whole percentage, e.g. 90')
  .min(0, 'must be a percentage from 0 (off) to 100')
  .max(100, 'must be a percentage from 0 (off) to 100');

/** Services without which the device is no gateway: restarted when they end with an error. */
const watched = [
  'auditd.service',
  'chrony.service',
  'fail2ban.service',
  'prometheus-node-exporter.service',
  'ssh.service',
  'systemd-networkd.service',
  'systemd-resolved.service',
  'systemd-timesyncd.service',
];

export const monitoring = defineStage({
  name: 'monitoring',
  summary:
    'Limits of what is watched, restarts of services, hooks for alerts, Prometheus node exporter',
  // Its daemon is what watches.
  needs: ['gateway'],
  options: z.strictObject({
    port: port.default(9100).describe('TCP port of the exporter'),
    listen: z
      .enum(['loopback', 'vpn'])
      .default('loopback')
      .describe("Who may ask: the device itself, or the VPN's clients too"),
    limits: z
      .strictObject({
        temperature: z
          .number()
          .int()
          .min(0)
          .max(110)
          .default(80)
          .describe('°C for 3 minutes; the Pi slows down from 80 on'),
        memory: percent.default(90).describe('% in use for 3 minutes'),
        disk: percent.default(90).describe('% of the root file system'),
        wear: percent.default(80).describe("% of the flash memory's life, where it tells"),
      })
      .prefault({})
      .describe('When to alert; 0: never'),
  }),
  packages: () => ['prometheus-node-exporter'],
  ports: (o) => [{ port: o.port, protocol: 'tcp', zones: [], path: ['port'], name: 'metrics' }],
  services: () => ({
    enable: ['prometheus-node-exporter', 'pi-gateway-alerts.path'],
  }),
  derive: (o, config) => {
    const vpn = o.listen === 'vpn' ? (config.stages.wireguard as Vpn | undefined) : undefined;
    return {
      addresses: [
        `127.0.0.1:${o.port}`,
        ...(vpn
          ? [`${addressIn(vpn.network4, 1)}:${o.port}`, `[${addressIn(vpn.network6, 1)}]:${o.port}`]
          : []),
      ],
      allowed: ['localhost', ...(vpn ? [vpn.network4, vpn.network6] : [])],
    };
  },
  validate: (o, config) =>
    o.listen === 'vpn' && !config.stages.wireguard
      ? [
          {
            path: ['listen'],
            message:
              "is vpn, but the wireguard stage is off; turn it on, or take 'listen: loopback'",
          },
        ]
      : [],
  run: async (chroot) => {
    for (const unit of watched)
      await chroot.write(`/etc/systemd/system/${unit}.d/30-watch.conf`, watchDropIn);
  },
});

/**
 * systemd.unit(5): a service that fails is restarted up to 5 times in 10 minutes; then it has failed, and the
 * daemon, which looks every 10 seconds, tells.
 */
export const watchDropIn = `[Unit]
StartLimitIntervalSec=10min
StartLimitBurst=5

[Service]
Restart=on-failure
RestartSec=5s
# No failure for what is mended 5 s later.
RestartMode=direct
`;
