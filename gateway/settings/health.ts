import { stat } from 'node:fs/promises';
import { request } from 'node:http';
import { at, type System } from '../../firstboot/system.ts';
import { firewallTable } from '../firewall/status.ts';
import { readForeignJson } from '../foreign-file.ts';
import { knownName } from '../known-name.ts';
import { readingFile, settingsMark } from './reading.ts';
import type { HealthCheck } from './view.ts';

/**
 * Whether the gateway does its work: asked before and after a change of settings or packages. What was
 * well before and is not after is the change's fault.
 */

const apiSocket = '/run/pi-gatewayd/api.sock';

/** Without these nobody gets in, or the gateway is none. Those that are not enabled do not count. */
const units = [
  'nftables.service',
  'ssh.service',
  'wg-quick@wg0.service',
  'systemd-networkd.service',
  'systemd-resolved.service',
  'pi-gatewayd.service',
  'pi-gateway-helper.socket',
];

/** Milliseconds for an answer of the API. */
const apiPatience = 5_000;

export type HealthOptions = {
  /** Also what only a change of packages can break. */
  packages?: boolean;
};

export async function healthChecks(
  system: System,
  { packages = false }: HealthOptions = {},
): Promise<HealthCheck[]> {
  const checks = await Promise.all([
    unitChecks(system),
    one('ssh:configuration', () => system.run('sshd', ['-t'])),
    one('firewall:rules', async () => {
      const table = await firewallTable(system);
      if (table !== 'rules') throw new Error(table === 'closed' ? 'closed' : 'not loaded');
    }),
    one('api:answer', () => askApi(system)),
    one('settings:read', () => seeReading(system)),
    ...(packages
      ? [one('dns:answer', () => system.run('getent', ['ahosts', knownName])), failedUnits(system)]
      : []),
  ]);
  return checks.flat();
}

async function one(id: string, work: () => Promise<unknown>): Promise<HealthCheck> {
  try {
    await work();
    return { id, ok: true, detail: 'well' };
  } catch (error) {
    // The first line: the rest are programs' hints.
    const [detail = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return { id, ok: false, detail: detail.slice(0, 200) };
  }
}

async function unitChecks(system: System): Promise<HealthCheck[]> {
  const properties = '--property=Id,LoadState,UnitFileState,ActiveState';
  const text = await system.run('systemctl', ['show', properties, ...units]).catch(() => '');
  return text.split('\n\n').flatMap((block): HealthCheck[] => {
    const of = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(block)?.[1] ?? '';
    if (of('LoadState') !== 'loaded' || !of('UnitFileState').startsWith('enabled')) return [];
    const state = of('ActiveState');
    return [{ id: `unit:${of('Id')}`, ok: state === 'active', detail: state }];
  });
}

/** Each failed unit as a check of its own: those that had failed before are then nobody's fault. */
async function failedUnits(system: System): Promise<HealthCheck[]> {
  const text = await system
    .run('systemctl', ['list-units', '--state=failed', '--plain', '--no-legend', '--no-pager'])
    .catch(() => '');
  return text.split('\n').flatMap((line) => {
    const [unit = ''] = line.trim().split(/\s+/);
    return unit === '' ? [] : [{ id: `failed:${unit}`, ok: false, detail: 'failed' }];
  });
}

/** Anything but an error of the server's own is an answer; root at its socket is an admin. */
function askApi(system: System): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        socketPath: at(system, apiSocket),
        path: '/api/v1/status',
        timeout: apiPatience,
        headers: { host: 'localhost' },
      },
      (answer) => {
        answer.resume();
        const code = answer.statusCode ?? 0;
        if (code > 0 && code < 500) resolve();
        else reject(new Error(`the API answers with ${code}`));
      },
    );
    asked.on('timeout', () => asked.destroy(new Error('the API does not answer in time')));
    asked.on('error', (error) => reject(new Error(`the API does not answer: ${error.message}`)));
    asked.end();
  });
}

async function seeReading(system: System): Promise<void> {
  const path = at(system, readingFile);
  // Nothing runs that reads them.
  if (!(await stat(path).catch(() => undefined))) return;
  const reading = Object(await readForeignJson(path));
  if (reading.file !== (await settingsMark(system)))
    throw new Error('the daemon has not read the settings');
}

/** What was well before, or not there, and is not well now. */
export function regressions(
  before: readonly HealthCheck[],
  after: readonly HealthCheck[],
): HealthCheck[] {
  const unwell = new Set(before.filter((check) => !check.ok).map((check) => check.id));
  return after.filter((check) => !check.ok && !unwell.has(check.id));
}

export type Patience = {
  /** Milliseconds until what is unwell counts as broken: services take their time to start. */
  whole: number;
  /** Milliseconds between two looks. */
  pause: number;
};

/** Looks until all is as well as before, or the time is over. @returns what is not. */
export async function waitForHealth(
  system: System,
  before: readonly HealthCheck[],
  patience: Patience,
  options: HealthOptions = {},
): Promise<{ checks: HealthCheck[]; broken: HealthCheck[] }> {
  const end = performance.now() + patience.whole;
  for (;;) {
    const checks = await healthChecks(system, options);
    const broken = regressions(before, checks);
    if (broken.length === 0 || performance.now() + patience.pause > end) return { checks, broken };
    await new Promise((resolve) => setTimeout(resolve, patience.pause));
  }
}
