import { rm } from 'node:fs/promises';
import { uptime } from 'node:os';
import { dirname } from 'node:path';
import {
  at,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { armRollback, disarmRollback } from '../rollback-timer.ts';
import type { Applier } from './applier.ts';
import { appliers } from './appliers.ts';
import { areasOf, changesOf } from './diff.ts';
import { healthChecks, type Patience, waitForHealth } from './health.ts';
import { withLock } from './lock.ts';
import {
  type ParsedSettings,
  parseDeviceSettings,
  placed,
  refuseProblems,
  settingsFile,
} from './read.ts';
import { restoreSecrets } from './secrets.ts';
import {
  currentText,
  digestOf,
  endPending,
  forgetVersions,
  keepVersion,
  type PendingChange,
  readPending,
  versionOf,
  versions,
  writePending,
} from './store.ts';
import type { Applied, SettingsProblem } from './view.ts';

/**
 * Changes of the settings that leave the old ones or the new ones, whatever cuts them off. Before the
 * first file is written, what there was is kept in pending.json, and a timer armed that puts it back. The
 * change is proven good, or confirmed, and then the removal of pending.json makes it last. Where that
 * file is left, the old files return: by the timer, by the next change, or at the next boot before
 * anything reads them.
 */

const rollbackUnit = 'pi-gateway-settings-rollback';

/** Seconds after which a change whose process was killed is undone: longer than any change takes. */
const dueSeconds = 180;

const usualPatience: Patience = { whole: 30_000, pause: 500 };

export type ChangeOptions = {
  /** Who makes it, for the history. */
  by: string;
  /** Digest of what it was made from; without it the change is made to whatever there is. */
  base?: string | undefined;
  /** The old settings return after so long unless the change is confirmed. */
  confirmSeconds?: number | undefined;
  patience?: Patience;
};

/**
 * Puts in force what `edit` makes of the settings; one change at a time.
 * @throws GatewayError: refused, with every problem, or in conflict with another change: then nothing was
 *   touched; failed: the old settings are in force again.
 */
export async function changeSettings(
  system: System,
  edit: (current: string) => string | Promise<string>,
  options: ChangeOptions,
): Promise<Applied> {
  return await withLock(system, async () => {
    await settle(system);
    await refuseWhilePending(system);
    const current = await currentText(system);
    const digest = await digestOf(system, current);
    if (options.base !== undefined && options.base !== digest)
      throw new GatewayError(
        'The settings have been changed meanwhile, by somebody else or by hand',
        'Read them again, make your change to those, and apply that: sudo pi-gateway config show',
        'conflict',
      );
    const next = restoreSecrets(await edit(current), current);
    const { parsed, problems } = await checkSettings(system, next);
    refuseProblems(problems);
    const plan = await planOf(system, current, next, parsed);
    if (next === current && plan.steps.length === 0) return await unchanged(system, current);
    return await make(system, current, next, plan, options);
  });
}

async function refuseWhilePending(system: System): Promise<void> {
  const pending = await readPending(system);
  if (pending)
    throw new GatewayError(
      `A change of the settings waits for its confirmation, for ${secondsLeft(pending)} s more`,
      'Keep it: sudo pi-gateway config confirm; or drop it: sudo pi-gateway config rollback',
      'conflict',
    );
}

async function unchanged(system: System, text: string): Promise<Applied> {
  return {
    state: 'unchanged',
    version: versionOf(await versions(system), text),
    digest: await digestOf(system, text),
    areas: [],
    seconds_left: null,
    checks: [],
  };
}

/** What is wrong with settings: by the schema, and by what this device is. */
export async function checkSettings(
  system: System,
  text: string,
): Promise<{ parsed: ParsedSettings; problems: SettingsProblem[] }> {
  const parsed = parseDeviceSettings(text);
  if (parsed.problems.length > 0) return { parsed, problems: parsed.problems };
  const mistakes = await Promise.all(
    appliers.map(async (one) => (await one.check?.(system, parsed.settings)) ?? []),
  );
  const problems = mistakes.flat().map(({ path, message }) =>
    placed(parsed.yaml, {
      offset: parsed.yaml.locate(path),
      message: `${path.join('.')}: ${message}`,
    }),
  );
  return { parsed, problems };
}

type Plan = {
  areas: string[];
  /** What the files shall be, by path on the device, with the settings themselves. */
  files: Record<string, string | null>;
  steps: readonly Applier[];
};

/**
 * What is to be done for settings: for what differs from those in force, and for what does not follow from
 * them yet, as somebody has edited the file by hand.
 */
async function planOf(
  system: System,
  current: string,
  next: string,
  { settings, written }: ParsedSettings,
): Promise<Plan> {
  const areas = new Set(areasOf(changesOf(parseDeviceSettings(current).written, written)));
  const files: Record<string, string | null> = { [settingsFile]: next };
  for (const one of appliers) {
    const own = (await one.files?.(system, settings)) ?? {};
    const there = await contents(system, Object.keys(own));
    if (Object.entries(own).every(([path, text]) => there[path] === text)) continue;
    await one.prove?.(system, own);
    Object.assign(files, own);
    if (one.areas !== 'all') for (const area of one.areas) areas.add(area);
  }
  const isChange = next !== current || Object.keys(files).length > 1;
  return { areas: [...areas], files, steps: isChange ? concernedBy([...areas]) : [] };
}

async function make(
  system: System,
  current: string,
  next: string,
  { areas, files, steps }: Plan,
  options: ChangeOptions,
): Promise<Applied> {
  const before = await healthChecks(system);
  const from = await keepVersion(system, current, current === '' ? 'as built' : 'by hand');
  const seconds = options.confirmSeconds ?? dueSeconds;
  const pending: PendingChange = {
    files: await contents(system, Object.keys(files)),
    areas,
    from,
    by: options.by,
    until: uptime() + seconds,
    boot: await bootId(system),
    proven: false,
  };
  await arm(system, seconds);
  try {
    await writePending(system, pending);
    await putFiles(system, files);
    for (const one of steps) await one.activate(system, changedFiles(pending, files));
    const { checks, broken } = await waitForHealth(
      system,
      before,
      options.patience ?? usualPatience,
    );
    if (broken.length > 0)
      throw new GatewayError(
        `The gateway is not well with the new settings: ${broken.map((one) => `${one.id} (${one.detail})`).join(', ')}`,
        'See what it says: sudo journalctl -b -p warning',
      );
    const digest = await digestOf(system, next);
    if (options.confirmSeconds !== undefined) {
      await writePending(system, { ...pending, proven: true });
      return {
        state: 'pending',
        version: from,
        digest,
        areas,
        seconds_left: secondsLeft(pending),
        checks,
      };
    }
    const version = await commit(system, next, options.by);
    return { state: 'applied', version, digest, areas, seconds_left: null, checks };
  } catch (error) {
    throw await takeBack(system, error);
  }
}

/** Makes a change last. */
async function commit(system: System, text: string, by: string): Promise<number> {
  const version = await keepVersion(system, text, by);
  await endPending(system);
  await disarm(system);
  await forgetVersions(system);
  return version;
}

/** After what went wrong. @returns the error for who asked, with what became of the settings. */
async function takeBack(system: System, cause: unknown): Promise<GatewayError> {
  const message = cause instanceof Error ? cause.message : String(cause);
  const fix = cause instanceof GatewayError ? cause.fix : 'See: sudo journalctl -b -p warning';
  try {
    await undo(system);
    return new GatewayError(`${message}. The settings of before are in force again`, fix);
  } catch (error) {
    return new GatewayError(
      `${message}. And not all of the settings of before could be put back: ${error instanceof Error ? error.message : error}`,
      'Try it again: sudo pi-gateway config rollback',
    );
  }
}

/**
 * Puts the files of before back and in force, if a change is pending. Of what fails, the rest is done all
 * the same; then the change stays pending, and the timer or the next boot tries again.
 */
async function undo(system: System): Promise<PendingChange | undefined> {
  const pending = await readPending(system);
  if (!pending) {
    await disarm(system);
    return undefined;
  }
  const now = await contents(system, Object.keys(pending.files));
  await putFiles(system, pending.files);
  const errors: unknown[] = [];
  for (const one of concernedBy(pending.areas))
    await one
      .activate(system, changedFiles(pending, now))
      .catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw errors[0];
  await endPending(system);
  await disarm(system);
  return pending;
}

const concernedBy = (areas: readonly string[]): Applier[] =>
  appliers.filter((one) => one.areas === 'all' || one.areas.some((area) => areas.includes(area)));

/** Files of a change; those that a change cut off had not come to are loaded once more, which is no harm. */
const changedFiles = (pending: PendingChange, files: Record<string, string | null>): string[] =>
  Object.keys(pending.files).filter(
    (path) => pending.files[path] !== files[path] || !pending.proven,
  );

async function contents(
  system: System,
  paths: readonly string[],
): Promise<Record<string, string | null>> {
  const found: Record<string, string | null> = {};
  for (const path of paths) found[path] = (await readIfThere(at(system, path))) ?? null;
  return found;
}

async function putFiles(system: System, files: Record<string, string | null>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    if (((await readIfThere(at(system, path))) ?? null) === text) continue;
    if (text === null) {
      await rm(at(system, path), { force: true });
      await syncDirectory(dirname(at(system, path)));
    } else if (path === settingsFile)
      await writeDurably(at(system, path), text, 0o640, await daemonsOwner(system));
    else await writeDurably(at(system, path), text);
  }
}

