import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { type ComplianceFlags, reportCompliance } from '../../gateway/compliance/command.ts';
import { factsOfDirectory, factsOfTree } from '../../gateway/compliance/facts.ts';
import { type FileStat, type FileTree, followLinks } from '../../gateway/compliance/tree.ts';
import { BuildError, exitCode } from '../errors.ts';
import { byName, type FileEntry, type FileSystem, readText } from './file-system.ts';
import { withImage } from './open.ts';

/** Where the boot partition is mounted on the device. */
const bootPlace = '/boot/firmware';

/** An image's two file systems as one tree, as mounted on the device. */
export function imageTree(root: FileSystem, boot: FileSystem): FileTree {
  const place = (path: string): [FileSystem, string] =>
    path.startsWith(`${bootPlace}/`) ? [boot, path.slice(bootPlace.length)] : [root, path];
  const names = new Map<string, string[]>();
  const remember = (path: string) => {
    const directory = posix.dirname(path);
    const all = names.get(directory) ?? [];
    all.push(posix.basename(path));
    names.set(directory, all);
  };
  for (const path of root.files.keys()) if (!path.startsWith(`${bootPlace}/`)) remember(path);
  for (const path of boot.files.keys()) remember(`${bootPlace}${path}`);
  const entry = (path: string): FileEntry | undefined => {
    const [system, inner] = place(path);
    return system.files.get(inner);
  };
  return followLinks({
    lstat: (path) => {
      if (path === '/')
        return { kind: 'directory', mode: 0o755, uid: 0, gid: 0, size: 0 } satisfies FileStat;
      const found = entry(path);
      if (!found) return undefined;
      const { mode, uid, gid, size, kind } = found;
      const known = kind === 'file' || kind === 'directory' || kind === 'link' ? kind : 'other';
      return { kind: known, mode, uid, gid, size };
    },
    readlink: (path) => entry(path)?.target ?? '',
    read: (path) => {
      const text = readText(...place(path));
      if (text === undefined) throw new Error(`${path} is no file`);
      return text;
    },
    list: (path) => (names.get(path) ?? []).toSorted(byName),
    sameFileSystem: (path) => path !== bootPlace,
  });
}

/** Judges an image, raw or compressed; needs neither root nor a mount. @returns the exit code. */
export async function judgeImage(path: string, o: ComplianceFlags): Promise<number> {
  return await withImage(path, ({ root, boot }) =>
    reportCompliance(factsOfTree(imageTree(root, boot)), o, path),
  );
}

/** Judges a root file system in a directory. @returns the exit code. */
export async function judgeDirectory(path: string, o: ComplianceFlags): Promise<number> {
  if (!(await stat(path).catch(() => undefined))?.isDirectory())
    throw new BuildError({
      what: 'There is no such directory',
      where: path,
      fix: 'Give the place of a root file system, e.g. --tree /mnt',
      code: exitCode.usage,
    });
  return reportCompliance(factsOfDirectory(path), o, path);
}
