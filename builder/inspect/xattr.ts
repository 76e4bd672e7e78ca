/*
 * Extended attributes of ext4 (kernel, Documentation/filesystems/ext4/attributes.rst): in the inode after
 * its own fields, and in one block of its own.
 */

const magic = 0xea020000;

/** Name prefixes by index; 0 has none. */
const prefixes: Record<number, string> = {
  1: 'user.',
  2: 'system.posix_acl_access',
  3: 'system.posix_acl_default',
  4: 'trusted.',
  6: 'security.',
  7: 'system.',
  8: 'system.richacl',
};

/** Bytes of the inode that ext2 had; what ext4 has more begins with its own length. */
const oldInode = 128;

/**
 * A file's extended attributes: values in hex by name, sorted; undefined if it has none.
 * @param readBlock reads a block of the file system.
 */
export function extendedAttributes(
  inode: Buffer,
  readBlock: (block: number) => Buffer,
): Record<string, string> | undefined {
  const found: [string, string][] = [];
  if (inode.length > oldInode + 4) {
    const start = oldInode + inode.readUInt16LE(oldInode);
    if (start + 4 < inode.length && inode.readUInt32LE(start) === magic) {
      const entries = inode.subarray(start + 4);
      found.push(...attributes(entries, 0, entries));
    }
  }
  const block = inode.readUInt32LE(0x68) + inode.readUInt16LE(0x76) * 2 ** 32;
  if (block !== 0) {
    const bytes = readBlock(block);
    if (bytes.readUInt32LE(0) === magic) found.push(...attributes(bytes, 32, bytes));
  }
  if (found.length === 0) return undefined;
  return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Entries from `at` on; their values lie at offsets of `values`. */
function* attributes(entries: Buffer, at: number, values: Buffer): Iterable<[string, string]> {
  for (let here = at; here + 16 <= entries.length && entries.readUInt32LE(here) !== 0; ) {
    const length = entries[here] ?? 0;
    const index = entries[here + 1] ?? 0;
    const offset = entries.readUInt16LE(here + 2);
    const size = entries.readUInt32LE(here + 8);
    const name = entries.toString('utf8', here + 16, here + 16 + length);
    yield [
      `${prefixes[index] ?? `${index}.`}${name}`,
      values.subarray(offset, offset + size).toString('hex'),
    ];
    here += (16 + length + 3) & ~3;
  }
}
