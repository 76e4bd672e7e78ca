/** Everything that is measured. The dashboard, the history, /metrics and docs/monitoring.md go by it. */

export type Entry = {
  /** UCUM or a word: %, By, By/s, Cel, s, 1/s, 1. */
  unit: string;
  /** What it is, as a title in the dashboard and as HELP in /metrics. */
  title: string;
  /** Name in /metrics after `pi_gateway_`. */
  metric: string;
  /** Name of the label in /metrics, where there are several. */
  label?: string;
  /** Counter in /metrics of what this is the rate of. */
  counter?: string;
  /** Not in the history: it hardly changes, or follows from others. */
  momentary?: true;
  /**
   * Has a usual value at each hour of the week (hints.ts): compared by its ratio or by its difference. `least`
   * is what is no news in any case, in the series' own unit.
   */
  usual?: { by: 'ratio' | 'difference'; least: number };
};

const catalogueOf = <K extends string>(entries: Record<K, Entry>) => entries;

export const catalogue = catalogueOf({
  'cpu.used': {
    unit: '%',
    title: 'Processor in use, all cores together',
    metric: 'cpu_used_percent',
    usual: { by: 'difference', least: 20 },
  },
  'cpu.busiest': {
    unit: '%',
    title: 'The busiest core in use',
    metric: 'cpu_busiest_core_percent',
  },
  'cpu.iowait': { unit: '%', title: 'Processor waits for the disk', metric: 'cpu_iowait_percent' },
  'load.1m': { unit: '1', title: 'Load, over a minute', metric: 'load1' },
  'load.5m': { unit: '1', title: 'Load, over 5 minutes', metric: 'load5', momentary: true },
  'load.15m': { unit: '1', title: 'Load, over 15 minutes', metric: 'load15', momentary: true },
  'tasks.count': { unit: '1', title: 'Processes and their threads', metric: 'tasks' },
  'memory.used': {
    unit: '%',
    title: 'Memory in use',
    metric: 'memory_used_percent',
    usual: { by: 'difference', least: 15 },
  },
  'memory.available': {
    unit: 'By',
    title: 'Memory that programs can still have',
    metric: 'memory_available_bytes',
    momentary: true,
  },
  'memory.total': {
    unit: 'By',
    title: 'Memory of the device',
    metric: 'memory_total_bytes',
    momentary: true,
  },
  'swap.used': { unit: '%', title: 'Swap in use', metric: 'swap_used_percent' },
  'zram.memory': {
    unit: 'By',
    title: 'Memory that compressed swap takes',
    metric: 'zram_memory_bytes',
    momentary: true,
  },
  'pressure.cpu': {
    unit: '%',
    title: 'Time in which a program waited for the processor, over a minute',
    metric: 'pressure_cpu_percent',
    momentary: true,
  },
  'pressure.memory': {
    unit: '%',
    title: 'Time in which a program waited for memory, over a minute',
    metric: 'pressure_memory_percent',
  },
  'pressure.io': {
    unit: '%',
    title: 'Time in which a program waited for the disk, over a minute',
    metric: 'pressure_io_percent',
  },
  'heat.temperature': {
    unit: 'Cel',
    title: 'The hottest sensor',
    metric: 'temperature_celsius',
    usual: { by: 'difference', least: 8 },
  },
  'heat.throttled': {
    unit: '1',
    title: 'Bits of the firmware (vcgencmd get_throttled)',
    metric: 'throttled',
    momentary: true,
  },
  'power.low': {
    unit: '1',
    title: 'Under-voltage now',
    metric: 'under_voltage',
  },
  'heat.slowed': {
    unit: '1',
    title: 'The processor is slowed down by heat or a weak supply',
    metric: 'slowed_down',
  },
  'disk.used': {
    unit: '%',
    title: 'File system in use',
    metric: 'filesystem_used_percent',
    label: 'mount',
  },
  'disk.free': {
    unit: 'By',
    title: 'Free space of the file system',
    metric: 'filesystem_free_bytes',
    label: 'mount',
    momentary: true,
  },
  'disk.inodes': {
    unit: '%',
    title: 'Inodes of the file system in use',
    metric: 'filesystem_inodes_used_percent',
    label: 'mount',
    momentary: true,
  },
  'disk.read_only': {
    unit: '1',
    title: 'The file system takes no writes any more',
    metric: 'filesystem_read_only',
    label: 'mount',
    momentary: true,
  },
  'disk.full_in': {
    unit: 's',
    title: 'Until the file system is full, if it grows as in the last week',
    metric: 'filesystem_full_in_seconds',
    label: 'mount',
    momentary: true,
  },
  'disk.written': {
    unit: 'By/s',
    title: 'Written to the disk',
    metric: 'disk_written_bytes_per_second',
    label: 'device',
    counter: 'disk_written_bytes',
    usual: { by: 'ratio', least: 200_000 },
  },
  'disk.read': {
    unit: 'By/s',
    title: 'Read from the disk',
    metric: 'disk_read_bytes_per_second',
    label: 'device',
    counter: 'disk_read_bytes',
  },
  'wear.used': {
    unit: '%',
    title: "Flash memory's life that is used, in steps of ten",
    metric: 'disk_life_used_percent',
    label: 'device',
  },
  'wear.spare': {
    unit: '1',
    title: 'Spare blocks of the flash memory: 1 normal, 2 warning, 3 urgent',
    metric: 'disk_pre_eol',
    label: 'device',
    momentary: true,
  },
  'network.received': {
    unit: 'By/s',
    title: 'Received',
    metric: 'network_received_bytes_per_second',
    label: 'interface',
    counter: 'network_received_bytes',
    usual: { by: 'ratio', least: 50_000 },
  },
  'network.sent': {
    unit: 'By/s',
    title: 'Sent',
    metric: 'network_sent_bytes_per_second',
    label: 'interface',
    counter: 'network_sent_bytes',
    usual: { by: 'ratio', least: 50_000 },
  },
  'network.errors': {
    unit: '1/s',
    title: 'Packets with errors',
    metric: 'network_errors_per_second',
    label: 'interface',
    counter: 'network_errors',
    momentary: true,
  },
  'network.drops': {
    unit: '1/s',
    title: 'Packets that the interface dropped',
    metric: 'network_drops_per_second',
    label: 'interface',
    counter: 'network_drops',
    momentary: true,
  },
  'conntrack.used': {
    unit: '%',
    title: 'Table of connections in use',
    metric: 'conntrack_used_percent',
  },
  'conntrack.count': {
    unit: '1',
    title: 'Connections that the firewall follows',
    metric: 'conntrack_connections',
    usual: { by: 'ratio', least: 200 },
  },
  'vpn.clients': {
    unit: '1',
    title: 'Clients of the VPN',
    metric: 'wireguard_peers',
    momentary: true,
  },
  'vpn.connected': {
    unit: '1',
    title: 'Clients of the VPN with a handshake in the last 3 minutes',
    metric: 'wireguard_peers_connected',
  },
  'vpn.received': {
    unit: 'By/s',
    title: 'Received from the VPN client',
    metric: 'wireguard_received_bytes_per_second',
    label: 'client',
    counter: 'wireguard_received_bytes',
  },
  'vpn.sent': {
    unit: 'By/s',
    title: 'Sent to the VPN client',
    metric: 'wireguard_sent_bytes_per_second',
    label: 'client',
    counter: 'wireguard_sent_bytes',
  },
  'vpn.handshake': {
    unit: 's',
    title: 'Since the last handshake with the VPN client',
    metric: 'wireguard_handshake_age_seconds',
    label: 'client',
    momentary: true,
  },
  'firewall.packets': {
    unit: '1/s',
    title: 'Packets of a counter of the firewall',
    metric: 'firewall_packets_per_second',
    label: 'counter',
    counter: 'firewall_packets',
  },
  'uplink.latency': {
    unit: 's',
    title: 'Time until a target in the Internet answers',
    metric: 'uplink_latency_seconds',
    label: 'target',
    usual: { by: 'ratio', least: 0.05 },
  },
  'uplink.loss': {
    unit: '%',
    title: 'Attempts that a target in the Internet did not answer, of the last 20',
    metric: 'uplink_loss_percent',
    label: 'target',
  },
  'dns.time': {
    unit: 's',
    title: 'Time to resolve a name',
    metric: 'dns_seconds',
  },
  'clock.offset': {
    unit: 's',
    title: 'How far the clock is from the time server (positive: behind)',
    metric: 'clock_offset_seconds',
  },
  'check.time': {
    unit: 's',
    title: 'Time that a check took',
    metric: 'check_seconds',
    label: 'check',
  },
  'certificate.left': {
    unit: 's',
    title: 'Until the certificate ends',
    metric: 'certificate_left_seconds',
    label: 'check',
    momentary: true,
  },
  'units.failed': {
    unit: '1',
    title: 'Units of systemd that have failed',
    metric: 'failed_units',
    momentary: true,
  },
  'daemon.memory': {
    unit: 'By',
    title: 'Memory of the gateway’s own process',
    metric: 'daemon_memory_bytes',
  },
  'daemon.cpu': {
    unit: '%',
    title: 'Processor that the gateway’s own process takes, of one core',
    metric: 'daemon_cpu_percent',
  },
  'extension.value': {
    unit: '1',
    title: 'What extensions tell of themselves',
    metric: 'extension_value',
    label: 'value',
  },
});

