import { z } from 'zod';
import { proxyZones } from '../../gateway/proxy/facts.ts';
import { defineStage, type GatewayConfig } from '../define.ts';
import { type FirewallOptions, firewallOptions } from '../firewall/options.ts';
import { policyOf } from '../firewall/zones.ts';

/** Not an option: a name in a browser's address bar has these. */
const httpsPort = 443;
const httpPort = 80;

const options = z.strictObject({
  zones: z
    .array(z.enum(proxyZones, { error: 'must be lan or vpn: the internet has no business here' }))
    .min(1, 'must have at least one zone')
    .default([...proxyZones])
    .describe('Zones that it answers to'),
  acme: z
    .boolean()
    .default(false)
    .describe('Lets the owner have certificates of a public CA (uacme, 200 kB)'),
});

type Options = z.output<typeof options>;

export const proxy = defineStage({
  name: 'proxy',
  summary: 'Certificates for services, and a proxy that serves them by name with TLS',
  needs: ['gateway', 'firstboot'],
  enabledByDefault: false,
  options,
  packages: (o) => [
    'haproxy',
    'nodejs',
    'openssl',
    'ca-certificates', // services that are reached by TLS
    ...(o.acme ? ['uacme', 'bind9-dnsutils'] : []),
  ],
  services: (o) => ({
    enable: [
      'pi-gateway-certificates.service',
      'pi-gateway-certificates.timer',
      'pi-gateway-proxy.socket',
      'pi-gateway-proxy.service',
      ...(o.acme ? ['pi-gateway-acme.timer'] : []),
    ],
    // Debian's own, which listens with its own configuration.
    disable: ['haproxy.service'],
    mask: ['haproxy.service'],
  }),
  bundles: [
    { entry: 'gateway/proxy/main.ts', path: '/usr/lib/pi-gateway/certificates.mjs' },
    { entry: 'gateway/proxy/acme/main.ts', path: '/usr/lib/pi-gateway/acme.mjs' },
  ],
  ports: (o) => [
    { port: httpsPort, protocol: 'tcp', zones: o.zones, path: ['zones'], name: 'proxy' },
    { port: httpPort, protocol: 'tcp', zones: o.zones, path: ['zones'], name: 'proxy-http' },
  ],
  derive: (o, config) => {
    const zones = zonesOf(o, config);
    const addresses = zones.flatMap((zone) => zone.addresses);
    const at = (port: number) =>
      addresses.map((one) => (one.includes(':') ? `[${one}]:${port}` : `${one}:${port}`));
    return {
      listen: [...at(httpsPort), ...at(httpPort)],
      facts: { zones, acme: o.acme },
    };
  },
  validate: (o, config) =>
    zonesOf(o, config).length > 0
      ? []
      : [
          {
            path: ['zones'],
            message:
              'has no zone in which the gateway has an address of its own: turn the VPN on (stages.wireguard), or give stages.firewall.zones.lan an address',
          },
        ],
  run: async (chroot) => {
    await chroot.run('systemd-sysusers', ['/usr/lib/sysusers.d/pi-gateway-proxy.conf']);
  },
});

/** Those of the zones in which the gateway has an address, with the networks that their clients are in. */
function zonesOf(o: Options, config: GatewayConfig) {
  // Without the firewall stage there is one zone whose address is known: the VPN.
  const firewall =
    (config.stages.firewall as FirewallOptions | undefined) ?? firewallOptions.parse({});
  const policy = policyOf(firewall, config);
  return o.zones.flatMap((name) => {
    const zone = policy.zones.find((one) => one.name === name);
    return zone && zone.addresses.length > 0
      ? [{ name, addresses: zone.addresses, networks: zone.networks }]
      : [];
  });
}