/** The daemon reads the settings; nobody but root writes them. */
async function daemonsOwner(system: System): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const groups = (await readIfThere(at(system, '/etc/group'))) ?? '';
  const gid = /^pi-gatewayd:[^:]*:(\d+):/m.exec(groups)?.[1];
  return gid === undefined ? undefined : { uid: 0, gid: Number(gid) };
}

async function bootId(system: System): Promise<string> {
  return ((await readIfThere(at(system, '/proc/sys/kernel/random/boot_id'))) ?? '').trim();
}

async function arm(system: System, seconds: number): Promise<void> {
  await disarm(system);
  await armRollback(system, rollbackUnit, seconds, 'Nothing was changed.');
}

const disarm = (system: System) => disarmRollback(system, rollbackUnit);

export function secondsLeft(pending: PendingChange): number {
  return Math.max(0, Math.round(pending.until - uptime()));
}

/** Whether a pending change waits for its confirmation, and has time left. */
async function isOnTrial(system: System, pending: PendingChange): Promise<boolean> {
  return pending.proven && pending.boot === (await bootId(system)) && uptime() < pending.until;
}

/** Undoes a change whose process was killed, or whose time is over. Only with the lock. */
async function settle(system: System): Promise<void> {
  const pending = await readPending(system);
  if (pending && !(await isOnTrial(system, pending))) {
    system.say('A change of the settings was cut off: those of before return');
    await undo(system);
  }
}

