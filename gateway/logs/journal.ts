import type { System } from '../../firstboot/system.ts';
import { GatewayError, UnavailableError } from '../errors.ts';
import { printable, withoutSecretsLike } from './redact.ts';

/** syslog(3): from emerg to debug. */
export const priorities = [
  'emerg',
  'alert',
  'crit',
  'err',
  'warning',
  'notice',
  'info',
  'debug',
] as const;
export type Priority = (typeof priorities)[number];

/**
 * systemd.unit(5): a unit's name, of the types that log. Neither a hyphen first, which would be an option, nor
 * a pattern.
 */
export const unitForm =
  /^[A-Za-z0-9_][A-Za-z0-9:_.\\-]*(@[A-Za-z0-9:_.\\-]*)?\.(service|socket|timer|mount|path|slice|scope|target)$/;

/** systemd.journal-fields(7), __CURSOR: opaque, but what it is made of is known. */
export const cursorForm =
  /^s=[0-9a-f]{32};i=[0-9a-f]{1,16};b=[0-9a-f]{32};m=[0-9a-f]{1,16};t=[0-9a-f]{1,16};x=[0-9a-f]{1,16}$/;

export type LogQuery = {
  unit?: string | undefined;
  /** The kernel's own messages alone. */
  kernel?: boolean | undefined;
  /** Times as Date.parse() takes them. */
  since?: string | undefined;
  until?: string | undefined;
  /** This and what is more urgent. */
  priority?: Priority | undefined;
  /** Part of the message, in either case. */
  text?: string | undefined;
  limit: number;
  /** Of an earlier entry: what is older. */
  cursor?: string | undefined;
  /** With a cursor: what is newer, the oldest first. */
  forward?: boolean | undefined;
};

export type LogEntry = {
  cursor: string;
  time: string;
  unit: string | null;
  program: string | null;
  pid: number | null;
  priority: Priority;
  message: string;
};

/** Entries that journalctl gives at a time: about a megabyte, as it cuts fields at 4096 bytes (journalctl(1), --all). */
const batch = 1000;

/** Entries that one question looks through for a text; where there may be more, `next` says where. */
const mostSearched = 20_000;

/** Milliseconds: a full journal of 64 MB on a slow card. */
const patience = 20_000;

/**
 * Entries of the journal, the newest first, without what looks like a secret.
 * @returns where to go on, undefined where there is no more; and the last that was looked at.
 */
export async function readJournal(
  system: System,
  query: LogQuery,
): Promise<{ entries: LogEntry[]; next: string | undefined; last: string | undefined }> {
  refuseUnfit(query);
  const wanted = query.text?.toLowerCase();
  const entries: LogEntry[] = [];
  let { cursor } = query;
  for (let searched = 0; searched < mostSearched; searched += batch) {
    const asked = wanted === undefined ? query.limit : batch;
    const lines = await ask(system, query, cursor, asked);
    for (const line of lines) {
      const entry = parseEntry(line);
      if (!entry) continue;
      if (isPast(entry, query)) return { entries, next: undefined, last: cursor };
      cursor = entry.cursor;
      if (wanted === undefined || entry.message.toLowerCase().includes(wanted)) entries.push(entry);
      if (entries.length === query.limit) return { entries, next: cursor, last: cursor };
    }
    if (lines.length < asked) return { entries, next: undefined, last: cursor };
  }
  return { entries, next: cursor, last: cursor };
}

function refuseUnfit({ unit, cursor, since, until }: LogQuery): void {
  if (unit !== undefined && (unit.length > 255 || !unitForm.test(unit)))
    throw new GatewayError(
      `'${unit}' is no name of a unit`,
      'Give it with its type, e.g. ssh.service',
      'refused',
    );
  if (cursor !== undefined && !cursorForm.test(cursor))
    throw new GatewayError(
      'That cursor is none of the journal',
      'Send the one of an earlier answer',
      'refused',
    );
  if (since !== undefined && until !== undefined && Date.parse(since) >= Date.parse(until))
    throw new GatewayError('since is not before until', 'Turn them round', 'refused');
}

/** journalctl takes no --since beside a cursor; entries come in order, so the first that is too old ends it. */
function isPast(entry: LogEntry, { since, forward }: LogQuery): boolean {
  return !forward && since !== undefined && Date.parse(entry.time) < Date.parse(since);
}

async function ask(
  system: System,
  { unit, kernel, since, until, priority, forward }: LogQuery,
  cursor: string | undefined,
  lines: number,
): Promise<string[]> {
  const text = await system
    .run(
      'journalctl',
      [
        '--output=json',
        // The entry's place and times are there in any case: journalctl(1), --output-fields=.
        '--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_PID,_SYSTEMD_UNIT,UNIT',
        '--no-pager',
        '--quiet',
        // Beside a cursor, those that follow it.
        `--lines=${lines}`,
        ...(forward ? [] : ['--reverse']),
        ...(unit === undefined ? [] : [`--unit=${unit}`]),
        ...(kernel ? ['--dmesg', '--boot=all'] : []),
        ...(priority === undefined || priority === 'debug' ? [] : [`--priority=${priority}`]),
        ...(cursor !== undefined
          ? [`--after-cursor=${cursor}`]
          : [...time('since', since), ...time('until', until)]),
      ],
      { timeout: patience },
    )
    .catch((cause: unknown) => {
      throw new UnavailableError(
        `The journal cannot be read: ${cause instanceof Error ? cause.message.split('\n')[0] : cause}`,
        'Try it by hand: sudo journalctl -n 20',
      );
    });
  return text.split('\n').filter((line) => line !== '');
}

/** Seconds since 1970: systemd.time(7). */
function time(option: 'since' | 'until', text: string | undefined): string[] {
  if (text === undefined) return [];
  return [`--${option}=@${Math.max(0, Math.floor(Date.parse(text) / 1000))}`];
}

/** systemd's Journal JSON Format: a value that is no UTF-8 is a list of bytes, one that is too long is null. */
type Field = string | number[] | null | (string | number[] | null)[];

function parseEntry(line: string): LogEntry | undefined {
  let fields: Record<string, Field | undefined>;
  try {
    fields = JSON.parse(line);
  } catch {
    return undefined;
  }
  const of = (name: string) => textOf(fields[name]);
  const cursor = of('__CURSOR');
  const microseconds = Number(of('__REALTIME_TIMESTAMP'));
  if (cursor === undefined || !Number.isFinite(microseconds)) return undefined;
  const pid = Number(of('_PID'));
  return {
    cursor,
    time: new Date(microseconds / 1000).toISOString(),
    // UNIT is what systemd itself speaks of.
    unit: of('UNIT') ?? of('_SYSTEMD_UNIT') ?? null,
    program: tame(of('SYSLOG_IDENTIFIER') ?? of('_COMM')) ?? null,
    pid: Number.isInteger(pid) && pid > 0 ? pid : null,
    // As journalctl does where a program gave none: systemd.journal-fields(7) has no default, syslog's is info.
    priority: priorities[Number(of('PRIORITY') ?? 6)] ?? 'info',
    message:
      fields.MESSAGE === null ? '(longer than 4096 bytes)' : (tame(of('MESSAGE') ?? '') ?? ''),
  };
}

function tame(text: string | undefined): string | undefined {
  return text === undefined ? undefined : withoutSecretsLike(printable(text));
}

function textOf(field: Field | undefined): string | undefined {
  if (typeof field === 'string') return field;
  if (!Array.isArray(field)) return undefined;
  if (field.every((one) => typeof one === 'number')) return Buffer.from(field).toString();
  return textOf(field[0] ?? undefined);
}
