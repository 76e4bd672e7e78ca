import {
  chmod,
  copyFile,
  lchown,
  lstat,
  mkdir,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  utimes,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeDeviceCard } from '../../../firstboot/device-card.ts';
import { statusFile } from '../../../firstboot/report.ts';
import {
  at,
  readIfThere,
  type System,
  syncDirectory,
  writeDurably,
} from '../../../firstboot/system.ts';
import { matcher } from '../declared.ts';
import { type Manifest, type ManifestEntry, manifestPath, readManifest } from '../manifest.ts';
import { writeRestored } from '../state.ts';
import { type AccountFile, type Accounts, accountFiles, idMap, mergeAccounts } from './accounts.ts';
import {
  finishFile,
  type Ready,
  readReady,
  readyFile,
  requestFile,
  restoreFolder,
  treeFolder,
} from './request.ts';

/**
 * Puts a fetched tree in place, before anything of the gateway starts. Cut off anywhere it begins again at the next
 * boot, as `ready.json` goes last; each file is there whole, the old one or the new one.
 * @returns undefined if there is nothing to put in place.
 */
export async function applyRestore(system: System): Promise<Ready | undefined> {
  const ready = await readReady(system);
  if (!ready) return undefined;
  const tree = at(system, treeFolder);
  const manifest = await readManifest(tree);
  // It was there when ready.json was written; without it nothing may be touched.
  if (!manifest) throw new Error(`${treeFolder} has no manifest: restore again`);
  const old = await readAccounts((path) => readIfThere(join(tree, path)));
  const before = await readAccounts((path) => readIfThere(at(system, path)));
  const accounts = mergeAccounts(old, before);
  for (const [path, text] of Object.entries(accounts))
    if (text !== before[path as AccountFile])
      await writeDurably(
        at(system, path),
        text,
        /shadow/.test(path) ? 0o640 : 0o644,
        await ownerOf(system, path),
      );
  const owners: Owners = {
    user: idMap(old['/etc/passwd'], accounts['/etc/passwd']),
    group: idMap(old['/etc/group'], accounts['/etc/group']),
  };
  await putInPlace(system, manifest, owners);
  await removeOthers(system, manifest);
  await system.run('sync', []);
  await conclude(system, ready, manifest);
  return ready;
}

async function readAccounts(
  read: (path: string) => Promise<string | undefined>,
): Promise<Accounts> {
  const found: Partial<Record<AccountFile, string>> = {};
  for (const file of accountFiles) {
    const text = await read(file);
    if (text !== undefined) found[file] = text;
  }
  return found;
}

/** shadow is the group's that the image has for it. */
async function ownerOf(
  system: System,
  path: string,
): Promise<{ uid: number; gid: number } | undefined> {
  const facts = await lstat(at(system, path)).catch(() => undefined);
  return facts && { uid: facts.uid, gid: facts.gid };
}

type Owners = { user(id: number): number; group(id: number): number };

async function putInPlace(system: System, manifest: Manifest, owners: Owners): Promise<void> {
  const isLeft = matcher([...manifest.head.reference, ...accountFiles, manifestPath]);
  for (const entry of manifest.entries) {
    if (isLeft(entry.p)) continue;
    const from = join(at(system, treeFolder), entry.p);
    const facts = await lstat(from).catch(() => undefined);
    // It went away while the backup was made.
    if (!facts) continue;
    await putOne(from, at(system, entry.p), entry, owners);
  }
}

async function putOne(
  from: string,
  path: string,
  entry: ManifestEntry,
  owners: Owners,
): Promise<void> {
  const [uid, gid] = [owners.user(entry.u), owners.group(entry.g)];
  await mkdir(dirname(path), { recursive: true });
  const there = await lstat(path).catch(() => undefined);
  if (entry.t === 'd') {
    if (there && !there.isDirectory()) await rm(path);
    await mkdir(path, { recursive: true });
    await lchown(path, uid, gid);
    await chmod(path, entry.m);
    return;
  }
  if (there?.isDirectory()) await rm(path, { recursive: true });
  const temporary = join(dirname(path), `.${basename(path)}.restored`);
  await rm(temporary, { force: true });
  if (entry.t === 'l') await symlink(await readlink(from), temporary);
  else {
    await copyFile(from, temporary);
    const facts = await lstat(from);
    await chmod(temporary, entry.m);
    await utimes(temporary, facts.atime, facts.mtime);
  }
  await lchown(temporary, uid, gid);
  // A change of owner takes set-id bits: chown(2).
  if (entry.t === 'f') await chmod(temporary, entry.m);
  await rename(temporary, path);
}

/** What first boot has made here and the backup does not have: a VPN client of its own, for instance. */
async function removeOthers(system: System, manifest: Manifest): Promise<void> {
  const known = new Set(manifest.entries.map((one) => one.p));
  const isLeft = matcher([...manifest.head.exclude, ...manifest.head.reference, ...accountFiles]);
  const visit = async (path: string): Promise<void> => {
    for (const one of await readdir(at(system, path), { withFileTypes: true }).catch(() => [])) {
      const inner = `${path}/${one.name}`;
      if (isLeft(inner)) continue;
      if (!known.has(inner)) await rm(at(system, inner), { recursive: true, force: true });
      else if (one.isDirectory()) await visit(inner);
    }
  };
  for (const path of manifest.head.mirror) await visit(path);
}

async function conclude(system: System, ready: Ready, manifest: Manifest): Promise<void> {
  const text = [
    `Pi Gateway: restored as ${manifest.head.host} from the backup ${ready.snapshot} of ${ready.at}.`,
    ...ready.notes.map((note) => `- ${note}`),
  ];
  const message = [text[0], ...ready.notes].join(' ');
  await writeRestored(system, { at: new Date().toISOString(), ok: true, message });
  const card = await writeDeviceCard(system);
  await writeDurably(
    join(system.root, system.boot, statusFile),
    [...text, '', ...card, ''].join('\n'),
  ).catch((error: unknown) => system.say(`${statusFile} cannot be written: ${String(error)}`));
  for (const line of text) system.say(line);
  await writeDurably(at(system, finishFile), JSON.stringify(manifest.head.restored), 0o600);
  // The request has the password in it. From here on a power cut puts the tree in place once more, and no harm is done.
  await rm(at(system, requestFile), { force: true });
  await rm(at(system, readyFile), { force: true });
  await syncDirectory(at(system, restoreFolder));
  await rm(at(system, treeFolder), { recursive: true, force: true });
}
