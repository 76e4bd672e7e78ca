import { join, resolve } from 'node:path';
import { type BuildRequest, buildPackages } from '../build.ts';
import { giveToCaller, plainProgress } from '../build-command.ts';
import { gatewayConfig } from '../config/gateway.ts';
import type { Config } from '../config/schema.ts';
import { BuildError, exitCode } from '../errors.ts';
import { run } from '../exec.ts';
import { BuildHost } from '../host.ts';
import { prepareStage } from '../overlay/prepare.ts';
import type { LoadedStage } from '../stages.ts';
import { hostArchitecture } from '../tools/tools.ts';
import { table } from '../ui/present.ts';
import { fetchIndex, readIndex } from './archive-index.ts';
import { diffLocks, type LockDiff, type Missing, missingFrom } from './compare.ts';
import { LockGuard } from './guard.ts';
import {
  imagePins,
  type Lock,
  lockName,
  type Pins,
  readLock,
  requireLock,
  writeLock,
} from './lock-file.ts';
import { mergeLocks, recordLock } from './record.ts';

export type LockUpdate = {
  lock: string;
  /** False: nothing was written, since nothing is newer. */
  written: boolean;
  diff: LockDiff;
};

type LockProject = { root: string; config: Config; stages: readonly LoadedStage[] };

export function lockPath(root: string): string {
  return join(root, lockName);
}

/**
 * Makes the layers of packages with the newest versions and locks what they hold. Needs the private
 * namespace. `current`: those that the cache has; `add`: keeps what is locked and adds what is missing.
 */
export async function updateLock(
  o: LockProject & { current: boolean; add: boolean; spaceCheck: boolean },
): Promise<LockUpdate> {
  const path = lockPath(o.root);
  const cache = resolve(o.root, o.config.paths.cache);
  const old = o.add ? await requireLock(path) : await readLock(path);
  if (old && !o.current && !o.add && (await isNewest(o, old)))
    return { lock: path, written: false, diff: diffLocks(old, old) };
  const refresh = !o.current && !o.add;
  const host = await BuildHost.open({
    cache,
    refresh,
    spaceCheck: o.spaceCheck,
    slots: 1,
    archiveState: o.add ? old?.archive.state : undefined,
  });
  try {
    const request: BuildRequest = {
      ...o,
      refresh,
      rawOnly: true,
      progress: await plainProgress(cache, o.config.name),
      lock: o.add && old ? { lock: old, from: lockName, complete: false } : undefined,
    };
    const made = await buildPackages(host, request);
    const recorded = await recordLock(made, { cache, config: o.config, old });
    const lock = o.add && old ? mergeLocks(old, recorded) : recorded;
    await writeLock(path, lock);
    await giveToCaller(o.root, lockName);
    return { lock: path, written: true, diff: diffLocks(old, lock) };
  } finally {
    await host.close();
  }
}

/** True if the lock is of this configuration and the archive has nothing newer. */
async function isNewest(o: LockProject, lock: Lock): Promise<boolean> {
  if (lock.base.kind !== 'debian') return false;
  try {
    const check = await checkLock(o);
    return check.missing.length === 0 && check.newer.length === 0;
  } catch (error) {
    if (error instanceof BuildError && error.code === exitCode.usage) return false;
    throw error;
  }
}

export type LockCheck = {
  packages: number;
  /** What the archive no longer has as it is locked. */
  missing: Missing[];
  /** What it has a newer version of. */
  newer: { name: string; locked: string; newest: string }[];
};

/**
 * Compares the lock with the configuration and the archive. Needs no root, makes nothing.
 * @throws BuildError with code `usage` if the lock is not of this configuration.
 */
export async function checkLock(o: LockProject): Promise<LockCheck> {
  const lock = await requireLock(lockPath(o.root));
  const gateway = gatewayConfig(
    o.config,
    o.stages.map((stage) => stage.definition),
  );
  const stages = await Promise.all(
    o.stages.map((stage) =>
      prepareStage(o.root, stage, o.config.stages[stage.definition.name], gateway),
    ),
  );
  const guard = new LockGuard({ lock, from: lockName, complete: true }, stages);
  const { debian } = guard.config(o.config);
  const image = lock.base.kind === 'debian' ? imagePins(lock) : {};
  const tools = lock.tools[hostArchitecture] ?? {};
  const cache = resolve(o.root, o.config.paths.cache);
  const lists = await fetchIndex(cache, debian);
  const missing: Missing[] = [];
  const newer: LockCheck['newer'] = [];
  const parts: [Pins, string][] = [
    [image, 'arm64'],
    [tools, hostArchitecture],
  ];
  for (const [pins, architecture] of parts) {
    const index = await readIndex(lists, architecture, new Set(Object.keys(pins)));
    missing.push(...missingFrom(pins, index));
    for (const [name, { version }] of Object.entries(pins)) {
      let newest = version;
      for (const other of index.get(name) ?? [])
        if (other.version !== newest && (await isNewer(other.version, newest)))
          newest = other.version;
      if (newest !== version) newer.push({ name, locked: version, newest });
    }
  }
  return { packages: Object.keys(image).length, missing, newer };
}

/** By Debian's own rules (deb-version(7)). */
async function isNewer(a: string, b: string): Promise<boolean> {
  const { exitCode: code } = await run('dpkg', ['--compare-versions', a, 'gt', b], {
    okCodes: [1],
  });
  return code === 0;
}

export function lockCheckText(check: LockCheck): string {
  const lines = [
    ...check.missing.map(({ name, locked, has }) => [
      'gone',
      name,
      locked,
      `the mirror has ${has.join(', ') || 'nothing of this name'}`,
    ]),
    ...check.newer.map(({ name, locked, newest }) => ['newer', name, locked, newest]),
  ];
  const said =
    check.missing.length === 0
      ? `The archive has all that is locked (${check.packages} packages of the image).`
      : `The archive no longer has ${check.missing.length} of what is locked: see docs/reproducible.md, or pi-gateway-image lock update.`;
  return [...(lines.length > 0 ? [table(lines)] : []), said].join('\n');
}

/** The lock for people: what is locked, by part. */
export function lockShowText(lock: Lock): string {
  const { base, archive } = lock;
  const rows = (part: string, pins: Pins) =>
    Object.entries(pins).map(([name, { version }]) => [part, name, version]);
  return [
    base.kind === 'debian'
      ? `Base: Debian ${archive.suite} (${archive.components.join(', ')}), ${Object.keys(base.packages).length} packages`
      : `Base: ${base.name}\n  ${base.url}\n  sha256 ${base.extract_sha256}`,
    `Mirror: ${archive.mirror ?? 'of the base'}`,
    table([
      ['PART', 'PACKAGE', 'VERSION'],
      ...(base.kind === 'debian' ? rows('base', base.packages) : []),
      ...Object.entries(lock.stages).flatMap(([name, { packages }]) => rows(name, packages)),
      ...Object.entries(lock.tools).flatMap(([name, pins]) => rows(`tools ${name}`, pins)),
    ]),
  ].join('\n');
}