/** The change that waits for its confirmation. */
export async function pendingChange(system: System): Promise<PendingChange | undefined> {
  const pending = await readPending(system);
  return pending && (await isOnTrial(system, pending)) ? pending : undefined;
}

/**
 * Keeps the settings on trial.
 * @throws GatewayError if there are none, e.g. as their time is over.
 */
export async function confirmSettings(system: System): Promise<Applied> {
  return await withLock(system, async () => {
    await settle(system);
    const pending = await readPending(system);
    if (!pending)
      throw new GatewayError(
        'There are no settings to confirm; if some were applied, their time is over',
        'See which are in force: sudo pi-gateway config show',
        'missing',
      );
    const text = await currentText(system);
    const version = await commit(system, text, pending.by);
    return {
      state: 'applied',
      version,
      digest: await digestOf(system, text),
      areas: pending.areas,
      seconds_left: null,
      checks: [],
    };
  });
}

/** Ends a trial, or what is left of a change that was cut off. @returns false if there is neither. */
export async function endTrial(system: System): Promise<Applied | undefined> {
  return await withLock(system, async () => {
    const pending = await undo(system);
    if (!pending) return undefined;
    const text = await currentText(system);
    return {
      state: 'applied',
      version: pending.from,
      digest: await digestOf(system, text),
      areas: pending.areas,
      seconds_left: null,
      checks: [],
    };
  });
}

/** What the timer starts: undoes a change whose time is over, and leaves any other alone. */
export async function rollBackDue(system: System): Promise<boolean> {
  return await withLock(system, async () => {
    const pending = await readPending(system);
    if (!pending || (await isOnTrial(system, pending))) return false;
    await undo(system);
    return true;
  });
}

/**
 * At boot, before anything reads the settings: what was not proven good, or not confirmed, is undone.
 * Files alone, as nothing runs yet that would live by them.
 */
export async function recoverSettings(system: System): Promise<boolean> {
  const pending = await readPending(system);
  if (!pending) return false;
  await putFiles(system, pending.files);
  await endPending(system);
  return true;
}

/** Returns to a version of before: as a change of its own, which is proven like any other. */
export async function returnToVersion(
  system: System,
  wanted: number | undefined,
  options: Omit<ChangeOptions, 'base'>,
): Promise<Applied> {
  const all = await versions(system);
  const current = await currentText(system);
  const target =
    wanted === undefined
      ? all.findLast((one) => one.version < versionOf(all, current) && one.text !== current)
      : all.find((one) => one.version === wanted);
  if (!target)
    throw new GatewayError(
      wanted === undefined ? 'There are no earlier settings' : `There is no version ${wanted}`,
      'See which there are: sudo pi-gateway config history',
      'missing',
    );
  return await changeSettings(system, () => target.text, options);
}
