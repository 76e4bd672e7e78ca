import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { at, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';

/** In memory: after a power cut nobody holds it. */
const lockFile = '/run/pi-gateway/settings.lock';

/** Milliseconds: longer than any change takes. */
const patience = 120_000;

/**
 * Lets one process at a time change the settings: the helper, the roll-back's service and who repairs by
 * hand. The lock of a process that was killed is taken over.
 */
export async function withLock<T>(system: System, work: () => Promise<T>): Promise<T> {
  const path = at(system, lockFile);
  await mkdir(dirname(path), { recursive: true });
  const end = performance.now() + patience;
  while (!(await take(path))) {
    if (performance.now() > end)
      throw new GatewayError(
        'Another change of the settings is under way, and does not end',
        `See what it does: journalctl -u pi-gateway-helper; its process is in ${lockFile}`,
        'conflict',
      );
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  const own = `${path}.${randomUUID()}`;
  try {
    // A link is there with its content or not at all; a new file would be empty first.
    await writeFile(own, String(process.pid), { mode: 0o600 });
    await link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(own, { force: true });
  }
  const holder = Number((await readFile(path, 'utf8').catch(() => '')) || Number.NaN);
  if (Number.isInteger(holder) && !isAlive(holder)) {
    // Of several that see it, one moves it away.
    await rename(path, `${path}.dead`).catch(() => undefined);
    await rm(`${path}.dead`, { force: true });
  }
  return false;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
