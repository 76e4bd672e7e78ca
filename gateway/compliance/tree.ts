import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { join, posix } from 'node:path';

export type FileStat = {
  kind: 'file' | 'directory' | 'link' | 'other';
  /** Permissions, 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
};

/** One entry of a walk over the root file system that is not a plain file of root's. */
export type Found = FileStat & { path: string };

/** A machine's files, wherever they lie. Paths are absolute, as on the device. */
export type FileTree = {
  /** Follows links. Undefined if nothing is there; throws if that cannot be told. */
  stat(path: string): FileStat | undefined;
  /** Text of a file. Throws if it is not there or cannot be read. */
  read(path: string): string;
  /** Names in a directory, sorted; empty if there is none. */
  list(path: string): readonly string[];
  /** Where the last part of the path links to; undefined if it is no link. */
  link(path: string): string | undefined;
  /** Everything on the root file system but links. Not on a live system: there find(1) is quicker. */
  walk?(): Iterable<Found>;
};

/** The least that a tree must know about itself, without following links. */
export type RawTree = {
  lstat(path: string): FileStat | undefined;
  readlink(path: string): string;
  read(path: string): string;
  list(path: string): readonly string[];
  /** False for a mount point below the root, which a walk leaves out. */
  sameFileSystem(path: string): boolean;
};

const mostLinks = 40; // as the kernel: path_resolution(7)

/** Adds links to a raw tree; an absolute link stays inside it. */
export function followLinks(raw: RawTree): FileTree {
  const resolved = (path: string): string | undefined => {
    const pending = path.split('/').filter(Boolean).reverse();
    let at = '/';
    let links = 0;
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (name === '.') continue;
      const next = posix.join(at, name);
      const stat = next === '/' ? undefined : raw.lstat(next);
      if (next !== '/' && !stat) return undefined;
      if (stat?.kind !== 'link') {
        at = next;
        continue;
      }
      if (++links > mostLinks) throw new Error(`${path}: too many links`);
      const target = raw.readlink(next);
      if (target.startsWith('/')) at = '/';
      pending.push(...target.split('/').filter(Boolean).reverse());
    }
    return at;
  };
  return {
    stat: (path) => {
      const place = resolved(path);
      return place === undefined ? undefined : raw.lstat(place);
    },
    read: (path) => {
      const place = resolved(path);
      if (place === undefined) throw new Error(`${path} is not there`);
      return raw.read(place);
    },
    list: (path) => {
      const place = resolved(path);
      return place !== undefined && raw.lstat(place)?.kind === 'directory' ? raw.list(place) : [];
    },
    link: (path) => {
      const parent = resolved(posix.dirname(path));
      if (parent === undefined) return undefined;
      const place = posix.join(parent, posix.basename(path));
      return raw.lstat(place)?.kind === 'link' ? raw.readlink(place) : undefined;
    },
    *walk() {
      const pending = ['/'];
      for (let at = pending.pop(); at !== undefined; at = pending.pop())
        for (const name of raw.list(at)) {
          const path = posix.join(at, name);
          const stat = raw.lstat(path);
          if (!stat || stat.kind === 'link') continue;
          yield { ...stat, path };
          if (stat.kind === 'directory' && raw.sameFileSystem(path)) pending.push(path);
        }
    },
  };
}

/** The files of a root file system that lies in a directory, e.g. while an image is built. */
export function directoryTree(root: string): FileTree {
  const inside = (path: string) => join(root, path);
  const device = statSync(root).dev;
  return followLinks({
    lstat: (path) => ifThere(() => described(lstatSync(inside(path), unlessThere))),
    readlink: (path) => readlinkSync(inside(path)),
    read: (path) => readFileSync(inside(path), 'utf8'),
    list: (path) => readdirSync(inside(path)).sort(),
    sameFileSystem: (path) => lstatSync(inside(path)).dev === device,
  });
}

/** The files of the machine that this runs on. */
export const liveTree: FileTree = {
  stat: (path) => ifThere(() => described(statSync(path, unlessThere))),
  read: (path) => readFileSync(path, 'utf8'),
  list: (path) => ifThere(() => readdirSync(path).sort()) ?? [],
  link: (path) =>
    ifThere(() =>
      lstatSync(path, unlessThere)?.isSymbolicLink() ? readlinkSync(path) : undefined,
    ),
};

/** What is often not there is no error, which would cost much more; see {@link ifThere} for the rest. */
const unlessThere = { throwIfNoEntry: false } as const;

function described(stat: Stats | undefined): FileStat | undefined {
  return (
    stat && {
      kind: stat.isFile()
        ? 'file'
        : stat.isDirectory()
          ? 'directory'
          : stat.isSymbolicLink()
            ? 'link'
            : 'other',
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      size: stat.size,
    }
  );
}

function ifThere<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
