import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { at, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';

export type Lock = {
  /** On the device. */
  path: string;
  /** What changes one at a time, for who waits in vain. */
  of: string;
};

/** In memory. Never removed: who had opened it would then wait for another file than who comes later. */
const settingsLock: Lock = { path: '/run/pi-gateway/settings.lock', of: 'settings' };

/** Seconds: longer than any change takes. */
const patience = 120;
/** flock(1)'s own exit code for who waited in vain. */
const inVain = 75;

/**
 * Lets one process at a time change the settings: the helper, the roll-back's service and who repairs by
 * hand. The kernel holds the lock for the opened file, and gives it to the next when the last process that
 * has this one open ends, however it ends: flock(2).
 * @param seconds how long to wait.
 * @param lock of what has one of its own.
 * @throws GatewayError (conflict) if it waits in vain.
 */
export async function withLock<T>(
  system: System,
  work: () => Promise<T>,
  seconds = patience,
  lock: Lock = settingsLock,
): Promise<T> {
  const path = at(system, lock.path);
  await mkdir(dirname(path), { recursive: true });
  // Not emptied: who holds it has written its process there.
  const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  try {
    await take(file, seconds, lock);
    await file.truncate();
    await file.write(`${process.pid}\n`, 0);
    return await work();
  } finally {
    // Other programs that this process starts do not have it open: node opens all with O_CLOEXEC.
    await file.close();
  }
}

/** Node has no flock(2). flock(1) takes it for what both have open, and leaves it there when it ends. */
async function take(file: FileHandle, seconds: number, lock: Lock): Promise<void> {
  const waits = spawn(
    'flock',
    ['--exclusive', '--timeout', String(seconds), '--conflict-exit-code', String(inVain), '3'],
    { stdio: ['ignore', 'ignore', 'pipe', file.fd], env: { PATH: '/usr/bin:/bin' } },
  );
  let said = '';
  waits.stderr?.on('data', (data: Buffer) => {
    said += data.toString();
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    waits.once('error', reject);
    waits.once('close', resolve);
  });
  if (code === 0) return;
  if (code !== inVain) throw new Error(`flock failed: ${said.trim() || `exit code ${code}`}`);
  throw new GatewayError(
    `Another change of the ${lock.of} is under way, and does not end`,
    `See what it does: journalctl -u pi-gateway-helper; its process is in ${lock.path}`,
    'conflict',
  );
}
