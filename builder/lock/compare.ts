import { BuildError, exitCode } from '../errors.ts';
import { byName } from '../inspect/file-system.ts';
import { table } from '../ui/present.ts';
import type { Lock, Pin, Pins } from './lock-file.ts';

export type PackageChange = {
  /** `base`, a stage, or `tools amd64`. */
  part: string;
  name: string;
  before?: string | undefined;
  after?: string | undefined;
};

/** What differs between two locks: packages by part, and everything else by name. */
export type LockDiff = {
  packages: PackageChange[];
  other: { what: string; before: string; after: string }[];
};

/** Compares two locks; without the first, all of the second is new. The state's name is no change. */
export function diffLocks(before: Lock | undefined, after: Lock): LockDiff {
  const old = partsOf(before);
  const now = partsOf(after);
  const packages = [...new Set([...old.keys(), ...now.keys()])].flatMap((part) =>
    diffPins(part, old.get(part) ?? {}, now.get(part) ?? {}),
  );
  const facts = (lock: Lock | undefined): Record<string, string> => {
    if (!lock) return {};
    const { base, archive } = lock;
    return {
      base: base.kind === 'debian' ? 'debian' : `${base.kind} ${base.url} ${base.extract_sha256}`,
      suite: archive.suite,
      components: archive.components.join(' '),
      mirror: archive.mirror ?? 'none',
      'security mirror': archive.security_mirror ?? 'none',
    };
  };
  const [was, is] = [facts(before), facts(after)];
  const other = before
    ? Object.keys(is)
        .filter((what) => was[what] !== is[what])
        .map((what) => ({ what, before: was[what] ?? '', after: is[what] ?? '' }))
    : [];
  return { packages, other };
}

function partsOf(lock: Lock | undefined): Map<string, Pins> {
  if (!lock) return new Map();
  return new Map([
    ...(lock.base.kind === 'debian' ? [['base', lock.base.packages] as const] : []),
    ...Object.entries(lock.stages).map(([name, { packages }]) => [name, packages] as const),
    ...Object.entries(lock.tools).map(([name, pins]) => [`tools ${name}`, pins] as const),
  ]);
}

function diffPins(part: string, before: Pins, after: Pins): PackageChange[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .sort(byName)
    .filter((name) => !samePin(before[name], after[name]))
    .map((name) => ({
      part,
      name,
      before: before[name]?.version,
      after: after[name]?.version,
    }));
}

function samePin(a: Pin | undefined, b: Pin | undefined): boolean {
  return a?.version === b?.version && a?.sha256 === b?.sha256;
}

/** The differences for people: `+ name version (part)`. */
export function diffLockText(diff: LockDiff): string {
  const rows = diff.packages.map(({ part, name, before, after }) => {
    if (before === undefined) return ['+', name, after ?? '', part];
    if (after === undefined) return ['-', name, before, part];
    return ['~', name, before === after ? `${after} (other file)` : `${before} → ${after}`, part];
  });
  const other = diff.other.map((one) => ['~', one.what, `${one.before} → ${one.after}`, '']);
  return rows.length + other.length === 0 ? 'No package changed.' : table([...other, ...rows]);
}

/** A locked package that is not to be had as it is locked. */
export type Missing = { name: string; locked: string; has: string[]; otherFile: boolean };

/** Locked packages that the archive does not have in that version, or has as another file. */
export function missingFrom(locked: Pins, archive: ReadonlyMap<string, readonly Pin[]>): Missing[] {
  return Object.entries(locked)
    .sort(([a], [b]) => byName(a, b))
    .flatMap(([name, pin]) => {
      const has = archive.get(name) ?? [];
      const same = has.filter((one) => one.version === pin.version);
      const found =
        same.length > 0 &&
        (pin.sha256 === undefined || same.some((one) => one.sha256 === pin.sha256));
      if (found) return [];
      const versions = [...new Set(has.map((one) => one.version))];
      return [{ name, locked: pin.version, has: versions, otherFile: same.length > 0 }];
    });
}

