/**
 * reload: keeps connections and what is in force, so it is what a restart means here; no: a restart would cut
 * everybody off, or is none.
 */
export type Restart = 'restart' | 'reload' | 'no';

/** What runs on a gateway, whether this one has it or not. */
export type ServiceDefinition = {
  id: string;
  title: string;
  /** The first that this device has is the one. */
  units: readonly string[];
  /** Names of its ports, as stages call them: stages/define.ts. */
  ports?: readonly string[];
  /** Services without which it cannot be well. */
  needs: readonly string[];
  restart: Restart;
  /** What a restart means for others, or why there is none. */
  note?: string;
};

/** What others need stands first; so a list of it reads from the ground up. */
export const registry = [
  {
    id: 'firewall',
    title: 'Firewall',
    units: ['nftables.service'],
    needs: [],
    restart: 'reload',
    note: 'Loads /etc/nftables.conf anew, in one piece; connections stay',
  },
  {
    id: 'network',
    title: 'Network interfaces',
    units: ['NetworkManager.service', 'systemd-networkd.service'],
    ports: ['dhcp'],
    needs: [],
    restart: 'reload',
    note: 'Reads its settings anew; interfaces stay up',
  },
  {
    id: 'dns',
    title: 'Name resolution',
    units: ['systemd-resolved.service', 'dnsmasq.service', 'unbound.service'],
    ports: ['dns'],
    needs: ['network'],
    restart: 'restart',
    note: 'For a second no name is answered',
  },
  {
    id: 'time',
    title: 'Clock',
    units: ['chrony.service', 'systemd-timesyncd.service'],
    needs: ['network', 'dns'],
    restart: 'restart',
  },
  {
    id: 'ssh',
    title: 'SSH',
    units: ['ssh.service'],
    ports: ['ssh'],
    needs: ['network', 'firewall'],
    restart: 'reload',
    note: 'Its settings are tested first; open sessions stay',
  },
  {
    id: 'ban',
    title: 'Bans of who guesses passwords',
    units: ['fail2ban.service'],
    needs: ['ssh', 'firewall'],
    restart: 'restart',
    note: 'Bans are kept',
  },
  {
    id: 'vpn',
    title: 'VPN (WireGuard)',
    units: ['wg-quick@wg0.service'],
    ports: ['wireguard'],
    needs: ['network', 'firewall'],
    restart: 'restart',
    note: 'Clients are cut off for some seconds and come back by themselves',
  },
  {
    id: 'ddns',
    title: 'Dynamic DNS',
    units: ['pi-gateway-ddns.timer'],
    needs: ['network', 'dns', 'time'],
    restart: 'restart',
    note: 'Looks for a new address within seconds',
  },
  {
    id: 'portmap',
    title: 'Port mapping in the router',
    units: ['pi-gateway-portmap.timer'],
    needs: ['network', 'vpn'],
    restart: 'restart',
    note: 'The router is asked again within a minute',
  },
  {
    id: 'desktop',
    title: 'Remote desktop',
    units: ['pi-gateway-desktop.service'],
    ports: ['desktop'],
    needs: ['network', 'vpn'],
    restart: 'no',
    note: 'It is started by: sudo pi-gateway desktop start, which shows its password',
  },
  {
    id: 'dashboard',
    title: 'API, dashboard and monitoring',
    units: ['pi-gatewayd.service'],
    ports: ['api'],
    needs: ['network'],
    restart: 'restart',
    note: 'For a few seconds there is no answer; who is logged in stays so',
  },
  {
    id: 'proxy',
    title: 'Services by name (TLS proxy)',
    units: ['pi-gateway-proxy.service'],
    ports: ['proxy', 'proxy-http'],
    needs: ['network', 'firewall'],
    restart: 'reload',
    note: 'Takes its settings and certificates anew; connections stay',
  },
  {
    id: 'certificates',
    title: 'Renewal of certificates',
    units: ['pi-gateway-certificates.timer'],
    needs: ['time'],
    restart: 'restart',
    note: 'Looks within a minute',
  },
  {
    id: 'helper',
    title: "The API's helper",
    units: ['pi-gateway-helper.socket'],
    needs: [],
    restart: 'no',
    note: 'It starts when something is asked of it, and ends by itself',
  },
  {
    id: 'metrics',
    title: 'Metrics for Prometheus (node exporter)',
    units: ['prometheus-node-exporter.service'],
    ports: ['metrics'],
    needs: [],
    restart: 'restart',
  },
  {
    id: 'updates',
    title: 'Automatic updates',
    units: ['apt-daily-upgrade.timer'],
    needs: ['network', 'dns', 'time'],
    restart: 'restart',
  },
  {
    id: 'backup',
    title: 'Backups',
    units: ['pi-gateway-backup.timer'],
    needs: ['network', 'dns', 'time'],
    restart: 'restart',
    note: 'Looks within the hour whether one is due',
  },
  {
    id: 'audit',
    title: 'Audit record',
    units: ['auditd.service'],
    needs: [],
    restart: 'no',
    note: 'auditd takes a restart of the device alone, so that nobody can stop the record',
  },
  {
    id: 'log',
    title: 'Journal',
    units: ['systemd-journald.service'],
    needs: [],
    restart: 'no',
    note: 'Services that write to it would lose their connection',
  },
] as const satisfies readonly ServiceDefinition[];

export type ServiceId = (typeof registry)[number]['id'];

export const serviceIds: readonly string[] = registry.map(({ id }) => id);

export function findService(id: string): ServiceDefinition | undefined {
  return registry.find((one) => one.id === id);
}
