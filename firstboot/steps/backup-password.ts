import { randomBytes } from 'node:crypto';
import type { Step } from '../step.ts';
import { at, makeFolder, readIfThere, writeDurably } from '../system.ts';

const path = '/etc/pi-gateway/backup/password';

/** 256 bits for the backup repository; restic takes the file without its line end (--password-file). */
export const backupPassword: Step = {
  name: 'backup-password',
  needs: ['entropy'],
  check: async (system) =>
    /^[A-Za-z0-9_-]{43}\n$/.test((await readIfThere(at(system, path))) ?? ''),
  apply: async (system) => {
    await makeFolder(at(system, '/etc/pi-gateway/backup'), 0o700);
    await writeDurably(at(system, path), `${randomBytes(32).toString('base64url')}\n`, 0o600);
  },
};
