/** What a file system says of one file. */
export type FileEntry = {
  kind: 'file' | 'directory' | 'link' | 'character' | 'block' | 'fifo' | 'socket';
  /** Bytes; 0 for what is neither a file nor a link. */
  size: number;
  /** Permissions, 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Where a link leads, or a device's `major:minor`. */
  target?: string;
  /** Seconds since 1970; FAT's are not read. */
  modified?: number;
  /** Extended attributes: values in hex by name. */
  attributes?: Record<string, string>;
};

/** A file system of an image, read without mounting it. */
export type FileSystem = {
  type: 'ext4' | 'vfat';
  /** Bytes. */
  size: number;
  used: number;
  /** By absolute path, sorted; without the root directory itself. */
  files: ReadonlyMap<string, FileEntry>;
  /** A regular file's content in pieces. */
  content(path: string): Iterable<Buffer>;
};

/** A whole small file as text; undefined if it is not there. */
export function readText(system: FileSystem, path: string): string | undefined {
  if (system.files.get(path)?.kind !== 'file') return undefined;
  return Buffer.concat([...system.content(path)]).toString('utf8');
}

/** Paths in the order of their names, whatever the locale. */
export function byName(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
