import { statSync } from 'node:fs';
import { settingsPath, statusFile } from '../../ddns/view.ts';
import type { Files } from '../files.ts';
import { span } from '../words.ts';
import { type CheckDefinition, failed, ok, unknown, warning } from './check.ts';

/** Checks of what other parts of the device have written about themselves. */

/** The DDNS service looks every 5 minutes; later than this it does not run. */
const ddnsStale = 3600;

export function ddnsCheck(files: Files, every: number, now: () => number): CheckDefinition {
  return {
    id: 'ddns',
    title: 'Dynamic DNS',
    needs: ['uplink', 'dns'],
    every,
    confirm: 2,
    look: async () => {
      const text = files.text(statusFile);
      if (text === undefined)
        return unknown(
          modified(files, settingsPath) === undefined
            ? 'It is not set up'
            : 'It has not run since the start',
        );
      const status = parse(text);
      if (!status) return warning(`${statusFile} cannot be read`);
      const age = now() - Date.parse(status.checked_at) / 1000;
      if (age > ddnsStale)
        return warning(`It has not looked for ${span(age)}: journalctl -u pi-gateway-ddns`);
      if (status.failed || status.state === 'error') return failed(status.summary);
      return status.state === 'fallback' ? warning(status.summary) : ok(status.summary);
    },
  };
}

function parse(
  text: string,
): { checked_at: string; state: string; failed: boolean; summary: string } | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { checked_at, state, failed, summary } = value as Record<string, unknown>;
    return typeof checked_at === 'string' &&
      typeof state === 'string' &&
      typeof summary === 'string'
      ? { checked_at, state, failed: failed === true, summary }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Debian's mark that a restart is due, and apt's of its last successful runs (apt.systemd.daily). */
const rebootMark = '/run/reboot-required';
const updateStamp = '/var/lib/apt/periodic/update-stamp';
const upgradeStamp = '/var/lib/apt/periodic/upgrade-stamp';

/** Seconds without a look for updates until it is told: they are daily. */
const updatesStale = 4 * 86_400;

/** Seconds that a restart may be due: a security update has no effect before. */
const rebootStale = 7 * 86_400;

export function updatesCheck(files: Files, every: number, now: () => number): CheckDefinition {
  return {
    id: 'updates',
    title: 'Security updates',
    needs: ['uplink', 'dns', 'unit:apt-daily-upgrade.service'],
    every,
    confirm: 1,
    look: async () => {
      const due = modified(files, rebootMark);
      if (due !== undefined && now() - due > rebootStale)
        return warning(
          `A restart is due for ${span(now() - due)}, until then updates have no effect: sudo reboot`,
        );
      const looked = modified(files, updateStamp);
      const installed = modified(files, upgradeStamp);
      if (looked === undefined && installed === undefined)
        return unknown('None has been looked for yet');
      const age = now() - Math.max(looked ?? 0, installed ?? 0);
      if (age > updatesStale)
        return warning(`None has been looked for in ${span(age)}: journalctl -u apt-daily`);
      return ok(due === undefined ? 'They are installed daily' : 'Installed; a restart is due');
    },
  };
}

/** Seconds since 1970 of the file's last change; undefined if there is none. */
function modified(files: Files, path: string): number | undefined {
  try {
    return statSync(files.path(path)).mtimeMs / 1000;
  } catch {
    return undefined;
  }
}
