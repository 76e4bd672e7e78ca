import type { AlertEvent } from './engine.ts';
import { type Severity, severities } from './settings.ts';

/** What one channel is sent at once. */
export type Message = {
  /** Stays the same however often it is sent: by it a receiver knows that it has it already. */
  id: string;
  /** Milliseconds since 1970. */
  at: number;
  /** None: a test. */
  events: readonly AlertEvent[];
  /** Events that there was no room for. */
  dropped: number;
  /** It sums up what quiet hours held back. */
  summary: boolean;
};

/** A message in words. */
export type Rendered = {
  title: string;
  text: string;
  severity: Severity;
  /** All that it tells of is over. */
  over: boolean;
};

/** All events of one alert that a message has. */
type Item = {
  first: AlertEvent;
  last: AlertEvent;
  severity: Severity;
};

/** Items that are written out; a phone shows no more, and Slack and ntfy take no more than 4 KB. */
const longestList = 20;

const words = { info: 'Note', warning: 'Warning', critical: 'Critical' } as const;

export const worst = (list: readonly Severity[]): Severity =>
  list.reduce<Severity>((so, next) => (rank(next) > rank(so) ? next : so), 'info');

const rank = (severity: Severity) => severities.indexOf(severity);

/** One line, without what a terminal or a protocol takes for more than text. */
export function plain(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

function itemsOf(events: readonly AlertEvent[]): Item[] {
  const items = new Map<string, Item>();
  for (const event of events) {
    const item = items.get(event.alert);
    items.set(event.alert, {
      first: item?.first ?? event,
      last: event,
      severity: worst([event.severity, item?.severity ?? 'info']),
    });
  }
  // The worst first, what lasts before what is over; else as they came.
  const order = (item: Item) => rank(item.severity) + (item.last.kind === 'resolved' ? 0 : 10);
  return [...items.values()].sort((a, b) => order(b) - order(a));
}

export function render(message: Message, host: string, timeZone?: string): Rendered {
  const name = plain(host);
  if (message.events.length === 0)
    return {
      title: `[${name}] A test message`,
      text: `This is a test: alerts of ${name} arrive here.\n`,
      severity: 'info',
      over: false,
    };
  const items = itemsOf(message.events);
  const over = items.every((item) => item.last.kind === 'resolved');
  const lasting = items.filter((item) => item.last.kind !== 'resolved');
  const severity = worst((over ? items : lasting).map((item) => item.severity));
  const shown = items.slice(0, longestList);
  const rest = items.length - shown.length;
  const lines = [
    ...(message.summary ? ['What quiet hours held back:', ''] : []),
    ...shown.flatMap((item) => itemLines(item, timeZone)),
    ...(rest > 0 ? [`And ${rest} more: see the dashboard, or sudo pi-gateway status.`] : []),
    ...(message.dropped > 0
      ? [
          `${message.dropped} further messages were dropped, the least severe and oldest first, as too many waited.`,
        ]
      : []),
  ];
  return {
    title: `[${name}] ${titleOf(items, message)}`,
    text: `${lines.join('\n')}\n`,
    severity,
    over,
  };
}

function titleOf(items: readonly Item[], message: Message): string {
  const [first] = items;
  const count = items.length + message.dropped;
  if (first && count === 1) return `${label(first)}: ${cut(plain(first.last.text), 120)}`;
  const critical = items.filter((item) => item.severity === 'critical').length;
  const done = items.filter((item) => item.last.kind === 'resolved').length;
  const what = [
    ...(critical > 0 ? [`${critical} critical`] : []),
    ...(done > 0 ? [`${done === items.length && message.dropped === 0 ? 'all' : done} over`] : []),
  ].join(', ');
  return `${count} alerts${what ? ` (${what})` : ''}: ${cut(plain(first?.last.text ?? ''), 80)}`;
}

function label({ last, severity }: Item): string {
  switch (last.kind) {
    case 'resolved':
      return 'Over';
    case 'flapping':
      return `${words[severity]}, comes and goes`;
    case 'steady':
      return `${words[severity]}, stays now`;
    case 'reminder':
      return `${words[severity]}, still`;
    default:
      return words[severity];
  }
}

function itemLines(item: Item, timeZone: string | undefined): string[] {
  const { first, last } = item;
  const since = clock(last.firedAt, timeZone);
  const lasted = duration(last.at - last.firedAt);
  const lines = [`${label(item)}: ${plain(last.text)}`];
  if (last.kind === 'resolved') {
    if (first !== last && first.text !== last.text) lines.push(`  it was: ${plain(first.text)}`);
    lines.push(`  since ${since}, it lasted ${lasted}`);
  } else {
    lines.push(`  since ${since}${last.kind === 'reminder' ? `, for ${lasted} now` : ''}`);
    if (last.kind === 'flapping') lines.push('  Nothing more is told of it until it is stable.');
  }
  return [...lines, ''];
}

export function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function clock(at: number, timeZone: string | undefined): string {
  const format = new Intl.DateTimeFormat('sv-SE', {
    dateStyle: 'short',
    timeStyle: 'medium',
    ...(timeZone === undefined ? {} : { timeZone }),
  });
  return format.format(at);
}

export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
