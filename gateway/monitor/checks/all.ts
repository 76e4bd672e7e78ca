import { isIP } from 'node:net';
import { extensionChecks } from '../../extensions/check.ts';
import { portIn, serverStateFile } from '../../vpn/server-state.ts';
import type { Files } from '../files.ts';
import type { Image } from '../image.ts';
import { type CheckSettings, checkId, type MonitorSettings } from '../settings.ts';
import { lookHttp, lookTcp, lookTls } from './answers.ts';
import type { CheckDefinition } from './check.ts';
import type { Clock } from './clock.ts';
import { lookCommand } from './command.ts';
import { dnsCheck, gatewayCheck, routeCheck, type Uplink } from './network.ts';
import { portCheck } from './ports.ts';
import { ddnsCheck, updatesCheck } from './state.ts';
import { failedUnitsCheck, type Systemd, unitCheck, type WatchedUnit } from './units.ts';

/** Services without which the device is no gateway; one that an image does not have is not missed. */
const units: readonly Omit<WatchedUnit, 'optional'>[] = [
  { unit: 'ssh.service', title: 'SSH', runs: true, needs: [] },
  { unit: 'nftables.service', title: 'Firewall', runs: true, needs: [] },
  { unit: 'wg-quick@wg0.service', title: 'WireGuard', runs: true, needs: [] },
  { unit: 'systemd-networkd.service', title: 'Network', runs: true, needs: [] },
  { unit: 'systemd-resolved.service', title: 'Name server', runs: true, needs: [] },
  { unit: 'chrony.service', title: 'Time', runs: true, needs: [] },
  { unit: 'systemd-timesyncd.service', title: 'Time', runs: true, needs: [] },
  { unit: 'fail2ban.service', title: 'Bans after failed logins', runs: true, needs: [] },
  { unit: 'auditd.service', title: 'Audit record', runs: true, needs: [] },
  { unit: 'pi-gateway-proxy.service', title: 'Services by name', runs: true, needs: [] },
  { unit: 'prometheus-node-exporter.service', title: 'Node exporter', runs: true, needs: [] },
  {
    unit: 'apt-daily-upgrade.service',
    title: 'Installation of updates',
    runs: false,
    // It downloads first.
    needs: ['uplink', 'dns'],
  },
];

/** Which unit has a port that the image's stages name. */
const unitOfPort: Record<string, string> = {
  ssh: 'unit:ssh.service',
  wireguard: 'unit:wg-quick@wg0.service',
  dns: 'unit:systemd-resolved.service',
  proxy: 'unit:pi-gateway-proxy.service',
  'proxy-http': 'unit:pi-gateway-proxy.service',
  metrics: 'unit:prometheus-node-exporter.service',
};

export type CheckParts = {
  root: string;
  files: Files;
  image: Image;
  settings: MonitorSettings;
  systemd: Systemd;
  uplink: Uplink;
  clock: Clock;
  /** Seconds since 1970. */
  now: () => number;
};

/** All checks that these settings ask for. `needs` name only checks that there are. */
export function allChecks(parts: CheckParts): CheckDefinition[] {
  const { settings, files, image, systemd } = parts;
  const { intervals } = settings;
  const own = settings.checks.filter((check) => check.type === 'unit');
  const watched: WatchedUnit[] = [
    ...units
      .filter(({ unit }) => !own.some((check) => check.unit === unit))
      .map((unit) => ({ ...unit, optional: true })),
    ...own.map((check) => ({
      unit: check.unit,
      title: check.unit.replace(/\.service$/, ''),
      runs: check.runs,
      needs: check.needs ?? [],
      optional: false,
    })),
  ].filter(({ unit }) => !settings.ignore.includes(`unit:${unit}`));
  const extensions = extensionChecks(files, systemd, intervals.checks);
  const names = [...watched.map(({ unit }) => unit), ...extensions.units];
  systemd.watch(names);
  const checks = [
    ...watched.map((unit) => unitCheck(systemd, unit, intervals.system)),
    failedUnitsCheck(
      systemd,
      [...names, ...settings.ignore.map((id) => id.replace(/^unit:/, ''))],
      intervals.checks,
    ),
    ...image.ports.map((port) =>
      portCheck(
        files,
        port,
        [unitOfPort[port.name] ?? ''],
        intervals.network,
        // It has another one since the server's key was replaced.
        port.name === 'wireguard' ? () => portIn(files.text(serverStateFile)) : undefined,
      ),
    ),
    routeCheck(files, intervals.network),
    gatewayCheck(files, intervals.network),
    parts.uplink.check(settings),
    dnsCheck(settings),
    parts.clock.check(settings.time_server, intervals.checks),
    ddnsCheck(files, intervals.slow, parts.now),
    updatesCheck(files, Math.max(300, intervals.slow), parts.now),
    ...extensions.checks,
    ...settings.checks.flatMap((check) => ownCheck(parts, check) ?? []),
  ].filter(({ id }) => !settings.ignore.includes(id));
  const ids = new Set(checks.map(({ id }) => id));
  return checks.map((check) => ({
    ...check,
    needs: check.needs.filter((id) => id !== check.id && ids.has(id)),
  }));
}

/** A check of the owner's; units are above, with the image's. */
function ownCheck(parts: CheckParts, check: CheckSettings): CheckDefinition | undefined {
  if (check.type === 'unit') return undefined;
  const common = {
    id: checkId(check),
    title: check.name,
    every: parts.settings.intervals.checks,
    confirm: 2,
  };
  switch (check.type) {
    case 'tcp':
      return {
        ...common,
        needs: check.needs ?? needsOf(check.host),
        restart: check.restart,
        look: () => lookTcp(check),
      };
    case 'tls':
      return {
        ...common,
        needs: check.needs ?? needsOf(check.host),
        look: () => lookTls(check, parts.now()),
      };
    case 'http':
      return {
        ...common,
        needs: check.needs ?? needsOf(new URL(check.url).hostname.replaceAll(/[[\]]/g, '')),
        restart: check.restart,
        look: () => lookHttp(check, parts.now()),
      };
    case 'command':
      return {
        ...common,
        every: check.every,
        needs: check.needs ?? [],
        restart: check.restart,
        look: () => lookCommand(parts.root, check),
      };
  }
}

/** What a server is reached by: nothing on the device itself, the name server by name, the uplink outside. */
function needsOf(host: string): string[] {
  const family = isIP(host);
  if (host === 'localhost' || /^(127\.|::1$)/.test(host)) return [];
  if (family === 0)
    return host.includes('.') && !/\.(lan|local|home\.arpa|internal)$/.test(host)
      ? ['uplink', 'dns']
      : ['dns'];
  return isPrivate(host) ? [] : ['uplink'];
}

/** RFC 1918, RFC 4193, and link-local addresses. */
const isPrivate = (host: string) =>
  /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:)/i.test(
    host,
  );
