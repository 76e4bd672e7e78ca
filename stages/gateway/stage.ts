import { z } from 'zod';
import { port, zone } from '../../builder/config/fields.ts';
import { type Chroot, defineStage, type GatewayConfig } from '../define.ts';
import { type FirewallOptions, firewallOptions } from '../firewall/options.ts';
import { policyOf } from '../firewall/zones.ts';

const options = z.strictObject({
  port: port.default(8443).describe('TCP port of the API and the dashboard'),
  zones: z
    .array(zone)
    .default(['lan', 'vpn'])
    .describe('Zones that it answers to, besides the gateway itself; never wan'),
  runtime_keys: z
    .array(
      z
        .string()
        .regex(
          /^RW[A-Za-z0-9+/]{54}$/,
          "must be the second line of minisign's public key: RW…, 56 characters",
        ),
    )
    .default([])
    .describe('Public keys of whom the device takes updates of its own programs; none: of nobody'),
  dashboard: z.boolean().default(true).describe('The web dashboard, beside the API'),
});

type Options = z.output<typeof options>;

/** What a runtime is made of, by the programs' names; builder/runtime packs the same. */
export const runtimePrograms: Readonly<Record<string, string>> = {
  cli: 'gateway/cli.ts',
  daemon: 'gateway/daemon.ts',
  helper: 'gateway/helper/main.ts',
  settings: 'gateway/settings/main.ts',
  tls: 'gateway/tls/main.ts',
  update: 'gateway/updates/main.ts',
  'runtime-update': 'gateway/updates/runtime/main.ts',
};
export const runtimeDashboard = {
  html: 'gateway/web/index.html',
  worker: 'gateway/web/service-worker.ts',
};

export const gateway = defineStage({
  name: 'gateway',
  summary: 'The gateway at work: monitoring, API and dashboard, and its command pi-gateway',
  needs: ['system'],
  options,
  packages: () => [
    'nodejs',
    'openssl', // the API's certificate
    'logrotate',
    'bash-completion', // sudo pi-gateway <Tab>
  ],
  bundles: [
    { entry: 'gateway/program-start.ts', path: '/usr/bin/pi-gateway' },
    ...Object.entries(runtimePrograms).flatMap(([name, entry]) => [
      { entry, path: `/usr/lib/pi-gateway/runtime/${name}.mjs` },
      ...(name === 'cli'
        ? []
        : [{ entry: 'gateway/program-start.ts', path: `/usr/lib/pi-gateway/${name}.mjs` }]),
    ]),
  ],
  assets: [{ ...runtimeDashboard, folder: '/usr/share/pi-gateway/dashboard' }],
  services: () => ({
    enable: [
      'pi-gateway-cleanup.timer',
      'pi-gateway-helper.socket',
      'pi-gateway-runtime-recover.service',
      'pi-gateway-settings.service',
      'pi-gateway-state.socket',
      'pi-gateway-tls.timer',
      'pi-gatewayd.service',
    ],
  }),
  ports: (o) => [{ port: o.port, protocol: 'tcp', zones: o.zones, path: ['port'], name: 'api' }],
  derive: (o, config) => {
    const addresses = addressesOf(o, config);
    return {
      listen: addresses.map((one) =>
        one.includes(':') ? `[${one}]:${o.port}` : `${one}:${o.port}`,
      ),
      daemon: {
        port: o.port,
        addresses,
        dashboard: o.dashboard,
        stages: Object.keys(config.stages).toSorted(),
      },
    };
  },
  validate: (o) =>
    o.zones.flatMap((name, index) =>
      name === 'wan'
        ? [
            {
              path: ['zones', index],
              message:
                'is wan: the whole internet could try to log in. Take it out; from outside, come through the VPN',
            },
          ]
        : [],
    ),
  // Before anything is given to the user; systemd makes it by itself only when /usr is newer than /etc.
  run: async (chroot) => {
    await chroot.run('systemd-sysusers', ['/usr/lib/sysusers.d/pi-gateway.conf']);
    await writeCompletion(chroot);
  },
});

/** The gateway's own addresses in the zones that the API answers to, after those of loopback. */
function addressesOf(o: Options, config: GatewayConfig): string[] {
  // Without the firewall stage there is one zone whose address is known: the VPN.
  const firewall =
    (config.stages.firewall as FirewallOptions | undefined) ?? firewallOptions.parse({});
  const own = policyOf(firewall, config)
    .zones.filter(({ name }) => name !== 'wan' && o.zones.includes(name))
    .flatMap((one) => one.addresses);
  return [...new Set(['127.0.0.1', '::1', ...own])];
}

/** Of the commands as they are; what they are made of is loaded only where an image is made. */
async function writeCompletion(chroot: Chroot): Promise<void> {
  const { makeProgram } = await import('../../gateway/program.ts');
  const { completionFiles } = await import('../../gateway/completion/files.ts');
  for (const [path, text] of completionFiles(await makeProgram())) await chroot.write(path, text);
}
