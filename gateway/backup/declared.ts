import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { exists } from '../../firstboot/image.ts';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { jsonOf } from '../json.ts';
import type { BackupSettings } from './settings.ts';

/**
 * What belongs into a backup, as stages and extensions declare it: each leaves a file in this folder of the image,
 * so that who adds a service adds what must be kept of it, and nobody else has to know.
 */
export const declarationsFolder = '/usr/share/pi-gateway/backup.d';

/** A segment of `*` or with a `*` in it stands for any names in that folder. */
const path = z.string().regex(/^(\/[^/\n\0]+)+$/, 'must be a path like /var/lib/photos');

/** A program and its arguments; no shell. It runs outside the backup's sandbox. */
const command = z.array(z.string().min(1)).min(1);

const declaration = z.strictObject({
  description: z.string(),
  /** Files and folders; those that are not there are passed over. */
  paths: z.array(path).min(1),
  exclude: z.array(path).default([]),
  /**
   * True: a restore also removes what is in these folders and not in the backup, so that they are what they were.
   */
  mirror: z.boolean().default(true),
  /** False: only for looking at; a restore of the whole gateway leaves the image's own. */
  restore: z.boolean().default(true),
  /** Before anything is read: brings data to rest on disk. If one fails, the backup is partial, and says so. */
  quiesce: z.array(command).default([]),
  /** Afterwards, in any case; also when the backup was killed. */
  resume: z.array(command).default([]),
  /** After a restore of the whole gateway, once it runs. */
  restored: z.array(command).default([]),
});
export type Declaration = z.output<typeof declaration> & { name: string };

/** All declarations, by name; one that makes no sense is told and passed over: the rest is worth having. */
export async function declarations(
  system: System,
  settings: Pick<BackupSettings, 'paths' | 'exclude'>,
): Promise<{ found: Declaration[]; problems: string[] }> {
  const problems: string[] = [];
  const found: Declaration[] = [];
  const folder = at(system, declarationsFolder);
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json'));
  for (const name of names.sort()) {
    const text = (await readIfThere(join(folder, name))) ?? '';
    const parsed = declaration.safeParse(jsonOf(text));
    if (parsed.success) found.push({ ...parsed.data, name: name.replace(/\.json$/, '') });
    else {
      const [issue] = parsed.error.issues;
      problems.push(
        `${declarationsFolder}/${name} is not used: ${issue?.path.join('.') || 'the file'}: ${issue?.message}`,
      );
    }
  }
  if (settings.paths.length > 0 || settings.exclude.length > 0)
    found.push({
      ...declaration.parse({ description: "The owner's own", paths: ['/nothing'], mirror: false }),
      paths: [...settings.paths].map((one) => one.replace(/\/+$/, '')),
      exclude: settings.exclude.map((one) => one.replace(/\/+$/, '')),
      name: 'settings',
    });
  return { found, problems };
}

/** Matches a path, and everything below it. */
export function matcher(patterns: readonly string[]): (path: string) => boolean {
  const forms = patterns.map(
    (one) => new RegExp(`^${one.split('/').map(segmentForm).join('/')}(/|$)`),
  );
  return (one) => forms.some((form) => form.test(one));
}

const segmentForm = (segment: string) =>
  segment.replaceAll(/[.*+?^${}()|[\]\\]/g, (sign) => (sign === '*' ? '[^/]*' : `\\${sign}`));

/** Paths with their `*` put in; only those that are there. */
export async function expand(system: System, paths: readonly string[]): Promise<string[]> {
  const all: string[] = [];
  for (const one of paths) {
    let so = [''];
    for (const segment of one.split('/').slice(1)) {
      if (!segment.includes('*')) so = so.map((path) => `${path}/${segment}`);
      else {
        const form = new RegExp(`^${segmentForm(segment)}$`);
        const lists = await Promise.all(
          so.map(async (path) =>
            (await readdir(at(system, path === '' ? '/' : path)).catch(() => []))
              .filter((name) => form.test(name))
              .sort()
              .map((name) => `${path}/${name}`),
          ),
        );
        so = lists.flat();
      }
    }
    for (const path of so) if (await exists(system, path)) all.push(path);
  }
  const unique = [...new Set(all)];
  return unique.filter((one) => !unique.some((other) => one.startsWith(`${other}/`)));
}

/** Lines of restic's --exclude-file: a pattern of filepath.Match(3), with variables of the environment. */
export function excludeLines(root: string, patterns: readonly string[]): string {
  return patterns
    .map((one) =>
      join(root, one)
        .replaceAll(/[[?\\]/g, '\\$&')
        .replaceAll('$', '$$$$'),
    )
    .map((line) => `${line}\n`)
    .join('');
}
