import { at, readIfThere, type System } from '../../firstboot/system.ts';
import type { ZoneReport } from '../../stages/firewall/zones.ts';
import { GatewayError } from '../errors.ts';
import { readPending, secondsLeft } from './change.ts';

/** What the image was built with; the rules in force may be others. */
const reportFile = '/usr/share/pi-gateway/firewall.json';

export type FirewallStatus = {
  /**
   * active: the rules of /etc/nftables.conf; pending: rules on trial; closed: those that are loaded
   * when the others are broken; none: the device is open.
   */
  state: 'active' | 'pending' | 'closed' | 'none';
  pending: { file: string; seconds_left: number } | null;
  counters: Record<string, { packets: number; bytes: number }>;
  /** Sources that are shut out for a scan. */
  blocked: { address: string; seconds_left: number }[];
  zones: ZoneReport['zones'];
};

/** Objects of `nft --json`: libnftables-json(5). */
type Nft = {
  nftables: {
    counter?: { name: string; packets: number; bytes: number };
    set?: { elem?: (string | { elem: { val: string; expires?: number } })[] };
  }[];
};

export async function firewallStatus(system: System): Promise<FirewallStatus> {
  const pending = await readPending(system);
  const listed = await list(system, ['counters', 'table', 'inet', 'gateway']);
  const counters = Object.fromEntries(
    (listed?.nftables ?? []).flatMap(({ counter }) =>
      counter ? [[counter.name, { packets: counter.packets, bytes: counter.bytes }]] : [],
    ),
  );
  const blocked = await Promise.all(
    ['blocked4', 'blocked6'].map((name) => list(system, ['set', 'inet', 'gateway', name])),
  );
  return {
    state: !listed ? 'none' : 'closed' in counters ? 'closed' : pending ? 'pending' : 'active',
    pending: pending ? { file: pending.file, seconds_left: secondsLeft(pending) } : null,
    counters,
    blocked: blocked.flatMap((set) =>
      (set?.nftables ?? []).flatMap((one) =>
        (one.set?.elem ?? []).map((entry) =>
          typeof entry === 'string'
            ? { address: entry, seconds_left: 0 }
            : { address: entry.elem.val, seconds_left: entry.elem.expires ?? 0 },
        ),
      ),
    ),
    zones: (await zoneReport(system)).zones,
  };
}

/** What the kernel has: the gateway's rules, those of a device that is closed, or none. */
export async function firewallTable(system: System): Promise<'rules' | 'closed' | 'none'> {
  const listed = await list(system, ['counters', 'table', 'inet', 'gateway']);
  if (!listed) return 'none';
  return listed.nftables.some(({ counter }) => counter?.name === 'closed') ? 'closed' : 'rules';
}

/** Undefined if there is no such table or set. */
async function list(system: System, what: readonly string[]): Promise<Nft | undefined> {
  try {
    return JSON.parse(await system.run('nft', ['--json', 'list', ...what])) as Nft;
  } catch {
    return undefined;
  }
}

export async function zoneReport(system: System): Promise<ZoneReport> {
  const text = await readIfThere(at(system, reportFile));
  if (text === undefined)
    throw new GatewayError(
      'This image was built without the firewall stage',
      'Build one with it: stages.firewall in gateway.yaml',
    );
  return JSON.parse(text) as ZoneReport;
}

export function statusText(status: FirewallStatus): string {
  const states = {
    active: 'The rules of /etc/nftables.conf are in force.',
    pending: `Rules on trial: ${status.pending?.file}. Those of before return in ${status.pending?.seconds_left} s; keep these with: sudo pi-gateway firewall confirm`,
    closed:
      'CLOSED: /etc/nftables.conf did not load, only SSH and WireGuard are open. See: journalctl -u nftables',
    none: 'NO RULES: the device is open. Load them: sudo systemctl restart nftables',
  };
  return [
    states[status.state],
    '',
    'Dropped packets',
    ...Object.entries(status.counters).map(([name, one]) => `  ${name.padEnd(10)} ${one.packets}`),
    '',
    'Shut out for a scan',
    ...(status.blocked.length === 0 ? ['  nobody'] : []),
    ...status.blocked.map((one) => `  ${one.address} for ${one.seconds_left} s`),
    '',
    'Zones',
    ...status.zones.map(
      (zone) =>
        `  ${zone.name.padEnd(10)} ${zone.interfaces.join(' ') || 'every other interface'}  ${zone.networks.join(' ')}`,
    ),
  ].join('\n');
}

/** Who may open connections to whom: rows to columns. */
export function zoneTable(report: ZoneReport): string {
  const names = report.zones.map((zone) => zone.name);
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const mark = (from: string, to: string) => {
    const cell = report.table.find((one) => one.from === from && one.to === to);
    if (!cell) return '';
    return cell.passes ? 'yes' : cell.exceptions.length > 0 ? 'some' : '-';
  };
  return [
    `${'from \\ to'.padEnd(width + 2)}${names.map((name) => name.padEnd(width)).join('')}`,
    ...names.map(
      (from) =>
        `${from.padEnd(width + 2)}${names.map((to) => mark(from, to).padEnd(width)).join('')}`,
    ),
    '',
    'To the gateway itself',
    ...report.zones.map((zone) => `  ${zone.name.padEnd(width)}${zone.gateway.join(', ') || '-'}`),
    ...section(
      'Exceptions',
      report.table.flatMap((cell) =>
        cell.exceptions.map((text) => `${cell.from} → ${cell.to}: ${text}`),
      ),
    ),
    ...section('Port forwards', report.forwards),
  ]
    .map((line) => line.trimEnd())
    .join('\n');
}

const section = (title: string, lines: readonly string[]) =>
  lines.length > 0 ? ['', title, ...lines.map((line) => `  ${line}`)] : [];
