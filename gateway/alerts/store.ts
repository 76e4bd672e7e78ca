import { randomBytes } from 'node:crypto';
import { rename } from 'node:fs/promises';
import * as z from 'zod';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { type EngineState, eventKinds, freshEngine } from './engine.ts';
import { longestQueue, type Queue } from './queue.ts';
import { severities } from './settings.ts';

/** Below systemd's StateDirectory= of pi-gatewayd.service. */
export const stateFile = '/var/lib/pi-gatewayd/alerts.json';

/** Alerts that are over and still shown. */
export const longestHistory = 100;

const time = z.number().int().min(-8.64e15).max(8.64e15);
const span = z.number().min(0);
const text = z.string().max(4000);
const id = z.string().regex(/^[a-z0-9-]{1,64}$/);
const source = z.string().max(10_000);
const severity = z.enum(severities);
const channelName = z.string().max(64);

const event = z.strictObject({
  kind: z.enum(eventKinds),
  alert: id,
  source,
  severity,
  text,
  firedAt: time,
  at: time,
});

const told = z.strictObject({
  id,
  source,
  severity,
  text,
  firedAt: time,
  needs: z.array(source),
  remindedRan: span,
  flapping: z.strictObject({ active: z.boolean(), ran: span }).optional(),
  missingRan: span.optional(),
});

const message = z.strictObject({
  id,
  at: time,
  events: z.array(event).max(longestQueue),
  dropped: z.number().int().min(0),
  summary: z.boolean(),
});

const queue = z.strictObject({
  gathering: z.array(event).max(longestQueue),
  dropped: z.number().int().min(0),
  message: message.optional(),
  failures: z.number().int().min(0),
  waited: span,
  nextAt: time,
  patient: z.boolean(),
  broken: z.boolean(),
  problem: text.optional(),
  deliveredAt: time.optional(),
});

const delivery = z.strictObject({
  channel: channelName,
  event: z.enum(eventKinds),
  outcome: z.enum(['delivered', 'failed', 'dropped']),
  at: time,
});

const past = z.strictObject({
  id,
  source,
  severity,
  text,
  firedAt: time,
  resolvedAt: time,
  flapping: z.boolean(),
});

const stored = z.strictObject({
  version: z.literal(1),
  device: z.string().regex(/^[a-f0-9]{12}$/),
  /** Alerts and messages so far, for their ids. */
  count: z.number().int().min(0),
  messages: z.number().int().min(0),
  ran: span,
  told: z.array(told),
  firings: z.record(source, z.array(span)),
  /** To which channels an active alert was given: they alone hear of its end. */
  channels: z.record(id, z.array(channelName)),
  queues: z.record(channelName, queue),
  deliveries: z.record(id, z.array(delivery)),
  past: z.array(past).max(longestHistory),
});

type Stored = z.output<typeof stored>;
export type Past = z.output<typeof past>;
export type RecordedDelivery = z.output<typeof delivery>;

/** All that alerts remember. */
export type State = {
  engine: EngineState;
  messages: number;
  channels: Map<string, readonly string[]>;
  queues: Map<string, Queue>;
  deliveries: Map<string, RecordedDelivery[]>;
  /** The newest first. */
  past: Past[];
};

export const freshState = (): State => ({
  engine: freshEngine(randomBytes(6).toString('hex')),
  messages: 0,
  channels: new Map(),
  queues: new Map(),
  deliveries: new Map(),
  past: [],
});

/** The state of a file's text; undefined if it is none. */
export function parseState(content: string): State | undefined {
  let found: Stored;
  try {
    found = stored.parse(JSON.parse(content));
  } catch {
    return undefined;
  }
  return {
    engine: {
      device: found.device,
      count: found.count,
      ran: found.ran,
      at: 0,
      told: new Map(found.told.map((one) => [one.source, one])),
      held: new Map(),
      firings: new Map(Object.entries(found.firings)),
    },
    messages: found.messages,
    channels: new Map(Object.entries(found.channels)),
    queues: new Map(Object.entries(found.queues)),
    deliveries: new Map(Object.entries(found.deliveries)),
    past: found.past,
  };
}

export function stateText({
  engine,
  messages,
  channels,
  queues,
  deliveries,
  past: over,
}: State): string {
  const whole: Stored = {
    version: 1,
    device: engine.device,
    count: engine.count,
    messages,
    ran: engine.ran,
    told: [...engine.told.values()].map((one) => ({ ...one, needs: [...one.needs] })),
    firings: Object.fromEntries([...engine.firings].map(([name, times]) => [name, [...times]])),
    channels: Object.fromEntries([...channels].map(([alert, names]) => [alert, [...names]])),
    queues: Object.fromEntries(queues) as Stored['queues'],
    deliveries: Object.fromEntries(deliveries),
    past: over,
  };
  return `${JSON.stringify(whole)}\n`;
}

/**
 * Reads the state. None is a first start. A damaged one is put aside: what was told before is forgotten, so
 * what is still active is told once more.
 */
export async function readState(system: System, say: (text: string) => void): Promise<State> {
  const path = at(system, stateFile);
  let content: string | undefined;
  try {
    content = await readIfThere(path);
    if (content === undefined) return freshState();
    const state = parseState(content);
    if (state) return state;
    await rename(path, `${path}.damaged`);
    say(`The record of alerts was damaged and is put aside (${stateFile}.damaged); it begins anew`);
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException;
    say(`The record of alerts cannot be read (${stateFile}: ${code}); it begins anew`);
  }
  return freshState();
}

export type Saver = {
  /** Ends once the state as it is now is on the disk, or it is known that it cannot be. */
  save(): Promise<void>;
};

/**
 * Writes the state durably, one write after the other, and never the same twice: each wears the card. A disk
 * that is full is no reason to be silent about it: the failure is told, and work goes on.
 */
export function saver(system: System, state: State, say: (text: string) => void): Saver {
  let written: string | undefined;
  let tail = Promise.resolve();
  let failing = false;
  const write = async () => {
    const content = stateText(state);
    if (content === written) return;
    try {
      await writeDurably(at(system, stateFile), content, 0o600);
      written = content;
      failing = false;
    } catch (error) {
      const { code = 'unknown' } = error as NodeJS.ErrnoException;
      if (!failing)
        say(
          `The record of alerts cannot be written (${stateFile}: ${code}): after a restart some may be told again`,
        );
      failing = true;
    }
  };
  return {
    save: () => {
      tail = tail.then(write);
      return tail;
    },
  };
}
