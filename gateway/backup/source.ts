import { writeFile } from 'node:fs/promises';
import { deviceId } from '../../firstboot/device-id.ts';
import { at, type System } from '../../firstboot/system.ts';
import { readHostname } from '../image-facts.ts';
import { declarations, excludeLines, expand } from './declared.ts';
import { quiesce, resume } from './hooks.ts';
import { manifestPath, readManifest, takeManifest, writeManifest } from './manifest.ts';
import type { BackupSettings } from './settings.ts';
import { stateFolder } from './state.ts';
import { runtimeFolder } from './target.ts';

/** Never in a backup, whoever declares a folder around them. */
const never = [
  ...['/proc', '/sys', '/dev', '/run', '/tmp', '/var/cache', stateFolder],
  // Of its own folder the manifest is in each backup: restic is told of the others by name.
  ...[`${stateFolder}/restore`, `${stateFolder}/scratch`],
];

export type Source = {
  /** Files for restic: what is backed up, and what is left out of it. */
  list: string;
  excludes: string;
  host: string;
  /** What does not make the backup worthless, but must be told. */
  problems: string[];
};

/**
 * Everything that is to be backed up, brought to rest and listed with its digests, for as long as `work` takes.
 */
export async function withSource<T>(
  system: System,
  settings: BackupSettings,
  work: (source: Source) => Promise<T>,
): Promise<T> {
  const { found, problems } = await declarations(system, settings);
  try {
    problems.push(...(await quiesce(system, found)));
    const exclude = [...never, ...found.flatMap((one) => one.exclude)];
    const of = (wanted: (one: (typeof found)[number]) => boolean) =>
      expand(
        system,
        found.filter(wanted).flatMap((one) => one.paths),
      );
    const paths = await of(() => true);
    const host = await readHostname(system);
    const manifest = await takeManifest(
      system,
      {
        version: 1,
        at: new Date().toISOString(),
        host,
        device: await deviceId(system).catch(() => ''),
        mirror: await of((one) => one.mirror && one.restore),
        exclude,
        reference: await of((one) => !one.restore),
        restored: found.flatMap((one) => one.restored),
      },
      paths,
      await readManifest(system.root),
    );
    await writeManifest(system, manifest);
    const list = at(system, `${runtimeFolder}/paths`);
    const excludes = at(system, `${runtimeFolder}/excludes`);
    // Relative to the root, which restic is started in: so they lie in the snapshot whatever the root is.
    const relative = [...paths, manifestPath].map((one) => `${one.slice(1)}\n`);
    await writeFile(list, relative.join(''), { mode: 0o600 });
    // The manifest's own folder is left out of the walk, not of restic: it is named.
    await writeFile(
      excludes,
      excludeLines(
        system.root,
        exclude.filter((one) => !manifestPath.startsWith(one)),
      ),
      {
        mode: 0o600,
      },
    );
    return await work({ list, excludes, host, problems });
  } finally {
    for (const problem of await resume(system)) system.say(problem);
  }
}
