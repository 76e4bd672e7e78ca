import type { Sample } from '../catalogue.ts';
import type { Files } from '../files.ts';

type Times = { total: number; idle: number; wait: number };

/** Load of the processor, from /proc/stat and /proc/loadavg (proc_stat(5), proc_loadavg(5)). */
export class Processor {
  readonly #files: Files;
  #before: Times[] = [];

  constructor(files: Files) {
    this.#files = files;
  }

  samples(): Sample[] {
    const now = times(this.#files.text('/proc/stat') ?? '');
    const shares = now.map((times, index) => share(this.#before[index], times));
    this.#before = now;
    const [all, ...cores] = shares;
    const busy = cores.flatMap((core) => (core ? [core.used] : []));
    const [one, five, fifteen, running] = (this.#files.text('/proc/loadavg') ?? '').split(' ');
    const tasks = running?.split('/')[1];
    const load = (measure: Sample['measure'], text: string | undefined): Sample[] =>
      text === undefined || text === '' ? [] : [{ measure, value: Number(text) }];
    return [
      { measure: 'cpu.used', value: all?.used },
      { measure: 'cpu.iowait', value: all?.wait },
      { measure: 'cpu.busiest', value: busy.length > 0 ? Math.max(...busy) : undefined },
      ...load('load.1m', one),
      ...load('load.5m', five),
      ...load('load.15m', fifteen),
      ...load('tasks.count', tasks),
    ];
  }
}

/** The first for all cores together. */
function times(text: string): Times[] {
  // What follows is long: a counter for each interrupt.
  const end = text.indexOf('\nintr');
  const found: Times[] = [];
  for (const line of text.slice(0, end < 0 ? undefined : end).split('\n')) {
    if (!line.startsWith('cpu')) break;
    // user nice system idle iowait irq softirq steal; guests' time is in user's already.
    const [, ...fields] = line.split(/ +/, 9).map(Number);
    found.push({
      total: fields.reduce((sum, field) => sum + field, 0),
      idle: fields[3] ?? 0,
      wait: fields[4] ?? 0,
    });
  }
  return found;
}

function share(before: Times | undefined, now: Times): { used: number; wait: number } | undefined {
  const total = now.total - (before?.total ?? now.total);
  if (!before || total <= 0) return undefined;
  // The kernel's idle and iowait of a core may run backwards a little (proc_stat(5)).
  const idle = Math.max(0, now.idle - before.idle);
  const wait = Math.max(0, now.wait - before.wait);
  return {
    used: percent(Math.max(0, total - idle - wait), total),
    wait: percent(wait, total),
  };
}

const percent = (part: number, whole: number) => Math.min(100, (100 * part) / whole);