/** @throws BuildError that names each package, what is locked, what there is, and what to do. */
export function refuseMissing(missing: readonly Missing[], where: string, from: string): void {
  if (missing.length === 0) return;
  throw new BuildError({
    what: `The package archive no longer has ${count(missing.length)} as ${from} locks ${missing.length === 1 ? 'it' : 'them'}`,
    where,
    detail: table([
      ['PACKAGE', 'LOCKED', 'THE MIRROR HAS'],
      ...missing.map(({ name, locked, has, otherFile }) => [
        name,
        locked,
        otherFile ? `${locked}, but as another file` : has.join(', ') || 'nothing of this name',
      ]),
    ]),
    fix: 'To take what the mirror has: pi-gateway-image lock update, and look at what it shows. To build what is locked: set debian.snapshot to a mirror that keeps old versions, or use a cache that holds the layers of this lock',
    code: exitCode.source,
  });
}

export type Drift = { name: string; locked: string | undefined; found: string };

/** Installed packages that are not the locked ones; `complete`: one that is not locked counts too. */
export function driftOf(
  installed: Record<string, string>,
  locked: Pins,
  complete: boolean,
): Drift[] {
  return Object.entries(installed).flatMap(([name, found]) => {
    const pin = locked[name]?.version;
    if (pin === found || (pin === undefined && !complete)) return [];
    return [{ name, locked: pin, found }];
  });
}

/** @throws BuildError that names each package that is not the locked one. */
export function refuseDrift(drift: readonly Drift[], where: string, from: string): void {
  if (drift.length === 0) return;
  throw new BuildError({
    what: `${count(drift.length)} would not be as ${from} locks ${drift.length === 1 ? 'it' : 'them'}`,
    where,
    detail: table([
      ['PACKAGE', 'LOCKED', 'FOUND'],
      ...drift.map(({ name, locked, found }) => [name, locked ?? 'not locked', found]),
    ]),
    fix: 'To lock what there is now: pi-gateway-image lock update (with the same --env and --set), and look at what it shows',
    code: exitCode.source,
  });
}

function count(packages: number): string {
  return packages === 1 ? '1 package' : `${packages} packages`;
}

/** What the configuration asks for and the lock does not say, in sentences. */
export function unlocked(
  lock: Lock,
  wanted: {
    suite: string;
    components: readonly string[];
    mirror: string | null;
    base: { kind: string; asks: readonly string[] };
    stages: Record<string, readonly string[]>;
    tools: string;
  },
): string[] {
  const { archive, base } = lock;
  const problems: string[] = [];
  if (archive.suite !== wanted.suite)
    problems.push(`debian.suite is ${wanted.suite}; ${archive.suite} is locked`);
  if (archive.components.join() !== wanted.components.join())
    problems.push(
      `debian.components are ${wanted.components.join(', ')}; ${archive.components.join(', ')} are locked`,
    );
  if (wanted.mirror !== null && wanted.mirror !== archive.mirror)
    problems.push(`debian.mirror is ${wanted.mirror}; ${archive.mirror ?? 'none'} is locked`);
  if (base.kind !== wanted.base.kind)
    problems.push(`the base is ${wanted.base.kind}; ${base.kind} is locked`);
  else if (base.kind === 'debian' && base.asks.join() !== wanted.base.asks.join())
    problems.push(
      `debian.packages are '${wanted.base.asks.join(' ')}'; '${base.asks.join(' ')}' are locked`,
    );
  for (const [stage, asks] of Object.entries(wanted.stages)) {
    const known = lock.stages[stage];
    const missing = asks.filter((name) => !known?.asks.includes(name));
    if (!known) problems.push(`the stage '${stage}' is not in the lock`);
    else if (missing.length > 0)
      problems.push(`the stage '${stage}' asks for ${missing.join(', ')}, which is not locked`);
  }
  if (!(wanted.tools in lock.tools))
    problems.push(`no tools for ${wanted.tools} machines such as this are in the lock`);
  return problems;
}

/** @throws BuildError when the lock is not of this configuration. */
export function refuseUnlocked(problems: readonly string[], path: string): void {
  if (problems.length === 0) return;
  throw new BuildError({
    what: 'The lock is not of this configuration',
    where: path,
    detail: problems.join('\n'),
    fix: 'To add what is missing and keep the rest: pi-gateway-image lock update --add (with the same --env and --set); to lock everything anew: pi-gateway-image lock update',
    code: exitCode.usage,
  });
}
