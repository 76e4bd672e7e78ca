import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Step } from '../step.ts';
import {
  at,
  type RunOptions,
  readIfThere,
  type System,
  syncDirectory,
  syncFile,
  writeDurably,
} from '../system.ts';

/**
 * No ECDSA: its NIST curves are the ones that sshd is told not to use. RSA of 4096 bit: what ssh-audit's
 * policy for Debian 13 asks for. Measured: 2 s under emulation (3072 bit: 1 s), and it is made once.
 */
export const hostKeyKinds = [
  { type: 'ed25519', args: [] },
  { type: 'rsa', args: ['-b', '4096'] },
] as const;
type HostKeyKind = (typeof hostKeyKinds)[number];

export const hostKeys: Step = {
  name: 'ssh-host-keys',
  // RSA of 4096 bit is a matter of luck: 1 to 10 s on a Pi 3, ten times that under emulation.
  timeout: 180_000,
  needs: ['entropy'],
  begin: async (system) => {
    await Promise.all(
      hostKeyKinds.map(async (kind) => {
        const path = keyPath(system, kind.type);
        if ((await readIfThere(path)) === undefined)
          await generateHostKey(system, `${path}.new`, kind);
      }),
    );
  },
  check: async (system) => {
    const keys = await Promise.all(
      hostKeyKinds.map(({ type }) => wholeKey(system, keyPath(system, type))),
    );
    return keys.every((key) => key !== undefined);
  },
  apply: async (system) => {
    await Promise.all(
      hostKeyKinds.map(async (kind) => {
        const path = keyPath(system, kind.type);
        if (!(await wholeKey(system, path))) await makeKey(system, path, kind);
      }),
    );
  },
};

function keyPath(system: System, type: string): string {
  return at(system, `/etc/ssh/ssh_host_${type}_key`);
}

/**
 * The public half of a key. It counts if it parses and its public half is the one beside it; a file of
 * zero bytes is none.
 */
async function wholeKey(system: System, path: string): Promise<string | undefined> {
  const beside = await readIfThere(`${path}.pub`);
  if (!beside) return undefined;
  const derived = await publicHalf(system, path).catch(() => '');
  return sameKey(derived, beside) ? beside : undefined;
}

/** @throws if the private key does not parse. */
export async function publicHalf(system: System, path: string): Promise<string> {
  return await system.run('ssh-keygen', ['-y', '-P', '', '-f', path]);
}

function sameKey(a: string, b: string): boolean {
  const words = (text: string) => text.trim().split(/\s+/).slice(0, 2).join(' ');
  return words(a) !== '' && words(a) === words(b);
}

async function makeKey(system: System, path: string, kind: HostKeyKind): Promise<void> {
  // A private key whose public half was lost is kept: peers may know it already.
  const kept = (await readIfThere(path))
    ? await publicHalf(system, path).catch(() => undefined)
    : undefined;
  if (kept) return await writeDurably(`${path}.pub`, kept);
  const temporary = `${path}.new`;
  let made = await wholeKey(system, temporary);
  if (!made) {
    await generateHostKey(system, temporary, kind);
    made = await publicHalf(system, temporary);
  }
  await syncFile(temporary);
  await rm(`${temporary}.pub`);
  await rename(temporary, path);
  await syncDirectory(join(path, '..'));
  await writeDurably(`${path}.pub`, made);
}

/** A new key pair in place of what is there; ssh-keygen(1) does not sync it. */
export async function generateHostKey(
  system: System,
  path: string,
  { type, args }: HostKeyKind,
  options?: RunOptions,
): Promise<void> {
  await rm(path, { force: true });
  await rm(`${path}.pub`, { force: true });
  const names = ['-N', '', '-C', 'gateway', '-f', path];
  await system.run('ssh-keygen', ['-q', '-t', type, ...args, ...names], options);
}
