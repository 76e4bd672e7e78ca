import { type Command, InvalidArgumentError, Option } from 'commander';
import { deviceSystem, type System } from '../../firstboot/system.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { serviceIds } from '../services/registry.ts';
import { unitOf } from '../services/units.ts';
import { endQuietlyWithReader, type Paint, painter } from '../terminal.ts';
import { type LogEntry, type LogQuery, type Priority, priorities, readJournal } from './journal.ts';
import { timeOf } from './time.ts';

export type LogFlags = {
  unit?: string;
  kernel?: boolean;
  since?: string;
  until?: string;
  priority?: Priority;
  search?: string;
  lines: number;
  follow?: boolean;
  json?: boolean;
};

function lines(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 100_000)
    throw new InvalidArgumentError('It must be 1 to 100000.');
  return value;
}

function time(text: string): string {
  const value = timeOf(text, Date.now());
  if (value === undefined)
    throw new InvalidArgumentError("It must be like 30m, 2h, 1d, or '2026-01-31 14:05'.");
  return value.toISOString();
}

/** The options that say what is shown of the journal. */
export function logOptions(command: Command): Command {
  return command
    .option('--since <time>', "how far back: 30m, 2h, 1d, or '2026-01-31 14:05'", time)
    .option('--until <time>', 'up to when, in the same forms', time)
    .addOption(
      new Option('--priority <level>', 'this and what is more urgent').choices([...priorities]),
    )
    .option('--search <text>', 'part of the message, in either case')
    .option('-n, --lines <count>', 'how many at most', lines, 100)
    .option('-f, --follow', 'go on with what comes, until Ctrl-C')
    .option('--json', 'for machines: an object a line');
}

/** `pi-gateway logs`. It reads the journal itself: most of all when the rest does not answer. */
export function addLogsCommand(program: Command): void {
  logOptions(
    program
      .command('logs')
      .description('the journal, without what looks like a key, token or password')
      .argument('[service]', `one of ${serviceIds.join(', ')}`)
      .option('--unit <name>', 'any unit of systemd, e.g. ssh.service')
      .option('--kernel', "the kernel's own messages"),
  )
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway logs vpn --since 1h
  sudo pi-gateway logs --priority warning --since 1d
  sudo pi-gateway logs --unit pi-gateway-firstboot.service
  sudo pi-gateway logs ssh --search 'failed' --follow`,
    )
    .action(async (service: string | undefined, o: LogFlags) => {
      requireRoot();
      await showLogs(
        deviceSystem((text) => process.stderr.write(`${text}\n`)),
        service,
        o,
      );
    });
}

/** Prints what is asked for, the oldest first. */
export async function showLogs(
  system: System,
  service: string | undefined,
  { lines: limit, search, unit, follow, json, ...o }: LogFlags,
): Promise<void> {
  endQuietlyWithReader();
  const query: Omit<LogQuery, 'limit'> = {
    ...o,
    unit: service === undefined ? unit : await unitOfService(system, service),
    text: search,
  };
  const paint = painter(process.stdout);
  const show = (entry: LogEntry) =>
    process.stdout.write(`${json ? JSON.stringify(entry) : lineOf(entry, paint)}\n`);
  const found = await newest(system, query, limit);
  for (const entry of found) show(entry);
  if (!follow) {
    if (found.length === 0 && !json) process.stderr.write('Nothing in the journal for that.\n');
    return;
  }
  await goOn(system, query, found.at(-1)?.cursor, show);
}

/** Pages until there are enough, or no more. @returns the oldest first. */
async function newest(
  system: System,
  query: Omit<LogQuery, 'limit'>,
  limit: number,
): Promise<LogEntry[]> {
  const found: LogEntry[] = [];
  let cursor: string | undefined;
  do {
    const page = await readJournal(system, {
      ...query,
      cursor,
      limit: Math.min(1000, limit - found.length),
    });
    found.push(...page.entries);
    cursor = page.next;
  } while (cursor !== undefined && found.length < limit);
  return found.reverse();
}

/** Milliseconds between two looks: journalctl costs little when nothing is new. */
const pause = 1000;

/** Shows what comes after an entry, or from now on. Never ends by itself. */
async function goOn(
  system: System,
  query: Omit<LogQuery, 'limit'>,
  after: string | undefined,
  show: (entry: LogEntry) => void,
): Promise<void> {
  const since = new Date().toISOString();
  for (let cursor = after; ; ) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (cursor === undefined) {
      const { entries } = await readJournal(system, { ...query, since, limit: 1000 });
      for (const entry of entries.toReversed()) show(entry);
      cursor = entries[0]?.cursor;
    } else {
      const news = await readJournal(system, { ...query, cursor, forward: true, limit: 1000 });
      for (const entry of news.entries) show(entry);
      cursor = news.last;
    }
  }
}

async function unitOfService(system: System, id: string): Promise<string> {
  const unit = await unitOf(system, id);
  if (unit !== undefined) return unit;
  throw new GatewayError(
    serviceIds.includes(id)
      ? `This gateway does not have the service '${id}'`
      : `There is no service '${id}'`,
    `There are ${serviceIds.join(', ')}; for any other unit: --unit NAME`,
    'missing',
  );
}

const colours: Partial<Record<Priority, 'red' | 'yellow' | 'dim'>> = {
  emerg: 'red',
  alert: 'red',
  crit: 'red',
  err: 'red',
  warning: 'yellow',
  debug: 'dim',
};

function lineOf(
  { time: at, program, unit, pid, priority, message }: LogEntry,
  paint: Paint,
): string {
  // The clock of who reads, as journalctl's own is.
  const date = new Date(at);
  const two = (number: number) => String(number).padStart(2, '0');
  const local = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
  const who = `${program ?? unit ?? 'kernel'}${pid === null ? '' : `[${pid}]`}`;
  const colour = colours[priority];
  const text = message.replaceAll('\n', '\n    ');
  return `${paint('dim', local)} ${who}: ${colour ? paint(colour, text) : text}`;
}
