import { statfsSync } from 'node:fs';
import type { Sample } from '../catalogue.ts';
import type { Files, Rates } from '../files.ts';

/** File systems that are watched: where each is mounted on the device. */
export const mounts = ['/', '/boot/firmware'] as const;

const disk = /^(mmcblk\d+|sd[a-z]+|nvme\d+n\d+|vd[a-z]+)$/;

/** How much is written and read: Documentation/block/stat.rst, in sectors of 512 bytes. */
export function transferSamples(files: Files, rates: Rates, now: number): Sample[] {
  return files
    .names('/sys/block')
    .filter((name) => disk.test(name))
    .flatMap((label) => {
      const fields = (files.text(`/sys/block/${label}/stat`) ?? '').trim().split(/ +/).map(Number);
      const [, , read, , , , written] = fields;
      if (read === undefined || written === undefined) return [];
      const sample = (measure: 'disk.read' | 'disk.written', sectors: number): Sample => ({
        measure,
        label,
        value: rates.per(`${measure} ${label}`, sectors * 512, now),
        total: sectors * 512,
      });
      return [sample('disk.read', read), sample('disk.written', written)];
    });
}

/** How full they are, and whether they still take writes. */
export function spaceSamples(files: Files): Sample[] {
  const table = files.text('/proc/self/mountinfo') ?? '';
  return mounts.flatMap((label) => {
    const samples: Sample[] = [];
    // `/` is there on any machine; the other only where it is mounted.
    if (label !== '/' && !isMounted(table, label)) return [];
    try {
      const { blocks, bfree, bavail, bsize, files: inodes, ffree } = statfsSync(files.path(label));
      const used = blocks - bfree;
      // As df(1): what is kept for root counts for neither side.
      if (used + bavail > 0)
        samples.push(
          { measure: 'disk.used', label, value: (100 * used) / (used + bavail) },
          { measure: 'disk.free', label, value: bavail * bsize },
        );
      // vfat has none.
      if (inodes > 0)
        samples.push({ measure: 'disk.inodes', label, value: 100 - (100 * ffree) / inodes });
    } catch {
      return [];
    }
    const readOnly = isReadOnly(table, label);
    if (readOnly !== undefined)
      samples.push({ measure: 'disk.read_only', label, value: readOnly ? 1 : 0 });
    return samples;
  });
}

function isMounted(table: string, mount: string): boolean {
  return table.split('\n').some((line) => line.split(' ')[4] === mount);
}

/**
 * Of the file system itself, the last field of proc_pid_mountinfo(5): the daemon's own view of its mounts is
 * read-only in any case (ProtectSystem=strict). ext4 turns to it after an error (errors=remount-ro).
 */
function isReadOnly(table: string, mount: string): boolean | undefined {
  const line = table.split('\n').findLast((line) => line.split(' ')[4] === mount);
  return line?.split(' - ')[1]?.split(' ')[2]?.split(',').includes('ro');
}

/**
 * Wear of an eMMC or card that tells: percent of its life that is used, in steps of ten (JEDEC eMMC 5.0,
 * EXT_CSD 267 to 269; 110: beyond its life).
 */
export function wearSamples(files: Files): Sample[] {
  return files
    .names('/sys/block')
    .filter((name) => name.startsWith('mmcblk'))
    .flatMap((label): Sample[] => {
      const life = files.text(`/sys/block/${label}/device/life_time`)?.trim() ?? '';
      const [a, b] = life.split(' ').map(Number);
      if (!/^0x[0-9a-f]+ 0x[0-9a-f]+$/i.test(life) || a === undefined || b === undefined) return [];
      const spare = Number(
        files.text(`/sys/block/${label}/device/pre_eol_info`)?.trim() || Number.NaN,
      );
      return [
        // 0: it does not tell.
        ...(Math.max(a, b) > 0
          ? [{ measure: 'wear.used' as const, label, value: Math.max(a, b) * 10 }]
          : []),
        ...(spare > 0 ? [{ measure: 'wear.spare' as const, label, value: spare }] : []),
      ];
    });
}
