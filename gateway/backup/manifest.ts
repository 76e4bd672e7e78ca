import { createHash } from 'node:crypto';
import { type BigIntStats, createReadStream } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import * as z from 'zod';
import { at, type System, writeDurably } from '../../firstboot/system.ts';
import { matcher } from './declared.ts';

/**
 * What was on disk when a backup began: each file with its digest, read by us and not by restic. It is in the
 * backup itself; so a restore is compared with what there was, not with what the repository says there was.
 */
export const manifestPath = '/var/lib/pi-gateway-backup/manifest.jsonl';

const command = z.array(z.string());

export const manifestHead = z.object({
  version: z.literal(1),
  at: z.iso.datetime(),
  host: z.string(),
  device: z.string(),
  /** Folders that a restore makes equal to the backup, and what is none of its business in them. */
  mirror: z.array(z.string()),
  exclude: z.array(z.string()),
  /** In the backup, and not put back by a restore of the whole gateway. */
  reference: z.array(z.string()),
  restored: z.array(command),
});
export type ManifestHead = z.output<typeof manifestHead>;

/** f: file, d: folder, l: link. Keys are short, as there may be a hundred thousand. */
const manifestEntry = z.object({
  p: z.string(),
  t: z.enum(['f', 'd', 'l']),
  /** Permissions, and the ids of its owner and group. */
  m: z.number().int(),
  u: z.number().int(),
  g: z.number().int(),
  s: z.number().int().optional(),
  /** Modified, in nanoseconds; changed, and number of the inode: the same three, the same content. */
  x: z.string().optional(),
  c: z.string().optional(),
  i: z.string().optional(),
  h: z.string().optional(),
  l: z.string().optional(),
});
export type ManifestEntry = z.output<typeof manifestEntry>;

export type Manifest = { head: ManifestHead; entries: ManifestEntry[] };

/** Looks at everything below the paths; files that are as the last manifest knows them are not read again. */
export async function takeManifest(
  system: System,
  head: ManifestHead,
  paths: readonly string[],
  before: Manifest | undefined,
): Promise<Manifest> {
  const known = new Map(before?.entries.map((one) => [one.p, one]));
  const isExcluded = matcher(head.exclude);
  const entries: ManifestEntry[] = [];
  for (const path of paths) await walk(system, path, isExcluded, known, entries);
  return { head, entries };
}

async function walk(
  system: System,
  path: string,
  isExcluded: (path: string) => boolean,
  known: ReadonlyMap<string, ManifestEntry>,
  found: ManifestEntry[],
): Promise<void> {
  if (isExcluded(path)) return;
  const real = at(system, path);
  // What goes away while we look is not there.
  const facts = await lstat(real, { bigint: true }).catch(() => undefined);
  if (!facts) return;
  const base = {
    p: path,
    m: Number(facts.mode) & 0o7777,
    u: Number(facts.uid),
    g: Number(facts.gid),
  };
  if (facts.isDirectory()) {
    found.push({ ...base, t: 'd' });
    for (const name of (await readdir(real).catch(() => [])).sort())
      await walk(system, `${path}/${name}`, isExcluded, known, found);
  } else if (facts.isSymbolicLink()) {
    const link = await readlink(real).catch(() => undefined);
    if (link !== undefined) found.push({ ...base, t: 'l', l: link });
  } else if (facts.isFile()) {
    const entry = { ...base, t: 'f' as const, ...marksOf(facts) };
    const old = known.get(path);
    const same =
      old?.h !== undefined &&
      (['s', 'x', 'c', 'i'] as const).every((key) => old[key] === entry[key]);
    const hash = same ? old.h : await digestOf(real).catch(() => undefined);
    if (hash !== undefined) found.push({ ...entry, h: hash });
  }
}

const marksOf = (facts: BigIntStats) => ({
  s: Number(facts.size),
  x: String(facts.mtimeNs),
  c: String(facts.ctimeNs),
  i: String(facts.ino),
});

/** SHA-256 of a file, read piece by piece. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024 }))
    hash.update(piece);
  return hash.digest('hex');
}

export async function writeManifest(system: System, { head, entries }: Manifest): Promise<void> {
  const lines = [head, ...entries].map((one) => JSON.stringify(one));
  await writeDurably(at(system, manifestPath), `${lines.join('\n')}\n`, 0o600);
}

/** @param root where the tree lies that has the manifest. @returns undefined if it has none, or a damaged one. */
export async function readManifest(root: string): Promise<Manifest | undefined> {
  const file = await open(join(root, manifestPath), 'r').catch(() => undefined);
  if (!file) return undefined;
  try {
    let head: ManifestHead | undefined;
    const entries: ManifestEntry[] = [];
    for await (const line of createInterface({
      input: file.createReadStream({ autoClose: false }),
    })) {
      if (line === '') continue;
      const data: unknown = JSON.parse(line);
      if (head === undefined) head = manifestHead.parse(data);
      // Not by the schema: of a hundred thousand that takes a Pi a minute. The file was verified by restic.
      else entries.push(data as ManifestEntry);
    }
    return head && { head, entries };
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

export type Comparison = {
  files: number;
  bytes: number;
  /** Files that were written to while the backup was made: they are whole, and of another moment. */
  changed: number;
  /** What is not as it was. */
  problems: string[];
};

/** Problems that are told; more would not help. */
const told = 20;

/**
 * Compares a restored tree with what there was, byte for byte, with owners, modes and links.
 * @param live the tree as it is now, if there is one: what has gone there was not lost by the backup.
 */
export async function compare(
  manifest: Manifest,
  restored: string,
  live?: string,
): Promise<Comparison> {
  const result: Comparison = { files: 0, bytes: 0, changed: 0, problems: [] };
  const problem = (path: string, what: string) => {
    if (result.problems.length < told) result.problems.push(`${path}: ${what}`);
  };
  for (const entry of manifest.entries) {
    const path = join(restored, entry.p);
    const facts = await lstat(path, { bigint: true }).catch(() => undefined);
    if (!facts) {
      const gone =
        live !== undefined &&
        (await lstat(join(live, entry.p)).catch(() => undefined)) === undefined;
      if (gone) result.changed += 1;
      else problem(entry.p, 'is missing');
      continue;
    }
    const kind = facts.isFile()
      ? 'f'
      : facts.isDirectory()
        ? 'd'
        : facts.isSymbolicLink()
          ? 'l'
          : '';
    if (kind === 'f' && entry.t === 'f') {
      result.files += 1;
      result.bytes += Number(facts.size);
      if (String(facts.mtimeNs) !== entry.x) {
        result.changed += 1;
        continue;
      }
      if (Number(facts.size) !== entry.s)
        problem(entry.p, `has ${facts.size} bytes, not ${entry.s}`);
      else if ((await digestOf(path).catch(() => '')) !== entry.h)
        problem(entry.p, 'has another content');
    }
    if (kind !== entry.t) problem(entry.p, 'is of another kind');
    else if (kind === 'l' && (await readlink(path)) !== entry.l)
      problem(entry.p, 'leads elsewhere');
    else if (kind !== 'l' && (Number(facts.mode) & 0o7777) !== entry.m)
      problem(
        entry.p,
        `has mode ${(Number(facts.mode) & 0o7777).toString(8)}, not ${entry.m.toString(8)}`,
      );
    else if (Number(facts.uid) !== entry.u || Number(facts.gid) !== entry.g)
      problem(entry.p, `is owned by ${facts.uid}:${facts.gid}, not ${entry.u}:${entry.g}`);
  }
  return result;
}