export type Measure = keyof typeof catalogue;

/** One measurement. */
export type Sample = {
  measure: Measure;
  /** Which one, where there are several: interface, disk, client. */
  label?: string;
  /** undefined: not this time, e.g. a rate after the first look. */
  value: number | undefined;
  /** Of a rate: the sum since boot. */
  total?: number;
};

export const entryOf = (measure: Measure): Entry => catalogue[measure];

/** `network.received{eth0}` */
export function seriesName({ measure, label }: Pick<Sample, 'measure' | 'label'>): string {
  return label === undefined ? measure : `${measure}{${safeLabel(label)}}`;
}

/** Names of series stand in URLs, with commas between them: a label has none, nor braces or control characters. */
function safeLabel(label: string): string {
  return label.replaceAll(/[\p{C},{}"\\\s]/gu, '_').slice(0, 64);
}

/** The measure and the label of a series' name; undefined if it is none. */
export function parseSeriesName(
  name: string,
): { measure: Measure; label: string | undefined } | undefined {
  const [, measure = '', , label] = /^([a-z]+\.[a-z0-9_]+)(\{([^{}]+)\})?$/.exec(name) ?? [];
  return Object.hasOwn(catalogue, measure) ? { measure: measure as Measure, label } : undefined;
}

/** For people: `Received (eth0)`. */
export function titleOf(name: string): string {
  const parsed = parseSeriesName(name);
  if (!parsed) return name;
  const { title } = entryOf(parsed.measure);
  return parsed.label === undefined ? title : `${title} (${parsed.label})`;
}
