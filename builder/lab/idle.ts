/** What processes cost, as the kernel counts it: a shell script for root, and what it says of two moments. */

export type Moment = {
  /** Seconds since boot. */
  at: number;
  cores: number;
  /** Microseconds of processor by path below /sys/fs/cgroup; those of cgroups that are gone are in their parents'. */
  cpu: Record<string, number>;
  /** Bytes written to the partition of / since boot. */
  written: number;
  /** Processes of the gateway's units. */
  processes: {
    unit: string;
    pid: number;
    name: string;
    /** KiB. */
    rss: number;
    pss: number;
    /** Bytes that it had written to disks: proc_pid_io(5). */
    written: number;
  }[];
};

/** Units of this project; \x2d is what systemd.slice(5) writes for - in a template's slice. */
export const ours = /(^|\/|-)(pi(-|\\x2d)gateway|prometheus(-|\\x2d)node(-|\\x2d)exporter)/;

/** Prints a {@link Moment}, see {@link readMoment}. */
export const momentScript = `
echo "at $(cut -d ' ' -f 1 /proc/uptime)"
echo "cores $(nproc)"
cd /sys/fs/cgroup || exit
for one in init.scope system.slice system.slice/*; do
  [ -e "$one/cpu.stat" ] && printf 'cpu %s %s\\n' "$(sed -n 's/^usage_usec //p' "$one/cpu.stat")" "$one"
done
echo "sectors $(awk '{ print $7 }' "/sys/class/block/$(basename "$(findmnt -n -o SOURCE /)")/stat")"
for process in /proc/[0-9]*; do
  unit=$(sed -n 's/^0:://p' "$process/cgroup" 2> /dev/null)
  case $unit in
    *pi-gateway* | *prometheus-node-exporter*) ;;
    *) continue ;;
  esac
  rss=$(sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' "$process/status" 2> /dev/null)
  pss=$(sed -n 's/^Pss: *\\([0-9]*\\) kB/\\1/p' "$process/smaps_rollup" 2> /dev/null)
  bytes=$(sed -n 's/^write_bytes: //p' "$process/io" 2> /dev/null)
  [ -n "$rss" ] && printf 'process %s %s %s %s %s %s\\n' "\${process#/proc/}" "$rss" "\${pss:-0}" "\${bytes:-0}" "$(tr ' ' _ < "$process/comm")" "$unit"
done
true
`;

export function readMoment(text: string): Moment {
  const rows = text
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  const one = (word: string) => Number(rows.find(([first]) => first === word)?.[1]);
  return {
    at: one('at'),
    cores: one('cores'),
    cpu: Object.fromEntries(
      rows.flatMap(([word, usage, ...path]) =>
        word === 'cpu' ? [[path.join(' '), Number(usage)] as const] : [],
      ),
    ),
    written: one('sectors') * 512, // block/stat.rst: sectors of 512 bytes, whatever the disk's are
    processes: rows.flatMap(([word, pid, rss, pss, written, name = '', ...unit]) =>
      word === 'process'
        ? [
            {
              unit: unit.join(' ').replace(/^.*\//, ''),
              pid: Number(pid),
              name,
              rss: Number(rss),
              pss: Number(pss),
              written: Number(written),
            },
          ]
        : [],
    ),
  };
}

export type Cost = {
  seconds: number;
  /** Percent of one core: all of system.slice but the units that are not the gateway's. */
  cpu: number;
  /** Percent of one core, of the units that were there all the time. */
  cpuByUnit: Record<string, number>;
  /** Percent of one core, of systemd itself, which starts the short ones. */
  systemd: number;
  /** Bytes. */
  written: number;
  writtenByUnit: Record<string, number>;
};

/**
 * What was used between two moments. Of units that came and went there is only what the slice above them has
 * counted, whosesoever they were: the sum is rather too high.
 */
export function costOf(before: Moment, after: Moment): Cost {
  const seconds = after.at - before.at;
  const percent = (path: string) =>
    ((after.cpu[path] ?? 0) - (before.cpu[path] ?? 0)) / 1e4 / seconds;
  const lasting = Object.keys(after.cpu).filter(
    (path) => path.startsWith('system.slice/') && before.cpu[path] !== undefined,
  );
  const others = lasting.filter((path) => !ours.test(path));
  const nameOf = (path: string) => path.replace('system.slice/', '');
  const byUnit: Record<string, number> = {};
  for (const process of after.processes) {
    const old = before.processes.find(({ pid }) => pid === process.pid);
    byUnit[process.unit] = (byUnit[process.unit] ?? 0) + process.written - (old?.written ?? 0);
  }
  return {
    seconds,
    cpu: percent('system.slice') - others.reduce((sum, path) => sum + percent(path), 0),
    cpuByUnit: Object.fromEntries(
      lasting.filter((path) => ours.test(path)).map((path) => [nameOf(path), percent(path)]),
    ),
    systemd: percent('init.scope'),
    written: after.written - before.written,
    writtenByUnit: byUnit,
  };
}
