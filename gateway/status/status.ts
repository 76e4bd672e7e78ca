import { readFile, stat } from 'node:fs/promises';
import type * as z from 'zod';
import { dashboardUrl } from '../../firstboot/hosts.ts';
import { at, type System } from '../../firstboot/system.ts';
import type { Context } from '../api/context.ts';
import { statusFile } from '../ddns/view.ts';
import { readDaemonFacts } from '../image-facts.ts';
import type { KernelState } from '../kernel-state.ts';
import type { Check, Monitor } from '../monitor/monitor.ts';
import { remembered } from '../remembered.ts';
import { type Interfaces, readDeviceFacts } from './facts.ts';
import type { status } from './operations.ts';

export type Status = z.output<typeof status>;
type Health = Status['health'];
type Finding = Health['findings'][number];

/** Seconds: a client that has traffic shakes hands every 2 minutes, and one that is silent sends none (WireGuard's paper, 6). */
const connected = 180;

/** Milliseconds for which a count of updates holds: apt takes the device seconds for it. */
const updatesLifetime = 30 * 60_000;

/** The overview of the device; nothing in it waits for long. */
export async function readStatus(context: Context, interfaces?: Interfaces): Promise<Status> {
  const { system, monitor, kernel, accounts } = context;
  const [{ rebootRequired, ...facts }, state, ddns] = await Promise.all([
    readDeviceFacts(system, interfaces),
    kernelFacts(kernel),
    ddnsSummary(system),
  ]);
  const firewall = await firewallState(system, state);
  return {
    ...facts,
    time: new Date().toISOString(),
    synchronized: clockState(monitor.checks()),
    health: healthOf(monitor, firewall),
    alerts: alertCounts(monitor),
    vpn: vpnCount(state, facts.addresses),
    ddns,
    updates: { pending: pendingUpdates(context), reboot_required: rebootRequired },
    firewall,
    dashboard: await dashboards(system, facts),
    stages: (await readDaemonFacts(system).catch(() => undefined))?.stages ?? [],
    claimed: accounts.claimed(),
  };
}

/** By the addresses that the API listens on; by name in the VPN, whose clients ask the gateway for names. */
export async function dashboards(
  system: System,
  { name, addresses }: Pick<Status, 'name' | 'addresses'>,
): Promise<Status['dashboard']> {
  const listens = await readDaemonFacts(system).catch(() => undefined);
  const byName = await dashboardUrl(system, name);
  if (!listens || byName === undefined) return [];
  return addresses.flatMap(({ zone, addresses: own }) => {
    const [first] = own
      .map((one) => one.split('/')[0] ?? '')
      .filter((one) => listens.addresses.includes(one));
    if (first === undefined) return [];
    const host = first.includes(':') ? `[${first}]` : first;
    return [{ zone, url: zone === 'vpn' ? byName : `https://${host}:${listens.port}/` }];
  });
}

/** Each question starts a program: those who look at once, or each second, share an answer. */
const kernelFacts = remembered(3000, async (kernel: KernelState) => {
  const [counters, peers] = await Promise.all([
    kernel.counters().catch(() => undefined),
    kernel.wireguard().catch(() => undefined),
  ]);
  return { counters, peers };
});

type KernelFacts = Awaited<ReturnType<typeof kernelFacts>>;

/**
 * By what anybody may see: the counters of the table, and the folder that a trial has; its content is
 * root's. gateway/firewall/change.ts, gateway/firewall/status.ts.
 */
async function firewallState(
  system: System,
  { counters, peers }: KernelFacts,
): Promise<Status['firewall']> {
  // The service that answers works, and has no table to list.
  if (!counters) return peers ? 'none' : 'unknown';
  if ('closed' in counters) return 'closed';
  const trial = await stat(at(system, '/run/pi-gateway/firewall')).catch(() => undefined);
  return trial ? 'pending' : 'active';
}

function vpnCount({ peers }: KernelFacts, addresses: Status['addresses']): Status['vpn'] {
  if (!peers || !addresses.some((one) => one.interface === 'wg0')) return null;
  const since = Date.now() / 1000 - connected;
  return {
    connected: peers.filter(({ handshake }) => handshake >= since).length,
    total: peers.length,
  };
}

async function ddnsSummary(system: System): Promise<Status['ddns']> {
  try {
    const { state, summary } = JSON.parse(await readFile(at(system, statusFile), 'utf8'));
    return { state: String(state), summary: String(summary) };
  } catch {
    return null;
  }
}

function clockState(checks: readonly Check[]): boolean | null {
  const clock = checks.find(({ id }) => id === 'clock');
  return !clock || clock.health === 'unknown' ? null : clock.health === 'ok';
}

function alertCounts(monitor: Monitor): Status['alerts'] {
  const counts = { critical: 0, warning: 0, info: 0 };
  for (const { severity, resolvedAt, suppressedBy } of monitor.alerts())
    if (resolvedAt === undefined && suppressedBy === undefined) counts[severity] += 1;
  return counts;
}

const updates = remembered(updatesLifetime, async (_: System, context: Context) => {
  const { packages } = await context.call('updates.list', {});
  return packages.length;
});
const lastCount = new WeakMap<System, number>();

/** The count of the last look; a new one begins where it is too old, and is not waited for. */
function pendingUpdates(context: Context): number | null {
  updates(context.system, context).then(
    (count) => lastCount.set(context.system, count),
    // The check of monitoring tells that updates are not looked for.
    () => undefined,
  );
  return lastCount.get(context.system) ?? null;
}

const firewallFindings: Partial<Record<Status['firewall'], Omit<Finding, 'source'>>> = {
  none: {
    state: 'failed',
    text: 'The firewall has no rules, the device is open: sudo pi-gateway service restart firewall',
  },
  closed: {
    state: 'failed',
    text: "The firewall's rules did not load, only SSH and WireGuard are open: sudo pi-gateway logs firewall",
  },
  pending: {
    state: 'warning',
    text: 'Firewall rules are on trial: sudo pi-gateway firewall confirm keeps them',
  },
};

/** All that is not well, the worst first; what another one explains is left out. */
export function healthOf(
  monitor: Pick<Monitor, 'checks' | 'alerts'>,
  firewall: Status['firewall'],
): Health {
  const checks = monitor.checks();
  const failed = new Set(checks.filter(({ health }) => health === 'failed').map(({ id }) => id));
  const own = firewallFindings[firewall];
  const findings: Finding[] = [
    ...(own ? [{ ...own, source: 'firewall' }] : []),
    ...checks.flatMap(({ id, title, health, detail, needs }): Finding[] =>
      (health === 'failed' || health === 'warning') && !needs.some((need) => failed.has(need))
        ? [{ state: health, source: id, text: `${title}: ${detail}` }]
        : [],
    ),
    // What a threshold has found; checks are above.
    ...monitor
      .alerts()
      .filter((one) => one.resolvedAt === undefined && one.suppressedBy === undefined)
      .filter(({ source, severity }) => !source.startsWith('check:') && severity !== 'info')
      .map(
        ({ source, severity, text }): Finding => ({
          state: severity === 'critical' ? 'failed' : 'warning',
          source,
          text,
        }),
      ),
  ].toSorted((a, b) => Number(b.state === 'failed') - Number(a.state === 'failed'));
  const [worst] = findings;
  if (!worst) return { state: 'ok', summary: 'All is well.', findings };
  const others = findings.length - 1;
  return {
    state: worst.state,
    summary: `${worst.text.replace(/\.$/, '')}${others > 0 ? `; and ${others} more` : ''}.`,
    findings,
  };
}
