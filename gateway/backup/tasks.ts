import { mkdir, rm, statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import { at, makeFolder, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { compare, readManifest } from './manifest.ts';
import { Restic, ResticError, type Snapshot } from './restic.ts';
import type { RunProgram } from './run-program.ts';
import type { BackupSettings, Target } from './settings.ts';
import { nameOf } from './settings.ts';
import { type Source, withSource } from './source.ts';
import { readTarget, stateFolder, updateTarget } from './state.ts';
import { AwayError, type OpenTarget, openTarget, runtimeFolder } from './target.ts';
import { type Attempt, type TargetState, targetState } from './view.ts';

/** The work of the backup's unit; one of it at a time: flock(1) in the unit. */

export type Job = {
  system: System;
  run: RunProgram;
  settings: BackupSettings;
  now?: () => number;
};

const nowOf = (job: Job) => new Date((job.now ?? Date.now)()).toISOString();

/** Snapshots that the status lists. */
const listed = 100;

/** Opens a target for as long as the work takes. */
export async function withTarget<T>(
  job: Job,
  target: Target,
  work: (restic: Restic, state: TargetState) => Promise<T>,
): Promise<T> {
  const state = await readTarget(job.system, nameOf(target));
  const open = await openTarget(job.system, target, job.settings.limits);
  try {
    return await work(new Restic(open.repository, job.run), state);
  } finally {
    await open.close();
  }
}

/**
 * The repository as it must be: the one that was there the last time. The first time it is made.
 * @throws GatewayError if it has vanished, or another has taken its place: a new one in silence would be without
 *   all that was backed up before.
 */
async function ready(job: Job, restic: Restic, target: Target, state: TargetState): Promise<void> {
  const name = nameOf(target);
  let id = await restic.id();
  if (id === undefined) {
    if (state.repository_id !== null)
      throw new ResticError(
        'absent',
        `${name} (${restic.repository.location}): the repository is gone, with the backups in it`,
        `Look whether it is the right disk or folder; to begin with an empty one: sudo pi-gateway backup init ${name}`,
      );
    await restic.init();
    id = await restic.id();
  }
  if (state.repository_id !== null && state.repository_id !== id)
    throw new GatewayError(
      `${name} (${restic.repository.location}): this is another repository than the last time`,
      `Look whether it is the right disk or folder; to go on with this one: sudo pi-gateway backup init ${name}`,
    );
  if (state.repository_id === null)
    await updateTarget(job.system, name, { repository_id: id ?? null });
  await restic.unlock(hostname());
}

/** Makes a target's repository, or takes the one that is there, in place of another of before. */
export async function initTarget(job: Job, target: Target): Promise<'made' | 'taken'> {
  return await withTarget(job, target, async (restic) => {
    const there = await restic.id();
    if (there === undefined) await restic.init();
    const id = there ?? (await restic.id()) ?? null;
    const snapshots = (await restic.snapshots()).map(viewOf).slice(0, listed);
    await updateTarget(job.system, nameOf(target), {
      ...targetState.parse({}),
      repository_id: id,
      snapshots,
    });
    return there === undefined ? 'made' : 'taken';
  });
}

const viewOf = ({ id, time, hostname: host }: Snapshot) => ({
  id: id.slice(0, 8),
  at: new Date(time).toISOString(),
  host,
});

/** A target whose repository is there and free. */
type Reached = {
  target: Target;
  name: string;
  restic: Restic;
  newest: Snapshot | undefined;
  begun: number;
};

/**
 * Backs up to several targets, of the same moment. Nothing is brought to rest before one of them was reached: a disk
 * that is away is looked for every hour.
 * @returns how it went at each.
 */
export async function backUp(job: Job, targets: readonly Target[]): Promise<Attempt['state'][]> {
  await makeFolder(at(job.system, stateFolder), 0o755);
  await mkdir(at(job.system, runtimeFolder), { recursive: true, mode: 0o700 });
  const states = new Map<string, Attempt['state']>();
  const reached: Reached[] = [];
  const open: OpenTarget[] = [];
  const failed = async (name: string, error: unknown) => {
    states.set(name, await tell(job, name, failureOf(job, error)));
  };
  try {
    for (const target of targets) {
      const name = nameOf(target);
      const begun = (job.now ?? Date.now)();
      try {
        const one = await openTarget(job.system, target, job.settings.limits);
        open.push(one);
        const restic = new Restic(one.repository, job.run);
        await ready(job, restic, target, await readTarget(job.system, name));
        const [newest] = await restic.snapshots();
        reached.push({ target, name, restic, newest, begun });
      } catch (error) {
        await failed(name, error);
      }
    }
    if (reached.length > 0)
      await withSource(job.system, job.settings, async (source) => {
        for (const one of reached)
          await backUpTo(job, one, source).then(
            async (attempt) => void states.set(one.name, await tell(job, one.name, attempt)),
            (error: unknown) => failed(one.name, error),
          );
      });
  } finally {
    for (const one of open) await one.close();
  }
  return targets.map((target) => states.get(nameOf(target)) ?? 'failed');
}

async function backUpTo(
  job: Job,
  { name, restic, newest, begun }: Reached,
  source: Source,
): Promise<Attempt> {
  const { problems, ...made } = await restic.backup({
    root: job.system.root,
    ...source,
    parent: newest?.id,
  });
  // On record before anything else can go wrong: the backup is there.
  const seconds = Math.round(((job.now ?? Date.now)() - begun) / 1000);
  const last_success = { ...made, snapshot: made.snapshot.slice(0, 8), at: nowOf(job), seconds };
  await updateTarget(job.system, name, { last_success });
  const snapshots = (await restic.forget(job.settings.keep)).map(viewOf).slice(0, listed);
  await updateTarget(job.system, name, { snapshots });
  const all = [...source.problems, ...problems];
  if (all.length === 0) return { at: nowOf(job), state: 'ok', message: '', fix: '' };
  return {
    at: nowOf(job),
    state: 'partial',
    message: `${name}: not all is in the backup: ${all.slice(0, 3).join('; ').slice(0, 800)}`,
    fix: "See sudo journalctl -u 'pi-gateway-backup@*'",
  };
}

function failureOf(job: Job, error: unknown): Attempt {
  return {
    at: nowOf(job),
    state: isAway(error) ? 'away' : 'failed',
    message: error instanceof Error ? error.message : String(error),
    fix: error instanceof GatewayError ? error.fix : "See sudo journalctl -u 'pi-gateway-backup@*'",
  };
}

async function tell(job: Job, name: string, attempt: Attempt): Promise<Attempt['state']> {
  await updateTarget(job.system, name, { last_attempt: attempt });
  job.system.say(
    `Backup to ${name}: ${attempt.state}${attempt.message === '' ? '' : `: ${attempt.message}`}`,
  );
  return attempt.state;
}

/**
 * Reads part of the data back, another part each time, and gives room of forgotten backups free.
 * @returns true if all is whole.
 */
export async function checkTarget(job: Job, target: Target): Promise<boolean> {
  const name = nameOf(target);
  const parts = Math.max(1, Math.round(100 / job.settings.verify.read_percent));
  const record = async (check: NonNullable<TargetState['check']>) => {
    await updateTarget(job.system, name, { check });
    job.system.say(`Check of ${name}: ${check.ok ? 'whole' : check.message}`);
    return check.ok;
  };
  let part = `1/${parts}`;
  try {
    return await withTarget(job, target, async (restic, state) => {
      const before = /^(\d+)\/(\d+)$/.exec(state.check?.part ?? '');
      const last = before?.[2] === String(parts) ? Number(before[1]) : 0;
      part = `${(last % parts) + 1}/${parts}`;
      await ready(job, restic, target, state);
      const ran = await restic.try(['check', `--read-data-subset=${part}`]);
      if (ran.code !== 0) throw damage(restic, `${ran.stderr}\n${ran.stdout}`, ran.code);
      // Of a damaged repository nothing is thrown away.
      await restic.prune();
      await updateTarget(job.system, name, { size_bytes: await restic.size() });
      return await record({ at: nowOf(job), ok: true, message: '', fix: '', part });
    });
  } catch (error) {
    // A disk that is away was not found damaged: the check is made up for.
    if (isAway(error)) {
      job.system.say(`Check of ${name}: ${error instanceof Error ? error.message : ''}`);
      return false;
    }
    const { message, fix } = failureOf(job, error);
    return await record({ at: nowOf(job), ok: false, message, fix, part });
  }
}

const isAway = (error: unknown) =>
  error instanceof AwayError || (error instanceof ResticError && error.trouble === 'unreachable');

export function damage(restic: Restic, text: string, code: number): ResticError {
  const found = restic.error({ code, stderr: text, stdout: '' });
  // Whatever words it has for it: the repository was opened, and is not whole.
  if (found.trouble !== 'damaged' && found.trouble !== 'other') return found;
  const lines = text
    .split('\n')
    .filter((line) => /error|damaged|does not match|invalid|unexpected/i.test(line));
  const { name, location } = restic.repository;
  return new ResticError(
    'damaged',
    `${name} (${location}): the repository is damaged: ${(lines[0] ?? text.trim()).slice(0, 300)}`,
    `See which backups are whole: sudo pi-gateway backup test-restore ${name} --all; docs/backups.md says how to repair it`,
  );
}

/** Where backups are restored for a look. */
const scratch = `${stateFolder}/scratch`;

/**
 * Restores a snapshot into a scratch folder and compares it with what there was when it was made, byte for byte.
 * @throws ResticError (damaged) with what is not as it was.
 */
export async function tryRestore(
  job: Job,
  restic: Restic,
  found: Snapshot,
  isNewest: boolean,
): Promise<{ files: number; bytes: number; changed: number }> {
  const { system } = job;
  const root = at(system, scratch);
  try {
    await rm(root, { recursive: true, force: true });
    await makeFolder(root, 0o700);
    await refuseWithoutRoom(restic, found, root);
    const ran = await restic.try(['restore', found.id, '--target', root, '--verify', '--no-lock'], {
      onLine: () => undefined,
    });
    if (ran.code !== 0) throw damage(restic, ran.stderr, ran.code);
    const manifest = await readManifest(root);
    if (!manifest) throw damage(restic, 'the manifest of what was backed up is missing in it', 1);
    const compared = await compare(manifest, root, isNewest ? system.root : undefined);
    if (compared.problems.length > 0)
      throw damage(
        restic,
        `restored files are not what they were: ${compared.problems.slice(0, 5).join('; ')}`,
        1,
      );
    return compared;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** @throws GatewayError if a restore would fill the card. */
export async function refuseWithoutRoom(
  restic: Restic,
  found: Snapshot,
  folder: string,
): Promise<void> {
  const ran = await restic.try([
    ...['stats', '--mode', 'restore-size', '--json', '--no-lock', found.id],
  ]);
  // Of a damaged snapshot it tells nothing (restic 0.18 even panics); the restore then says what is wrong.
  if (ran.code !== 0) return;
  const needed = (JSON.parse(ran.stdout) as { total_size: number }).total_size;
  const { bavail, bsize } = await statfs(folder);
  // Something for the rest of the gateway.
  if (bavail * bsize < needed * 1.05 + 64 * 1024 * 1024)
    throw new GatewayError(
      `A restore needs ${Math.ceil(needed / 1e6)} MB in ${folder}, and ${Math.floor((bavail * bsize) / 1e6)} MB are free`,
      'Make room there, or set backup.verify.restore_days to 0 and try restores on another machine',
    );
}

/** A restore test of the newest snapshot. @returns true if it went well. */
export async function testTarget(job: Job, target: Target): Promise<boolean> {
  const name = nameOf(target);
  let newest: Snapshot | undefined;
  const record = async (test: NonNullable<TargetState['test']>) => {
    await updateTarget(job.system, name, { test });
    job.system.say(
      `Restore test of ${name}: ${test.ok ? `${test.files} files are as they were` : test.message}`,
    );
    return test.ok;
  };
  try {
    return await withTarget(job, target, async (restic, state) => {
      await ready(job, restic, target, state);
      [newest] = await restic.snapshots();
      if (!newest)
        throw new GatewayError(
          `${name} has no backup yet`,
          `Make one: sudo pi-gateway backup now ${name}`,
        );
      const { files, bytes } = await tryRestore(job, restic, newest, true);
      const snapshot = newest.id.slice(0, 8);
      return await record({
        at: nowOf(job),
        ok: true,
        snapshot,
        files,
        bytes,
        message: '',
        fix: '',
      });
    });
  } catch (error) {
    if (isAway(error)) {
      job.system.say(`Restore test of ${name}: ${error instanceof Error ? error.message : ''}`);
      return false;
    }
    const { message, fix } = failureOf(job, error);
    const snapshot = newest?.id.slice(0, 8) ?? '';
    return await record({ at: nowOf(job), ok: false, snapshot, files: 0, bytes: 0, message, fix });
  }
}
