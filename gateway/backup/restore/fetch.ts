import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  at,
  makeFolder,
  readIfThere,
  type System,
  writeDurably,
} from '../../../firstboot/system.ts';
import { GatewayError } from '../../errors.ts';
import { compare, readManifest } from '../manifest.ts';
import { Restic, ResticError, type Snapshot } from '../restic.ts';
import type { RunProgram } from '../run-program.ts';
import { sshSeed } from '../ssh-key.ts';
import { openTarget, runtimeFolder } from '../target.ts';
import { damage, refuseWithoutRoom } from '../tasks.ts';
import {
  type Ready,
  type RestoreWish,
  readReady,
  readRequest,
  readyFile,
  restoreFolder,
  treeFolder,
} from './request.ts';

/**
 * Fetches the snapshot of a request into a tree beside the root and finds out whether it is whole. Nothing of the
 * device is touched by it, and a power cut makes it begin anew.
 * @returns undefined if nothing is asked for.
 * @throws GatewayError if no snapshot could be had; the request stays.
 */
export async function fetchRestore(system: System, run: RunProgram): Promise<Ready | undefined> {
  const wish = await readRequest(system);
  if (!wish) return undefined;
  const there = await readReady(system);
  if (there) return there;
  await makeFolder(at(system, runtimeFolder), 0o700);
  const passwordFile = at(system, `${runtimeFolder}/restore-password`);
  try {
    await writeFile(passwordFile, `${wish.password}\n`, { mode: 0o600 });
    const open = await openTarget(
      system,
      wish.target,
      {},
      {
        passwordFile,
        sshSeed: async () => wish.ssh_key ?? (await sshSeed(system)),
      },
    );
    try {
      return await fetchFrom(system, new Restic(open.repository, run), wish);
    } finally {
      await open.close();
    }
  } finally {
    await rm(passwordFile, { force: true });
  }
}

async function fetchFrom(system: System, restic: Restic, wish: RestoreWish): Promise<Ready> {
  const { name, location } = restic.repository;
  const all = await restic.snapshots();
  const wanted = all.filter(({ id }) => id.startsWith(wish.snapshot ?? ''));
  if (wanted.length === 0)
    throw new GatewayError(
      wish.snapshot === undefined
        ? `${name} (${location}): there is no backup of a gateway`
        : `${name} (${location}): there is no snapshot ${wish.snapshot}`,
      `There are: ${all.map(shown).slice(0, 10).join(', ') || 'none'}`,
    );
  const notes: string[] = [];
  const tree = at(system, treeFolder);
  for (const one of wanted) {
    try {
      await makeFolder(at(system, restoreFolder), 0o700);
      await rm(tree, { recursive: true, force: true });
      await makeFolder(tree, 0o700);
      await fetchWhole(restic, one, tree);
      const ready: Ready = {
        snapshot: one.id.slice(0, 8),
        at: new Date(one.time).toISOString(),
        notes,
      };
      // The tree's files are others' to write, and nothing says that they are on disk.
      await system.run('sync', []);
      await writeDurably(at(system, readyFile), `${JSON.stringify(ready)}\n`, 0o600);
      return ready;
    } catch (error) {
      if (!(error instanceof ResticError) || error.trouble !== 'damaged') throw error;
      const note = `The snapshot ${shown(one)} is damaged and was not used: ${error.message}`;
      system.say(note);
      notes.push(note.slice(0, 500));
      await rm(tree, { recursive: true, force: true });
    }
  }
  throw new GatewayError(
    `${name} (${location}): no snapshot is whole (${wanted.length} were tried). ${notes[0] ?? ''}`,
    'Restore from another target of the recovery sheet; docs/backups.md says what can be saved of a damaged one',
  );
}

const shown = ({ id, time }: Snapshot) =>
  `${id.slice(0, 8)} of ${new Date(time).toISOString().slice(0, 16)}Z`;

async function fetchWhole(restic: Restic, found: Snapshot, tree: string): Promise<void> {
  await refuseWithoutRoom(restic, found, tree);
  const ran = await restic.try(['restore', found.id, '--target', tree, '--verify', '--no-lock'], {
    onLine: () => undefined,
  });
  if (ran.code !== 0) throw damage(restic, ran.stderr, ran.code);
  const manifest = await readManifest(tree);
  if (!manifest)
    throw damage(restic, 'it is no backup of a gateway, or its manifest is damaged', 1);
  const { problems } = await compare(manifest, tree);
  if (problems.length > 0)
    throw damage(
      restic,
      `restored files are not what they were: ${problems.slice(0, 5).join('; ')}`,
      1,
    );
}

/**
 * Names the machine as it is to be from the next start on: what starts then before the tree is in place, the journal
 * for one, has it already.
 */
export async function nameMachine(system: System): Promise<void> {
  const id = await readIfThere(join(at(system, treeFolder), 'etc/machine-id'));
  if (id !== undefined && /^[0-9a-f]{32}\n$/.test(id))
    await writeDurably(at(system, '/etc/machine-id'), id, 0o444);
}
