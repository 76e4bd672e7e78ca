import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDeviceCard } from '../../firstboot/device-card.ts';
import { generateHostKey, hostKeyKinds, publicHalf } from '../../firstboot/steps/host-keys.ts';
import {
  at,
  readIfThere,
  type System,
  syncDirectory,
  syncFile,
  writeDurably,
} from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';

const stateFile = '/var/lib/pi-gateway/ssh/rotation.json';
const configFile = '/etc/ssh/sshd_config.d/20-gateway-rotation.conf';

/** A rotation that is under way: until `until` (ISO 8601) sshd has the old keys and the next ones. */
export type Rotation = { until: string };

const current = (type: string) => `/etc/ssh/ssh_host_${type}_key`;
const next = (type: string) => `/etc/ssh/ssh_host_${type}_key_next`;

export type HostKey = { type: string; fingerprint: string; state: 'current' | 'next' };

/**
 * Begins a rotation: makes new keys beside the old ones and lets sshd offer both. Clients that trust the
 * old key learn the new one at their next login (UpdateHostKeys in ssh_config(5), on by default).
 * Safe to be killed at any point and to be called again.
 */
export async function beginRotation(
  system: System,
  o: { overlapDays: number; now: Date },
): Promise<Rotation> {
  const running = await readRotation(system);
  if (running)
    throw new GatewayError(
      `A rotation is under way until ${running.until}`,
      'Let it end, or end it now: sudo pi-gateway ssh finish-rotation --now',
    );
  for (const kind of hostKeyKinds) await makeNext(system, kind);
  const rotation = { until: new Date(o.now.getTime() + o.overlapDays * 86_400_000).toISOString() };
  // The old keys come first in the configuration (10-gateway.conf): sshd proves itself with the first of
  // a type, which clients know, and only announces the others.
  await writeDurably(
    at(system, configFile),
    `# A rotation of host keys, until ${rotation.until}; pi-gateway ssh finish-rotation removes it.\n${hostKeyKinds
      .map(({ type }) => `HostKey ${next(type)}\n`)
      .join('')}`,
    0o600,
  );
  await writeDurably(at(system, stateFile), `${JSON.stringify(rotation)}\n`, 0o600);
  await reload(system);
  return rotation;
}

/**
 * Ends a rotation whose time is over: the next keys become the keys, the old ones are gone.
 * @returns whether there was one to end.
 */
export async function finishRotation(
  system: System,
  o: { now: Date; force: boolean },
): Promise<boolean> {
  const rotation = await readRotation(system);
  if (!rotation || (!o.force && new Date(rotation.until) > o.now)) return false;
  for (const { type } of hostKeyKinds) {
    const to = at(system, current(type));
    const from = at(system, next(type));
    // A power cut may have come after this key's turn, or within it: the rest is then done again.
    if ((await readIfThere(from)) !== undefined) {
      await publicHalf(system, from); // a key that does not parse must not replace one that does
      await rename(from, to);
      await syncDirectory(at(system, '/etc/ssh'));
    }
    await writeDurably(`${to}.pub`, await publicHalf(system, to));
    await rm(`${from}.pub`, { force: true });
  }
  await rm(at(system, configFile), { force: true });
  await syncDirectory(join(at(system, configFile), '..'));
  await reload(system);
  await writeDeviceCard(system);
  await rm(at(system, stateFile), { force: true });
  return true;
}

/** The rotation that is under way, if any. What cannot be read counts as over: it is then ended. */
export async function readRotation(system: System): Promise<Rotation | undefined> {
  const text = await readIfThere(at(system, stateFile));
  if (text === undefined) return undefined;
  try {
    const { until } = JSON.parse(text) as Partial<Rotation>;
    if (until !== undefined && !Number.isNaN(Date.parse(until))) return { until };
  } catch {}
  return { until: new Date(0).toISOString() };
}

export async function listHostKeys(system: System): Promise<HostKey[]> {
  const keys: HostKey[] = [];
  for (const { type } of hostKeyKinds)
    for (const [state, path] of [
      ['current', current(type)],
      ['next', next(type)],
    ] as const) {
      if ((await readIfThere(at(system, `${path}.pub`))) === undefined) continue;
      const line = await system.run('ssh-keygen', ['-l', '-f', at(system, `${path}.pub`)]);
      keys.push({ type, state, fingerprint: line.split(' ')[1] ?? '' });
    }
  return keys;
}

async function makeNext(system: System, kind: (typeof hostKeyKinds)[number]): Promise<void> {
  const path = at(system, next(kind.type));
  const temporary = `${path}.new`;
  for (const leftover of [path, `${path}.pub`]) await rm(leftover, { force: true });
  await generateHostKey(system, temporary, kind, { timeout: 600_000 });
  await syncFile(temporary);
  await rename(`${temporary}.pub`, `${path}.pub`);
  await rename(temporary, path);
  await syncDirectory(join(path, '..'));
}

async function reload(system: System): Promise<void> {
  await system.run('systemctl', ['reload', 'ssh.service']);
}
