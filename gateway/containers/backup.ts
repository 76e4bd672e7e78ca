import { rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { readState } from './app.ts';
import { type Owner, userSystemctl } from './owner.ts';
import { volumesFolder } from './places.ts';

/** Milliseconds: gigabytes from a card. */
const slow = 7_200_000;

/**
 * The volumes of an app in one tar archive, with owners as they are; the app rests meanwhile and is started again
 * in any case. @returns its size in bytes.
 */
export async function backUp(
  system: System,
  owner: Owner,
  app: string,
  file: string,
): Promise<number> {
  const { units, volumes } = await readState(system, app);
  if (volumes.length === 0)
    throw new GatewayError(`${app} has no volumes`, 'There is nothing to keep of it', 'missing');
  const path = resolve(file);
  const there = await stat(path).catch(() => undefined);
  if (there) throw new GatewayError(`${file} is there already`, 'Name a new file', 'conflict');
  const part = `${path}.part`;
  try {
    await userSystemctl(owner, ['stop', ...units], 300_000);
    await system.run('sh', ['-c', 'umask 077; : > "$0"', part]);
    await system.run(
      'tar',
      ['--create', '--file', part, '--numeric-owner', '--xattrs', '-C', volumesFolder, ...volumes],
      { timeout: slow },
    );
    await rename(part, path);
  } finally {
    await rm(part, { force: true });
    await userSystemctl(owner, ['start', '--no-block', ...units]);
  }
  return (await stat(path)).size;
}
