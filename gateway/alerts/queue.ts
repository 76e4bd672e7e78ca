import type { AlertEvent } from './engine.ts';
import type { Message } from './message.ts';
import { type Severity, severities } from './settings.ts';

/**
 * What one channel has still to be told. There is at most one message; while it has not arrived, events
 * gather, and all of them become the next one: so after a day without the internet two messages come, not a
 * hundred. A message never changes once it may have been sent.
 */
export type Queue = {
  gathering: readonly AlertEvent[];
  /** Events that there was no room for since the last message. */
  dropped: number;
  message?: Message | undefined;
  /** In a row. */
  failures: number;
  /** Milliseconds that the message has waited for its turns: by this it gets too old, not by the clock. */
  waited: number;
  /** Nothing is sent before; milliseconds since 1970. */
  nextAt: number;
  /** What the server wants to be left alone for, or what only the owner can mend. */
  patient: boolean;
  broken: boolean;
  problem?: string | undefined;
  deliveredAt?: number | undefined;
};

export const freshQueue = (): Queue => ({
  gathering: [],
  dropped: 0,
  failures: 0,
  waited: 0,
  nextAt: 0,
  patient: false,
  broken: false,
});

/** What came of an attempt. */
export type Outcome =
  | { kind: 'delivered'; answer: string }
  /** A passing fault; `after`: seconds that the server wants to be left alone. */
  | { kind: 'retry'; reason: string; after?: number | undefined }
  /** The server will never take this message; perhaps the next. */
  | { kind: 'refused'; reason: string }
  /** The server takes nothing as it is set up: the owner has to mend it. */
  | { kind: 'stopped'; reason: string };

/** Of one channel; about 100 KB. */
export const longestQueue = 250;

const minute = 60_000;
/** A first failure; doubled at each further one. */
const firstDelay = minute / 2;
const longestDelay = 60 * minute;
/** A day: no server silences an alert for longer (as gateway/ddns/http.ts's retryAfter). */
const longestPatience = 24 * 60 * minute;
/** What only the owner can mend is tried so often all the same: it may have been mended at the server. */
const brokenDelay = 6 * 60 * minute;
export const longestWait = 3 * 24 * 60 * minute;

/** Adds events. What there is no room for goes: the least severe, and of these the oldest. */
export function enqueue(
  queue: Queue,
  events: readonly AlertEvent[],
): { queue: Queue; dropped: AlertEvent[] } {
  const gathering = [...queue.gathering, ...events];
  const dropped: AlertEvent[] = [];
  for (const severity of severities) {
    for (let at = 0; at < gathering.length && gathering.length > longestQueue; )
      if (gathering[at]?.severity === severity) dropped.push(...gathering.splice(at, 1));
      else at += 1;
  }
  return { queue: { ...queue, gathering, dropped: queue.dropped + dropped.length }, dropped };
}

export type Pace = {
  /** Milliseconds. */
  group: number;
  quiet: boolean;
  /** Least severity that is told in quiet hours; undefined: none. */
  passes: Severity | undefined;
  /** Whether it was quiet hours then. */
  wasQuiet(at: number): boolean;
};

const passesNow = (event: AlertEvent, { quiet, passes }: Pace) =>
  !quiet ||
  (passes !== undefined && severities.indexOf(event.severity) >= severities.indexOf(passes));

/** The next message of what has gathered, if it is time for one. */
export function form(queue: Queue, now: number, pace: Pace, newId: () => string): Queue {
  if (queue.message) return queue;
  const events = queue.gathering.filter((event) => passesNow(event, pace));
  const [first] = events;
  if (!first || (first.at <= now && now < first.at + pace.group)) return queue;
  const message: Message = {
    id: newId(),
    at: now,
    events,
    dropped: queue.dropped,
    summary: events.some(
      (event) => pace.wasQuiet(event.at) && !passesNow(event, { ...pace, quiet: true }),
    ),
  };
  return {
    ...queue,
    message,
    gathering: queue.gathering.filter((event) => !events.includes(event)),
    dropped: 0,
    waited: 0,
  };
}

/** When there is something to do next, if nothing happens; undefined: never. */
export function nextDue(queue: Queue, now: number, pace: Pace): number | undefined {
  if (queue.message) return Math.min(queue.nextAt, now + longestPatience);
  const first = queue.gathering.find((event) => passesNow(event, pace));
  if (first) return Math.max(Math.min(first.at, now) + pace.group, queue.nextAt);
  // Quiet hours end by the clock on the wall, which is looked at every so often.
  return queue.gathering.length > 0 ? now + minute / 2 : undefined;
}

export type Ended = {
  queue: Queue;
  /** What became of the message; undefined: it waits for the next attempt. */
  outcome: 'delivered' | 'failed' | undefined;
};

/** The queue after an attempt. @param random 0 to 1, so that not all who failed come back at once. */
export function settle(queue: Queue, outcome: Outcome, now: number, random: number): Ended {
  const next: Queue = { ...queue, message: undefined, waited: 0 };
  if (outcome.kind === 'delivered')
    return {
      queue: {
        ...next,
        failures: 0,
        nextAt: 0,
        patient: false,
        broken: false,
        problem: undefined,
        deliveredAt: now,
      },
      outcome: 'delivered',
    };
  const failures = queue.failures + 1;
  const { reason: problem } = outcome;
  if (outcome.kind === 'refused')
    return {
      queue: { ...next, failures, nextAt: 0, patient: false, broken: true, problem },
      outcome: 'failed',
    };
  const broken = outcome.kind === 'stopped';
  const after =
    outcome.kind === 'retry' ? Math.min((outcome.after ?? 0) * 1000, longestPatience) : 0;
  const delay = broken ? brokenDelay : Math.max(backOff(failures), after);
  const waited = queue.waited + Math.round(delay * (1 + random / 4));
  const nextAt = now + (waited - queue.waited);
  const state = { failures, nextAt, patient: broken || after > 0, broken, problem };
  if (waited > longestWait) return { queue: { ...next, ...state }, outcome: 'failed' };
  return { queue: { ...queue, ...state, waited }, outcome: undefined };
}

/** Milliseconds. */
export function backOff(failures: number): number {
  return Math.min(firstDelay * 2 ** Math.min(failures - 1, 30), longestDelay);
}

/** Something is well again, perhaps the way to the server: it is tried soon, unless the server said when. */
export function hurry(queue: Queue, now: number): Queue {
  if (queue.patient || queue.nextAt <= now + 5000) return queue;
  // What it does not wait does not make it older.
  const spared = queue.nextAt - (now + 5000);
  return { ...queue, nextAt: now + 5000, waited: Math.max(0, queue.waited - spared) };
}

/** Its settings have changed: whatever was wrong may be mended. */
export function mended(queue: Queue): Queue {
  return {
    ...queue,
    failures: 0,
    waited: 0,
    nextAt: 0,
    patient: false,
    broken: false,
    problem: undefined,
  };
}

/**
 * After a start: it is tried at once, as the owner may have mended it or the network be there again, unless
 * the server wants to be left alone. A clock that was ahead must not silence the gateway.
 */
export function again(queue: Queue, now: number): Queue {
  const waits = queue.patient && !queue.broken;
  return { ...queue, nextAt: waits ? Math.min(queue.nextAt, now + longestPatience * 1.25) : 0 };
}
