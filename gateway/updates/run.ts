import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { healthChecks, type Patience, waitForHealth } from '../settings/health.ts';
import { readDeviceSettings } from '../settings/read.ts';
import type { HealthCheck } from '../settings/view.ts';
import { keepResult } from './last.ts';
import {
  installedVersions,
  type PackageChange,
  packageChanges,
  refreshedStamp,
} from './packages.ts';
import type { UpdateKind, UpdateResult } from './view.ts';

/**
 * Updates with a look at the gateway before and after: what was well before and is not after is the
 * update's fault, and the packages of before return where there still are any.
 */

/** What was before an update that unattended-upgrades makes by itself; gone with the power, as it must be. */
const beforeFile = '/run/pi-gateway/update-before.json';
/**
 * Keeps versions that did harm from coming back the next night, and no later ones: apt_preferences(5).
 */
export const pinsFile = '/etc/apt/preferences.d/60-gateway-undone';

/** Services that an update restarts take their time. */
const usualPatience: Patience = { whole: 90_000, pause: 3_000 };

/** Milliseconds: a slow card, and hundreds of packages. */
const aptTimeout = 3_600_000;

/** apt's answers come from us; files of ours in place of a package's stay (overlays/system has the same). */
const aptOptions = [
  '--quiet',
  '--assume-yes',
  ...['-o', 'DPkg::Options::=--force-confdef', '-o', 'DPkg::Options::=--force-confold'],
  ...['-o', 'DPkg::Lock::Timeout=300'],
];

type Before = {
  what: UpdateResult['what'];
  startedAt: string;
  checks: HealthCheck[];
  installed: Record<string, string>;
};

export async function refresh(system: System): Promise<void> {
  await apt(system, 'update');
  await writeDurably(at(system, refreshedStamp), '');
}

const apt = (system: System, ...args: readonly string[]): Promise<string> =>
  system.run('env', ['DEBIAN_FRONTEND=noninteractive', 'apt-get', ...aptOptions, ...args], {
    timeout: aptTimeout,
  });

/** Installs updates, as somebody asked for them. */
export async function update(
  system: System,
  what: UpdateKind,
  patience = usualPatience,
): Promise<UpdateResult> {
  const before = await lookBefore(system, what);
  let problem: string | undefined;
  try {
    // What a power cut has left half installed, apt does not touch.
    await system.run('dpkg', ['--force-confdef', '--force-confold', '--configure', '--pending'], {
      timeout: aptTimeout,
    });
    await refresh(system);
    if (what === 'all') await apt(system, '--with-new-pkgs', 'upgrade');
    else await system.run('unattended-upgrade', [], { timeout: aptTimeout });
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
  }
  return await judge(system, before, problem, patience);
}

async function lookBefore(system: System, what: UpdateResult['what']): Promise<Before> {
  return {
    what,
    startedAt: new Date().toISOString(),
    checks: await healthChecks(system, { packages: true }),
    installed: await installedVersions(system),
  };
}

/** Before unattended-upgrades runs by itself: ExecStartPre= of apt-daily-upgrade.service. */
export async function noteBefore(system: System): Promise<void> {
  const before = await lookBefore(system, 'automatic');
  await mkdir(dirname(at(system, beforeFile)), { recursive: true });
  await writeDurably(at(system, beforeFile), JSON.stringify(before), 0o600);
}

/**
 * After it: ExecStopPost=. @returns undefined if nothing was noted before, or nothing has changed: most
 * nights, so that the last real update stays on record.
 */
export async function judgeAfter(
  system: System,
  patience = usualPatience,
): Promise<UpdateResult | undefined> {
  const text = await readIfThere(at(system, beforeFile));
  if (text === undefined) return undefined;
  await rm(at(system, beforeFile), { force: true });
  const before = JSON.parse(text) as Before;
  const changes = packageChanges(before.installed, await installedVersions(system));
  if (changes.length === 0) return undefined;
  return await judge(system, before, undefined, patience);
}

async function judge(
  system: System,
  before: Before,
  problem: string | undefined,
  patience: Patience,
): Promise<UpdateResult> {
  const packages = packageChanges(before.installed, await installedVersions(system));
  const { broken } = await waitForHealth(system, before.checks, patience, { packages: true });
  const result: UpdateResult = {
    what: before.what,
    started_at: before.startedAt,
    finished_at: new Date().toISOString(),
    state: 'ok',
    // Programs' words may be long.
    detail: (problem ?? '').slice(0, 1_000),
    packages,
    kept: [],
    checks: broken,
  };
  if (broken.length > 0) {
    result.state = 'unwell';
    if (await mayUndo(system)) {
      const undone = await undo(system, packages);
      result.kept = undone.kept;
      if (undone.problem !== undefined) result.detail = undone.problem.slice(0, 1_000);
      const again = await waitForHealth(system, before.checks, patience, { packages: true });
      if (again.broken.length === 0) result.state = 'undone';
      else result.checks = again.broken;
    }
  } else if (problem !== undefined) result.state = 'failed';
  else if (packages.length === 0) result.state = 'nothing';
  result.finished_at = new Date().toISOString();
  await keepResult(system, result);
  return result;
}

async function mayUndo(system: System): Promise<boolean> {
  const { settings } = await readDeviceSettings(system);
  return settings.updates.undo;
}

/**
 * Brings the versions of before back, of those packages whose versions an archive or apt's cache still
 * has. A package's own data (a database that it has converted) is not brought back: nobody can.
 */
async function undo(
  system: System,
  changes: readonly PackageChange[],
): Promise<{ kept: string[]; problem?: string }> {
  const replaced = changes.filter((one) => one.before !== null && one.after !== null);
  const wanted: string[] = [];
  const pins: PackageChange[] = [];
  const kept: string[] = [];
  for (const one of replaced) {
    const version = `${one.name}=${one.before}`;
    const isThere = await system.run('apt-cache', ['show', '--no-all-versions', version]).then(
      (text) => text.trim() !== '',
      () => false,
    );
    if (isThere) {
      wanted.push(version);
      pins.push(one);
    } else kept.push(one.name);
  }
  if (wanted.length === 0) return { kept };
  try {
    await apt(system, '--allow-downgrades', '--no-remove', 'install', ...wanted);
  } catch (error) {
    return {
      kept: replaced.map((one) => one.name),
      problem: error instanceof Error ? error.message : String(error),
    };
  }
  await pinOut(system, pins);
  return { kept };
}

async function pinOut(system: System, packages: readonly PackageChange[]): Promise<void> {
  const before = (await readIfThere(at(system, pinsFile))) ?? pinsHead;
  const added = packages.map(
    ({ name, after }) => `Package: ${name}\nPin: version ${after}\nPin-Priority: -1\n`,
  );
  await writeDurably(
    at(system, pinsFile),
    [before.trimEnd(), ...added.filter((one) => !before.includes(one))].join('\n\n'),
  );
}

const pinsHead = `# Versions after which the gateway was not well. Later ones are installed; to try one of these again,
# delete its lines.
`;
