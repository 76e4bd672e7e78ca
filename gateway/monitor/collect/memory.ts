import type { Sample } from '../catalogue.ts';
import type { Files } from '../files.ts';

/** Memory, swap and how long programs waited for what they need. */
export function memorySamples(files: Files): Sample[] {
  const info = files.text('/proc/meminfo') ?? '';
  // What programs could still have is MemAvailable, proc_meminfo(5).
  const total = kilobytes(info, 'MemTotal');
  const available = kilobytes(info, 'MemAvailable');
  const swap = kilobytes(info, 'SwapTotal');
  const free = kilobytes(info, 'SwapFree');
  const samples: Sample[] = [];
  if (total && available !== undefined)
    samples.push(
      { measure: 'memory.used', value: 100 - (100 * available) / total },
      { measure: 'memory.available', value: available * 1024 },
      { measure: 'memory.total', value: total * 1024 },
    );
  if (swap && free !== undefined)
    samples.push({ measure: 'swap.used', value: 100 - (100 * free) / swap });
  // Documentation/admin-guide/blockdev/zram.rst: orig_data_size compr_data_size mem_used_total …
  const zram = (files.text('/sys/block/zram0/mm_stat') ?? '').trim().split(/ +/)[2];
  if (zram !== undefined) samples.push({ measure: 'zram.memory', value: Number(zram) });
  return samples;
}

function kilobytes(info: string, key: string): number | undefined {
  const at = info.indexOf(`${key}:`);
  if (at < 0) return undefined;
  const value = Number.parseInt(info.slice(at + key.length + 1), 10);
  return Number.isNaN(value) ? undefined : value;
}

/** Pressure stall information (Documentation/accounting/psi.rst), where the kernel has it. */
export function pressureSamples(files: Files): Sample[] {
  return (['cpu', 'memory', 'io'] as const).flatMap((resource) => {
    const [, average] =
      /^some .*avg60=([\d.]+)/m.exec(files.text(`/proc/pressure/${resource}`) ?? '') ?? [];
    return average === undefined
      ? []
      : [{ measure: `pressure.${resource}` as const, value: Number(average) }];
  });
}
