import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { dirname } from 'node:path';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { armRollback, disarmRollback } from '../rollback-timer.ts';

/**
 * Changes of the firewall that cannot lock their author out: apply loads a candidate for a while,
 * confirm keeps it, and without a confirmation the last good rules return. Those are always in
 * /etc/nftables.conf, which alone is loaded at boot: a power cut during the trial is a roll-back too.
 */

export const rulesFile = '/etc/nftables.conf';
export const previousFile = '/var/lib/pi-gateway/firewall/previous.nft';
/** Lost with the power, as it should be; the roll-back's service removes it. */
const trialFolder = '/run/pi-gateway/firewall';
const pendingFile = `${trialFolder}/pending.json`;
const candidateFile = `${trialFolder}/candidate.nft`;
/** Loads {@link rulesFile} with plain nft(8): it works whatever has become of this program. */
const rollbackUnit = 'pi-gateway-firewall-rollback';

export type Pending = {
  /** The file's name, as it was given. */
  file: string;
  /** When the last good rules return, in seconds since boot: a Pi's clock jumps when it finds the time. */
  until: number;
};

/** The trial that waits for a confirmation. */
export async function readPending(system: System): Promise<Pending | undefined> {
  const text = await readIfThere(at(system, pendingFile));
  return text === undefined ? undefined : parsePending(text);
}

function parsePending(text: string): Pending | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const { file, until } = value as Partial<Pending>;
    return typeof file === 'string' && typeof until === 'number' ? { file, until } : undefined;
  } catch {
    return undefined;
  }
}

export function secondsLeft(pending: Pending): number {
  return Math.max(0, Math.round(pending.until - uptime()));
}

/**
 * Loads a candidate for `seconds`. The roll-back is armed, and seen to be, before the candidate is
 * loaded; nft(8) loads it whole or not at all.
 * @throws GatewayError when a trial is under way, or the candidate is refused: the rules then are
 *   those of before, and nothing is armed.
 */
export async function apply(
  system: System,
  file: string,
  text: string,
  seconds: number,
): Promise<Pending> {
  refuseUnfit(text);
  await claim(system);
  const pending: Pending = { file, until: uptime() + seconds };
  let reached: 'claimed' | 'armed' | 'loading' = 'claimed';
  try {
    await writeFile(at(system, pendingFile), JSON.stringify(pending), { mode: 0o600 });
    await writeFile(at(system, candidateFile), text, { mode: 0o600 });
    await nft(system, ['--check', '--file', at(system, candidateFile)], file);
    reached = 'armed';
    await arm(system, seconds);
    reached = 'loading';
    await nft(system, ['--file', at(system, candidateFile)], file);
    return pending;
  } catch (error) {
    // An nft that was ended in the middle may have loaded them. If these do not load, the timer stays.
    if (reached === 'loading') await nft(system, ['--file', at(system, rulesFile)], rulesFile);
    if (reached !== 'claimed') await disarm(system);
    await endTrial(system);
    throw error;
  }
}

/** Of two that apply at once, one makes the folder. */
async function claim(system: System): Promise<void> {
  await mkdir(at(system, dirname(trialFolder)), { recursive: true, mode: 0o755 });
  try {
    await mkdir(at(system, trialFolder), { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const other = await readPending(system);
    throw new GatewayError(
      other && secondsLeft(other) > 0
        ? `Other rules are on trial already: ${other.file}, for ${secondsLeft(other)} s more`
        : 'Other rules are on trial already, or were when their apply was killed',
      'Keep them: sudo pi-gateway firewall confirm; or drop them: sudo pi-gateway firewall rollback',
    );
  }
}

/** What nft would take and this device must not. */
function refuseUnfit(text: string): void {
  const rules = text.replaceAll(/#.*$/gm, '');
  if (/\bflush\s+ruleset\b/.test(rules))
    throw new GatewayError(
      "The rules flush everybody's: fail2ban's bans and the containers' networks would be gone",
      "Take 'flush ruleset' out; 'delete table inet gateway' at the start is enough",
    );
  if (!/^\s*(delete|destroy)\s+table\s+inet\s+gateway\s*;?\s*$/m.test(rules))
    throw new GatewayError(
      'The rules do not replace those of the gateway: they would be added to them',
      `Begin as ${rulesFile} does: 'table inet gateway', 'delete table inet gateway', and then the new table`,
    );
}

async function nft(system: System, args: readonly string[], file: string): Promise<void> {
  try {
    await system.run('nft', args);
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError(
      `nft refuses ${file}: ${text.replaceAll(at(system, candidateFile), file)}`,
      'Nothing was changed. Mend the rules that it shows and apply them again',
    );
  }
}

async function arm(system: System, seconds: number): Promise<void> {
  await armRollback(system, rollbackUnit, seconds, 'Nothing was loaded.');
}

const disarm = (system: System) => disarmRollback(system, rollbackUnit);

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

async function endTrial(system: System): Promise<void> {
  await rm(at(system, trialFolder), { recursive: true, force: true });
}

/**
 * Makes the rules on trial the last good ones, on the disk, and then disarms the roll-back; so a
 * power cut at any point leaves the one or the other.
 * @throws GatewayError when there is no trial, e.g. because its time is over.
 */
export async function confirm(system: System): Promise<Pending> {
  const pending = await readPending(system);
  const candidate = await readIfThere(at(system, candidateFile));
  // The timer is as exact as a second; the roll-back removes the trial.
  if (!pending || candidate === undefined || pending.until + 5 < uptime())
    throw new GatewayError(
      'There are no rules to confirm; if some were applied, their time is over',
      'See which are in force: sudo pi-gateway firewall status',
    );
  await keepPrevious(system, candidate);
  await writeDurably(at(system, rulesFile), candidate);
  await disarm(system);
  if (await rolledBack(system)) await system.run('nft', ['--file', at(system, rulesFile)]);
  await endTrial(system);
  return pending;
}

/**
 * Whether the roll-back fired while the candidate was written: it may then have loaded the rules of
 * before, and is waited for.
 */
async function rolledBack(system: System): Promise<boolean> {
  for (let tries = 0; tries < 100; tries++) {
    const state = await system.run('systemctl', [
      'show',
      '--property=ActiveState',
      '--value',
      `${rollbackUnit}.service`,
    ]);
    if (state.trim() !== 'activating')
      return (await readIfThere(at(system, pendingFile))) === undefined;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return true;
}

async function keepPrevious(system: System, next: string): Promise<void> {
  const now = await readIfThere(at(system, rulesFile));
  if (now !== undefined && now !== next) await writeDurably(at(system, previousFile), now, 0o600);
}

/**
 * Ends a trial at once; without one, returns to the rules that the last confirmed ones replaced
 * (which become the previous ones: a second roll-back undoes the first).
 */
export async function rollback(system: System): Promise<'trial' | 'previous'> {
  if (await isThere(at(system, trialFolder))) {
    await nft(system, ['--file', at(system, rulesFile)], rulesFile);
    await disarm(system);
    await endTrial(system);
    return 'trial';
  }
  const previous = await readIfThere(at(system, previousFile));
  if (previous === undefined)
    throw new GatewayError(
      'There are no earlier rules to return to',
      "These are the image's own; see them: sudo nft list table inet gateway",
    );
  await nft(system, ['--file', at(system, previousFile)], previousFile);
  await keepPrevious(system, previous);
  await writeDurably(at(system, rulesFile), previous);
  return 'previous';
}
