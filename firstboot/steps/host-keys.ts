import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Step } from '../step.ts';
import { at, readIfThere, type System, syncDirectory, writeDurably } from '../system.ts';

/**
 * No ECDSA: its NIST curves are the ones that sshd is told not to use. RSA of 4096 bit: what ssh-audit's
 * policy for Debian 13 asks for. Measured: 2 s under emulation (3072 bit: 1 s), and it is made once.
 */
const kinds = [
  { type: 'ed25519', args: [] },
  { type: 'rsa', args: ['-b', '4096'] },
] as const;

export const hostKeys: Step = {
  name: 'ssh-host-keys',
  // RSA of 4096 bit is a matter of luck: 1 to 10 s on a Pi 3, ten times that under emulation.
  timeout: 180_000,
  needs: ['entropy'],
  check: async (system) => {
    for (const { type } of kinds) if (!(await isWhole(system, keyPath(system, type)))) return false;
    return true;
  },
  apply: async (system) => {
    for (const { type, args } of kinds) {
      const path = keyPath(system, type);
      if (await isWhole(system, path)) continue;
      await makeKey(system, path, type, args);
    }
  },
};

function keyPath(system: System, type: string): string {
  return at(system, `/etc/ssh/ssh_host_${type}_key`);
}

/** A key counts if it parses and its public half is the one beside it; a file of zero bytes is none. */
async function isWhole(system: System, path: string): Promise<boolean> {
  const beside = await readIfThere(`${path}.pub`);
  if (!beside) return false;
  try {
    const derived = await publicHalf(system, path);
    return sameKey(derived, beside);
  } catch {
    return false;
  }
}

async function publicHalf(system: System, path: string): Promise<string> {
  return await system.run('ssh-keygen', ['-y', '-P', '', '-f', path]);
}

function sameKey(a: string, b: string): boolean {
  const words = (text: string) => text.trim().split(/\s+/).slice(0, 2).join(' ');
  return words(a) !== '' && words(a) === words(b);
}

async function makeKey(
  system: System,
  path: string,
  type: string,
  args: readonly string[],
): Promise<void> {
  const temporary = `${path}.new`;
  // A private key whose public half was lost is kept: peers may know it already.
  const kept = await publicHalf(system, path).catch(() => undefined);
  if (kept) {
    await writeDurably(`${path}.pub`, kept);
    return;
  }
  await rm(temporary, { force: true });
  await rm(`${temporary}.pub`, { force: true });
  await system.run('ssh-keygen', [
    '-q',
    '-t',
    type,
    ...args,
    '-N',
    '',
    '-C',
    'gateway',
    '-f',
    temporary,
  ]);
  const made = await publicHalf(system, temporary);
  await system.run('sync', [temporary]);
  await rename(temporary, path);
  await syncDirectory(join(path, '..'));
  await writeDurably(`${path}.pub`, made);
  await rm(`${temporary}.pub`, { force: true });
}
