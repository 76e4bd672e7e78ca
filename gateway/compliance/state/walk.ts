import { once } from '../facts.ts';
import type { Found } from '../tree.ts';

const kinds: Record<string, Found['kind']> = { f: 'file', d: 'directory' };

/**
 * What on the root file system is writable by all, has a set-ID bit, or is not root's: the result of
 * the one walk.
 */
export const unusualFiles = once((facts): readonly Found[] => {
  const found: Found[] = facts.live
    ? facts
        .output('find')
        .split('\0')
        .filter(Boolean)
        .map((line) => {
          const [, kind = '', mode = '', uid, gid, size, path = ''] =
            /^(\S) (\d+) (\d+) (\d+) (\d+) ([\s\S]+)$/.exec(line) ?? [];
          if (!path) throw new Error('find said what cannot be read');
          return {
            path,
            kind: kinds[kind] ?? 'other',
            mode: parseInt(mode, 8),
            uid: Number(uid),
            gid: Number(gid),
            size: Number(size),
          };
        })
    : [...(facts.tree.walk?.() ?? [])].filter(
        (one) => one.mode & 0o6002 || one.uid !== 0 || one.gid !== 0,
      );
  // Every Debian has /tmp and a few set-ID programs: without any, nothing was walked.
  if (found.length === 0) throw new Error('the walk over the file system found nothing at all');
  return found;
});
