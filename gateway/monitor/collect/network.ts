import type { Sample } from '../catalogue.ts';
import type { Files, Rates } from '../files.ts';

/** More than a router has; containers make and remove some all the time. */
const mostInterfaces = 24;

/** What passes the interfaces: proc_pid_net(5), net/dev. */
export function networkSamples(files: Files, rates: Rates, now: number): Sample[] {
  const lines = (files.text('/proc/net/dev') ?? '').split('\n').slice(2);
  return lines
    .flatMap((line) => {
      const [name = '', rest] = line.split(':');
      const label = name.trim();
      // A container's end of a cable: its bridge has the traffic, too.
      return rest === undefined || label === 'lo' || label.startsWith('veth')
        ? []
        : [{ label, counts: rest.trim().split(/ +/).map(Number) }];
    })
    .slice(0, mostInterfaces)
    .flatMap(({ label, counts }) => {
      const sample = (
        measure: `network.${'received' | 'sent' | 'errors' | 'drops'}`,
        total: number,
      ) => ({
        measure,
        label,
        value: rates.per(`${measure} ${label}`, total, now),
        total,
      });
      const count = (column: number) => counts[column] ?? 0;
      return [
        sample('network.received', count(0)),
        sample('network.sent', count(8)),
        sample('network.errors', count(2) + count(10)),
        sample('network.drops', count(3) + count(11)),
      ];
    });
}

/** Documentation/networking/nf_conntrack-sysctl.rst: a full table refuses new connections. */
export function conntrackSamples(files: Files): Sample[] {
  const count = files.number('/proc/sys/net/netfilter/nf_conntrack_count');
  const most = files.number('/proc/sys/net/netfilter/nf_conntrack_max');
  return count === undefined || !most
    ? []
    : [
        { measure: 'conntrack.count', value: count },
        { measure: 'conntrack.used', value: (100 * count) / most },
      ];
}
