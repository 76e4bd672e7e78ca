import { BuildError } from '../../builder/errors.ts';
import { type Chroot, defineStage, type Port } from '../define.ts';
import { checkFirewall } from './check.ts';
import { hasServedZone, served, setUpNetwork } from './network.ts';
import { type FirewallOptions, firewallOptions } from './options.ts';
import { ruleValues } from './rules.ts';

export const firewall = defineStage({
  name: 'firewall',
  summary: 'nftables: nothing in and nothing through but what the zone table and the stages open',
  options: firewallOptions,
  packages: (o) => ['nftables', ...(hasServedZone(o) ? ['systemd-resolved'] : [])],
  services: () => ({ enable: ['nftables'] }),
  ports: zoneServices,
  derive: ruleValues,
  validate: checkFirewall,
  run: async (chroot, o) => {
    await checkRules(chroot, '/etc/nftables.conf');
    await checkRules(chroot, '/usr/lib/pi-gateway/firewall-closed.nft');
    await setUpNetwork(chroot, o);
  },
});

/** DNS and DHCP for the zones that the gateway has an address in; container runtimes bring their own DNS. */
function zoneServices(o: FirewallOptions): Port[] {
  const named = served.filter((zone) => o.zones[zone].address4 || o.zones[zone].address6);
  const dns = {
    port: 53,
    path: ['zones'],
    name: 'dns',
    zones: [...named, ...(o.zones.containers.interfaces.length > 0 ? ['containers' as const] : [])],
  };
  const ports: Port[] = [
    { ...dns, protocol: 'udp' },
    { ...dns, protocol: 'tcp' },
    {
      port: 67,
      protocol: 'udp',
      path: ['zones'],
      name: 'dhcp',
      zones: served.filter((zone) => o.zones[zone].address4 && o.zones[zone].dhcp),
    },
  ];
  return ports.filter((port) => port.zones.length > 0);
}

/**
 * Lets nft(8) and this machine's kernel check rules as the device would load them, in a network
 * namespace of its own. In chroots of another architecture nft runs natively (builder/tools): QEMU
 * has no netlink for it.
 */
async function checkRules(chroot: Chroot, path: string): Promise<void> {
  try {
    await chroot.run('unshare', ['--net', 'nft', '--check', '--file', path]);
  } catch (cause) {
    throw new BuildError({
      what: 'nft refuses the firewall rules',
      where: path,
      detail: cause instanceof BuildError ? cause.detail : undefined,
      fix: "Mend the rule that it shows. Where it says 'Operation not supported', this machine's kernel lacks nf_tables: modprobe nf_tables",
      cause,
    });
  }
}
