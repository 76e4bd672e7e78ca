import { output } from '../exec.ts';

const mebibyte = 1024 * 1024;
const block = 4096;

export type TreeSize = { inodes: number; bytes: number };

/** Of each entry: kind, names, inode, bytes, path below the root. */
const format = '%y %n %i %s %P\\0';

/** Inodes and block-rounded bytes of a tree as ext4 will hold it; hard links count once. */
export async function measureTree(
  root: string,
  skip: (path: string) => boolean,
): Promise<TreeSize> {
  const seen = new Set<string>();
  const size: TreeSize = { inodes: 0, bytes: 0 };
  /** Names in each directory, also those that are skipped. */
  const names = new Map<string, number>();
  // find(1) looks at each of the many files ten times as fast as this process would.
  for (const line of (await output('find', [root, '-printf', format])).split('\0')) {
    const [, kind, links, inode = '', bytes, below] =
      /^(.) (\d+) (\d+) (\d+) (.*)$/s.exec(line) ?? [];
    if (below === undefined) continue;
    const path = below === '' ? '' : `/${below}`;
    if (path !== '') {
      const parent = path.slice(0, path.lastIndexOf('/'));
      names.set(parent, (names.get(parent) ?? 0) + 1);
    }
    if (path !== '' && skip(path)) continue;
    if (kind === 'd') names.set(path, names.get(path) ?? 0);
    else if (links !== '1') {
      if (seen.has(inode)) continue;
      seen.add(inode);
    }
    size.inodes += 1;
    // A link of up to 59 bytes lives in its inode (ext4: fast symlink).
    if (kind === 'f' || (kind === 'l' && Number(bytes) > 59))
      size.bytes += Math.ceil(Number(bytes) / block) * block;
  }
  for (const [path, count] of names)
    if (path === '' || !skip(path))
      size.bytes += Math.max(1, Math.ceil((count * 40) / block)) * block;
  return size;
}

/**
 * Bytes for an ext4 file system that holds the tree with `headroom` bytes free, a whole number of
 * MiB. Counts 256-byte inodes (one for each 16 KiB, mke2fs.conf's default, or as many as needed),
 * mke2fs's journal (16 to 64 MiB by size), and 2 % for bitmaps, descriptors and extents.
 */
export function rootfsBytes(tree: TreeSize, headroom: number): number {
  const content = tree.bytes + headroom;
  const journal = (content > 1024 * mebibyte ? 64 : content > 512 * mebibyte ? 32 : 16) * mebibyte;
  const inodes = Math.max(tree.inodes * 1.1, content / 16384) * 256;
  return Math.ceil(((content + journal + inodes) * 1.02) / mebibyte) * mebibyte;
}
