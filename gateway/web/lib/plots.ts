import { parseName } from './series.ts';

/** Which charts there are, and of what. */

export const spans = {
  '1h': { title: '1 h', seconds: 3600 },
  '24h': { title: '24 h', seconds: 86_400 },
  '7d': { title: '7 d', seconds: 7 * 86_400 },
  '30d': { title: '30 d', seconds: 30 * 86_400 },
} as const;
export type Span = keyof typeof spans;

export const topics = {
  system: 'System',
  network: 'Network',
  vpn: 'VPN',
  disk: 'Storage',
} as const;
export type Topic = keyof typeof topics;

export type Plot = {
  title: string;
  /** Kinds of series, each with how its line is called; `{}` stands for the label. */
  kinds: readonly (readonly [string, string])[];
  atLeast?: number;
  floating?: boolean;
  /** One chart for each label, not one with all of them. */
  each?: true;
};

export const plots: Record<Topic, readonly Plot[]> = {
  system: [
    {
      title: 'Processor',
      kinds: [
        ['cpu.used', 'All cores'],
        ['cpu.busiest', 'Busiest core'],
        ['cpu.iowait', 'Waits for the disk'],
      ],
      atLeast: 100,
    },
    {
      title: 'Memory',
      kinds: [
        ['memory.used', 'Memory'],
        ['swap.used', 'Swap'],
      ],
      atLeast: 100,
    },
    { title: 'Temperature', kinds: [['heat.temperature', 'Hottest sensor']], floating: true },
    { title: 'Load', kinds: [['load.1m', 'Over a minute']], atLeast: 1 },
    {
      title: 'Waiting',
      kinds: [
        ['pressure.cpu', 'For the processor'],
        ['pressure.memory', 'For memory'],
        ['pressure.io', 'For the disk'],
      ],
      atLeast: 10,
    },
    { title: 'Memory of the gateway’s own process', kinds: [['daemon.memory', 'Memory']] },
  ],
  network: [
    {
      title: '{}',
      kinds: [
        ['network.received', 'Received'],
        ['network.sent', 'Sent'],
      ],
      each: true,
    },
    {
      title: 'Time until the Internet answers',
      kinds: [
        ['uplink.latency', '{}'],
        ['dns.time', 'A name is resolved'],
      ],
    },
    { title: 'Attempts without an answer', kinds: [['uplink.loss', '{}']], atLeast: 10 },
    { title: 'Connections', kinds: [['conntrack.count', 'Followed by the firewall']] },
    { title: 'Packets that the firewall counts', kinds: [['firewall.packets', '{}']] },
  ],
  vpn: [
    { title: 'Clients', kinds: [['vpn.connected', 'Connected']], atLeast: 1 },
    {
      title: '{}',
      kinds: [
        ['vpn.received', 'Received'],
        ['vpn.sent', 'Sent'],
      ],
      each: true,
    },
  ],
  disk: [
    { title: 'File systems', kinds: [['disk.used', '{}']], atLeast: 100 },
    {
      title: '{}',
      kinds: [
        ['disk.written', 'Written'],
        ['disk.read', 'Read'],
      ],
      each: true,
    },
    { title: 'Life of the flash memory that is used', kinds: [['wear.used', '{}']], atLeast: 100 },
  ],
};

/** A chart that there is something for. */
export type PlotSet = { title: string; plot: Plot; series: { name: string; title: string }[] };

/** The charts that there is something for. */
export function sets(plots: readonly Plot[], names: readonly string[]): PlotSet[] {
  return plots.flatMap((plot) => {
    const found = plot.kinds.flatMap(([kind, title]) =>
      names.flatMap((name) => {
        const { area, what, label } = parseName(name);
        return `${area}.${what}` === kind
          ? [{ name, label, title: title.replace('{}', label ?? '') }]
          : [];
      }),
    );
    if (found.length === 0) return [];
    if (!plot.each) return [{ title: plot.title, plot, series: found.slice(0, 6) }];
    const labels = [...new Set(found.map(({ label }) => label ?? ''))].sort();
    return labels.map((label) => ({
      title: plot.title.replace('{}', label),
      plot,
      series: found.filter((one) => (one.label ?? '') === label),
    }));
  });
}
