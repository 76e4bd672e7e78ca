import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const mebibyte = 1024 * 1024;
const block = 4096;

export type TreeSize = { inodes: number; bytes: number };

/** Inodes and block-rounded bytes of a tree as ext4 will hold it; hard links count once. */
export async function measureTree(
  root: string,
  skip: (path: string) => boolean,
): Promise<TreeSize> {
  const seen = new Set<number>();
  const size: TreeSize = { inodes: 0, bytes: 0 };
  const visit = async (path: string): Promise<void> => {
    const full = join(root, path);
    const kind = await lstat(full);
    if (kind.nlink > 1 && !kind.isDirectory()) {
      if (seen.has(kind.ino)) return;
      seen.add(kind.ino);
    }
    size.inodes += 1;
    // A link of up to 59 bytes lives in its inode (ext4: fast symlink).
    if (kind.isFile() || (kind.isSymbolicLink() && kind.size > 59))
      size.bytes += Math.ceil(kind.size / block) * block;
    if (!kind.isDirectory()) return;
    const names = await readdir(full);
    size.bytes += Math.max(1, Math.ceil((names.length * 40) / block)) * block;
    for (const name of names) {
      const inner = `${path}/${name}`;
      if (!skip(inner)) await visit(inner);
    }
  };
  await visit('');
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
