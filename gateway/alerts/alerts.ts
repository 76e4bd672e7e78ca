import { randomBytes } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import type { System } from '../../firstboot/system.ts';
import { redact } from '../ddns/redact.ts';
import { GatewayError } from '../errors.ts';
import type { Alert } from '../monitor/monitor.ts';
import { channelOf } from './channels/all.ts';
import type { Channel, World } from './channels/channel.ts';
import { hooksChannel } from './channels/hooks.ts';
import type { Condition } from './condition.ts';
import {
  type AlertEvent,
  advance,
  type EngineState,
  type EventKind,
  type Rules,
  type Told,
} from './engine.ts';
import { type Heartbeat, startHeartbeat } from './heartbeat.ts';
import { plain } from './message.ts';
import {
  again,
  enqueue,
  form,
  freshQueue,
  hurry,
  mended,
  nextDue,
  type Outcome,
  type Pace,
  type Queue,
  settle,
} from './queue.ts';
import { isQuiet } from './quiet.ts';
import { secretsOf } from './secrets.ts';
import { type AlertSettings, nameOf, type Severity, severities } from './settings.ts';
import { longestHistory, readState, type State, saver } from './store.ts';

/** What became of an alert at one channel. */
export type Delivery = {
  channel: string;
  event: EventKind;
  /** waiting: for its turn, or a server that does not answer; held: till quiet hours end; dropped: there were too many. */
  outcome: 'waiting' | 'held' | 'delivered' | 'failed' | 'dropped';
  /** Milliseconds since 1970; undefined while it waits. */
  at: number | undefined;
};

export type ToldAlert = Alert & { flapping: boolean; deliveries: readonly Delivery[] };

export type ChannelStatus = {
  name: string;
  type: 'mail' | 'webhook' | 'slack' | 'ntfy' | 'hooks' | 'journal';
  /** ok: the last message arrived, or there was none; failing: tried again; broken: only the owner can mend it. */
  state: 'ok' | 'failing' | 'broken';
  /** Events that have not arrived yet. */
  waiting: number;
  /** What the server said or did last, when it did not take a message; without secrets. */
  problem: string | undefined;
  /** Milliseconds since 1970. */
  deliveredAt: number | undefined;
  nextAttemptAt: number | undefined;
};

export type HeartbeatStatus = {
  state: 'ok' | 'failing' | 'unknown';
  problem: string | undefined;
  /** Milliseconds since 1970. */
  sentAt: number | undefined;
};

export type AlertsStatus = {
  /** Told and not over. */
  active: readonly ToldAlert[];
  /** Active, and not told: something they depend on has failed, or they may be over in a moment. */
  suppressed: readonly Alert[];
  /** Over, the newest first. */
  recent: readonly ToldAlert[];
  channels: readonly ChannelStatus[];
  /** Whether it is quiet hours now. */
  quiet: boolean;
  heartbeat: HeartbeatStatus | undefined;
};

export type TestResult = {
  channel: string;
  delivered: boolean;
  /** What the server answered, or why there was no answer; without secrets. */
  answer: string;
};

export type Alerts = {
  /**
   * What monitoring has found, each time it looks. A condition that is left out is not known at the moment,
   * e.g. right after a start: its alert stays as it is, and is over only when it has been left out for long.
   */
  update(conditions: readonly Condition[], now: number): void;
  /** Active ones first, then those that are over, the newest first. */
  alerts(): readonly Alert[];
  status(): AlertsStatus;
  /**
   * Sends a test message at once, past the queue.
   * @throws GatewayError (missing) if there is no such channel; (conflict) if a test of it is under way.
   */
  test(channel: string): Promise<TestResult>;
  /** Other settings from now on; what waits in the queues stays there. */
  reload(settings: AlertSettings): void;
  /** Ends all sending; what has not arrived is sent after the next start. */
  stop(): Promise<void>;
};

export type AlertsOptions = {
  system: System;
  settings: AlertSettings;
  /** Name of this device, as messages give it. */
  host: string;
  /** Called for each alert that is new or has changed, e.g. to tell who listens to the events. */
  changed?: (alert: Alert) => void;
  /** Where lines for the journal go, with sd-daemon(3)'s priorities; stdout unless said. */
  journal?: (line: string) => void;
  now?: () => number;
  random?: () => number;
  /** As dns.lookup. */
  lookup?: LookupFunction;
};

/** One channel as it is set up now. */
type Way = {
  name: string;
  type: ChannelStatus['type'];
  channel: Channel;
  least: Severity;
  quiet: boolean;
  /** Of its settings, to see whether they have changed. */
  digest: string;
};

/** Deliveries are recorded of so many alerts, the newest. */
const longestRecord = 300;

/** Texts that are known to hold no secret. */
const longestMemory = 2000;

/** What a channel has failed for, in milliseconds of waiting, when the others are told. */
const failureTold = 3_600_000;

/** Milliseconds that a message under way may take to end when the daemon stops. */
const farewell = 5000;

/** The check of part monitoring that explains why no server can be reached. */
const uplink = 'check:uplink';

/** sd-daemon(3). */
const priorities = { info: 6, warning: 4, critical: 2 } as const;

/** Takes up what waits in the state directory, and tells the owner from then on. */
export async function startAlerts(options: AlertsOptions): Promise<Alerts> {
  const journal = options.journal ?? ((line: string) => void process.stdout.write(`${line}\n`));
  const state = await readState(options.system, (text) => journal(`<4>${text}`));
  const running = new Running(options, state, journal);
  running.reload(options.settings);
  return running;
}

class Running implements Alerts {
  readonly #options: AlertsOptions;
  readonly #state: State;
  readonly #journal: (line: string) => void;
  readonly #save: () => Promise<void>;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #stopped = new AbortController();
  /** Ways that send right now. */
  readonly #sending = new Map<string, Promise<void>>();
  readonly #testing = new Set<string>();
  #settings: AlertSettings;
  #ways: Way[] = [];
  #secrets: readonly string[] = [];
  readonly #cleaned = new Map<string, string>();
  #conditions = new Map<string, Condition>();
  #heartbeat: Heartbeat | undefined;
  #heartbeatDigest = '';
  #timer: NodeJS.Timeout | undefined;
  #ending = false;

  constructor(options: AlertsOptions, state: State, journal: (line: string) => void) {
    this.#options = options;
    this.#state = state;
    this.#journal = journal;
    this.#settings = options.settings;
    this.#now = options.now ?? Date.now;
    this.#random = options.random ?? Math.random;
    this.#save = saver(options.system, state, (text) => journal(`<4>${text}`)).save;
  }

  reload(settings: AlertSettings): void {
    this.#settings = settings;
    this.#secrets = secretsOf(settings);
    this.#cleaned.clear();
    const before = this.#ways;
    this.#ways = waysOf(settings, this.#options.system, this.#secrets);
    const now = Math.round(this.#now());
    for (const { name, digest } of this.#ways) {
      const queue = this.#state.queues.get(name);
      const old = before.find((way) => way.name === name);
      if (queue)
        this.#state.queues.set(
          name,
          !old ? again(queue, now) : old.digest === digest ? queue : mended(queue),
        );
      else this.#state.queues.set(name, freshQueue());
    }
    for (const [name, queue] of this.#state.queues)
      if (!this.#ways.some((way) => way.name === name)) {
        const lost = waiting(queue);
        if (lost > 0) this.#journal(`<4>The channel ${name} is gone, and ${lost} events with it`);
        this.#state.queues.delete(name);
      }
    this.#reloadHeartbeat();
    this.#pump();
  }

  #reloadHeartbeat(): void {
    const { heartbeat } = this.#settings;
    const digest = JSON.stringify(heartbeat ?? null);
    if (digest === this.#heartbeatDigest) return;
    this.#heartbeatDigest = digest;
    this.#heartbeat?.stop();
    this.#heartbeat = heartbeat && startHeartbeat(heartbeat, this.#world(), this.#secrets);
  }

  #world(): Omit<World, 'signal'> {
    return {
      host: this.#options.host,
      timeZone: this.#settings.quiet_hours?.time_zone,
      now: this.#now,
      lookup: this.#options.lookup,
    };
  }

  update(conditions: readonly Condition[], now: number): void {
    if (this.#ending) return;
    const before = this.#state.engine;
    const all = [...conditions, ...this.#own()].map((one) =>
      one.active || before.told.has(one.source) ? { ...one, text: this.#clean(one.text) } : one,
    );
    this.#conditions = new Map(all.map((one) => [one.source, one]));
    const { state, events } = advance(before, all, Math.round(now), rulesOf(this.#settings));
    this.#state.engine = state;
    for (const event of events)
      this.#take(event, before.told.get(event.source)?.flapping !== undefined);
    // One thing that is well again may be what kept a server away.
    if (events.some((event) => event.kind === 'resolved'))
      for (const [name, queue] of this.#state.queues)
        this.#state.queues.set(name, hurry(queue, this.#now()));
    this.#report(before, events);
    this.#heartbeat?.beat(
      [...state.told.values()].filter((one) => one.severity === 'critical').length,
    );
    // Before it is written nothing is sent of it, or a crash would let it be told twice.
    if (state.told !== before.told) void this.#save();
    this.#pump();
  }

  /** Without secrets; most texts are those of the look before. */
  #clean(text: string): string {
    const known = this.#cleaned.get(text);
    if (known !== undefined) return known;
    const clean = redact(text, this.#secrets);
    if (this.#cleaned.size >= longestMemory) this.#cleaned.clear();
    this.#cleaned.set(text, clean);
    return clean;
  }

  /** What alerts find wrong with their own ways. */
  #own(): Condition[] {
    const ways = this.#ways
      .filter((way) => way.type !== 'hooks')
      .map(({ name }) => {
        const queue = this.#state.queues.get(name) ?? freshQueue();
        const active = queue.broken || queue.waited >= failureTold;
        return {
          source: channelSource(name),
          active,
          severity: 'warning' as const,
          text: active
            ? `Alerts do not arrive by ${name}: ${queue.problem ?? 'no answer'}`
            : `Alerts arrive by ${name} again`,
          needs: [uplink],
        };
      });
    if (!this.#heartbeat) return ways;
    const active = this.#heartbeat.failing();
    const { problem } = this.#heartbeat.status();
    return [
      ...ways,
      {
        source: 'alerts:heartbeat',
        active,
        severity: 'warning',
        text: active
          ? `The heartbeat does not arrive: ${problem ?? 'no answer'}`
          : 'The heartbeat arrives again',
        needs: [uplink],
      },
    ];
  }

  #take(event: AlertEvent, flapping: boolean): void {
    const { kind, alert, severity, text } = event;
    this.#journal(
      kind === 'resolved'
        ? `<6>Resolved: ${plain(text)}`
        : `<${priorities[severity]}>Alert${journalWords[kind]}: ${plain(text)}`,
    );
    const names = this.#receivers(event);
    const at = this.#now();
    for (const name of names) {
      const { queue, dropped } = enqueue(this.#state.queues.get(name) ?? freshQueue(), [event]);
      this.#state.queues.set(name, queue);
      for (const one of dropped) this.#record(one, name, 'dropped', at);
    }
    if (kind !== 'resolved') {
      const told = this.#state.channels.get(alert) ?? [];
      this.#state.channels.set(alert, [...new Set([...told, ...names])]);
      return;
    }
    this.#state.channels.delete(alert);
    const { source, firedAt, at: resolvedAt } = event;
    const over = { id: alert, source, severity, text, firedAt, resolvedAt, flapping };
    this.#state.past = [over, ...this.#state.past].slice(0, longestHistory);
  }

  #receivers({ kind, alert, source, severity }: AlertEvent): string[] {
    const told = this.#state.channels.get(alert) ?? [];
    return this.#ways
      .filter(
        (way) =>
          channelSource(way.name) !== source &&
          (kind === 'resolved'
            ? told.includes(way.name)
            : severities.indexOf(severity) >= severities.indexOf(way.least)),
      )
      .map((way) => way.name);
  }

  #record(
    event: AlertEvent,
    channel: string,
    outcome: 'delivered' | 'failed' | 'dropped',
    at: number,
  ) {
    const { deliveries } = this.#state;
    const known = deliveries.get(event.alert) ?? [];
    // The newest last, in the order that a Map keeps.
    deliveries.delete(event.alert);
    deliveries.set(event.alert, [...known, { channel, event: event.kind, outcome, at }].slice(-64));
    for (const oldest of deliveries.keys()) {
      if (deliveries.size <= longestRecord) break;
      deliveries.delete(oldest);
    }
  }

  #report(before: EngineState, events: readonly AlertEvent[]): void {
    const { changed } = this.#options;
    if (!changed) return;
    const ids = new Set(events.map((event) => event.alert));
    for (const [source, held] of this.#state.engine.held)
      if (held.suppressedBy !== undefined && !before.held.get(source)?.suppressedBy)
        ids.add(held.id);
    if (ids.size > 0) for (const alert of this.alerts()) if (ids.has(alert.id)) changed(alert);
  }

  #pace(way: Way): Pace {
    const { quiet_hours, group_seconds } = this.#settings;
    const wasQuiet = (at: number) => way.quiet && isQuiet(quiet_hours, at);
    return {
      group: way.type === 'hooks' ? 0 : group_seconds * 1000,
      quiet: wasQuiet(this.#now()),
      passes: quiet_hours?.critical_passes ? 'critical' : undefined,
      wasQuiet,
    };
  }

  /** Sends what is due, and wakes itself up for what is due later. */
  #pump(): void {
    clearTimeout(this.#timer);
    if (this.#ending) return;
    const now = this.#now();
    let next = Number.POSITIVE_INFINITY;
    for (const way of this.#ways) {
      if (this.#sending.has(way.name)) continue;
      const pace = this.#pace(way);
      const queue = form(this.#state.queues.get(way.name) ?? freshQueue(), now, pace, () =>
        this.#newId(),
      );
      this.#state.queues.set(way.name, queue);
      if (queue.message && queue.nextAt <= now) this.#start(way);
      else next = Math.min(next, nextDue(queue, now, pace) ?? next);
    }
    if (next === Number.POSITIVE_INFINITY) return;
    // At least every half minute: the clock may have jumped.
    this.#timer = setTimeout(() => this.#pump(), Math.min(Math.max(next - now, 50), 30_000));
    this.#timer.unref();
  }

  #newId(): string {
    this.#state.messages += 1;
    return `${this.#state.engine.device}-${this.#state.messages}`;
  }

  #start(way: Way): void {
    const work = this.#deliver(way).finally(() => {
      this.#sending.delete(way.name);
      this.#pump();
    });
    this.#sending.set(way.name, work);
  }

  async #deliver(way: Way): Promise<void> {
    // The message is on the disk before it is sent, with its id: after a crash it is sent by the same id.
    await this.#save();
    const { message } = this.#state.queues.get(way.name) ?? freshQueue();
    if (!message || this.#stopped.signal.aborted) return;
    const outcome = await way.channel.send(message, {
      ...this.#world(),
      signal: this.#stopped.signal,
    });
    const queue = this.#state.queues.get(way.name);
    // Its channel was taken out of the settings meanwhile; or the daemon stops, and has broken it off.
    if (!queue?.message || queue.message.id !== message.id) return;
    if (outcome.kind !== 'delivered' && this.#stopped.signal.aborted) return;
    const now = this.#now();
    const ended = settle(queue, outcome, now, this.#random());
    this.#state.queues.set(way.name, ended.queue);
    if (ended.outcome)
      for (const event of message.events) this.#record(event, way.name, ended.outcome, now);
    this.#tellJournal(way, queue, outcome, ended.outcome);
    await this.#save();
  }

  /** Once when a channel begins to fail, and when a message is lost. */
  #tellJournal(way: Way, before: Queue, outcome: Outcome, ended: string | undefined): void {
    if (way.type === 'hooks' || outcome.kind === 'delivered') return;
    if (ended === 'failed')
      this.#journal(`<4>A message to ${way.name} is lost: ${plain(outcome.reason)}`);
    else if (before.failures === 0 || outcome.kind === 'stopped')
      this.#journal(`<5>A message to ${way.name} waits: ${plain(outcome.reason)}`);
  }

  alerts(): readonly Alert[] {
    const { active, suppressed, recent } = this.status();
    return [...active, ...suppressed, ...recent].map(
      ({ id, source, severity, text, firedAt, resolvedAt, suppressedBy }) => ({
        id,
        source,
        severity,
        text,
        firedAt,
        resolvedAt,
        suppressedBy,
      }),
    );
  }

  status(): AlertsStatus {
    const { engine, past } = this.#state;
    const now = this.#now();
    const newest = (a: Alert, b: Alert) => b.firedAt - a.firedAt;
    const open = this.#open(now);
    const withDeliveries = (alert: Alert, flapping: boolean): ToldAlert => ({
      ...alert,
      flapping,
      deliveries: [...(this.#state.deliveries.get(alert.id) ?? []), ...(open.get(alert.id) ?? [])],
    });
    return {
      active: [...engine.told.values()]
        .map((told) => withDeliveries(this.#alertOf(told), told.flapping !== undefined))
        .sort(newest),
      suppressed: [...engine.held]
        .map(([source, { id, severity, text, firedAt, suppressedBy }]) => ({
          ...{ id, source, severity, text, firedAt },
          resolvedAt: undefined,
          suppressedBy,
        }))
        .sort(newest),
      recent: past.map(({ flapping, ...alert }) =>
        withDeliveries({ ...alert, suppressedBy: undefined }, flapping),
      ),
      channels: this.#ways.map((way) => this.#channelStatus(way)),
      quiet: isQuiet(this.#settings.quiet_hours, now),
      heartbeat: this.#heartbeat?.status(),
    };
  }

  /** With the text of today: the state keeps that of when it was told, as each change would wear the card. */
  #alertOf({ id, source, severity, text, firedAt }: Told): Alert {
    const condition = this.#conditions.get(source);
    return {
      ...{ id, source, severity, firedAt },
      text: condition?.active ? condition.text : text,
      resolvedAt: undefined,
      suppressedBy: undefined,
    };
  }

  /** Deliveries that are still to come, by alert. */
  #open(now: number): Map<string, Delivery[]> {
    const open = new Map<string, Delivery[]>();
    for (const way of this.#ways) {
      const { message, gathering } = this.#state.queues.get(way.name) ?? freshQueue();
      const pace = this.#pace(way);
      const add = ({ alert, kind }: AlertEvent, outcome: Delivery['outcome']) =>
        open.set(alert, [
          ...(open.get(alert) ?? []),
          { channel: way.name, event: kind, outcome, at: undefined },
        ]);
      for (const event of message?.events ?? []) add(event, 'waiting');
      for (const event of gathering) {
        const passes = event.severity === 'critical' && pace.passes !== undefined;
        add(event, pace.wasQuiet(now) && !passes ? 'held' : 'waiting');
      }
    }
    return open;
  }

  #channelStatus({ name, type }: Way): ChannelStatus {
    const queue = this.#state.queues.get(name) ?? freshQueue();
    return {
      name,
      type,
      state: queue.broken ? 'broken' : queue.failures > 0 ? 'failing' : 'ok',
      waiting: waiting(queue),
      problem: queue.problem,
      deliveredAt: queue.deliveredAt,
      nextAttemptAt: queue.message && queue.nextAt > 0 ? queue.nextAt : undefined,
    };
  }

  async test(name: string): Promise<TestResult> {
    const way = this.#ways.find((one) => one.name === name);
    if (!way)
      throw new GatewayError(
        `There is no channel named ${plain(name)}`,
        `There are: ${this.#ways.map((one) => one.name).join(', ') || 'none'}`,
        'missing',
      );
    if (this.#testing.has(name))
      throw new GatewayError(`A test of ${name} is under way`, 'Wait for its answer', 'conflict');
    this.#testing.add(name);
    try {
      const id = `${this.#state.engine.device}-test-${randomBytes(6).toString('hex')}`;
      const outcome = await way.channel.send(
        { id, at: this.#now(), events: [], dropped: 0, summary: false },
        { ...this.#world(), signal: this.#stopped.signal },
      );
      return outcome.kind === 'delivered'
        ? { channel: name, delivered: true, answer: outcome.answer }
        : { channel: name, delivered: false, answer: outcome.reason };
    } finally {
      this.#testing.delete(name);
    }
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#heartbeat?.stop();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, farewell);
    });
    const sending = () => Promise.all([...this.#sending.values()]);
    // First what is under way may end; then it is broken off, and sent again after the next start.
    this.#ending = true;
    await Promise.race([sending(), late]);
    clearTimeout(timer);
    this.#stopped.abort();
    await sending();
    await this.#save();
  }
}

const journalWords: Readonly<Record<EventKind, string>> = {
  fired: '',
  raised: ', worse now',
  flapping: ', comes and goes',
  steady: ', stays now',
  reminder: ', still',
  resolved: '',
};

const channelSource = (name: string) => `alerts:channel:${name}`;

const waiting = ({ gathering, message }: Queue) => gathering.length + (message?.events.length ?? 0);

function rulesOf(settings: AlertSettings): Rules {
  return {
    settle: settings.settle_seconds * 1000,
    outlive: settings.outlive_seconds * 1000,
    flappingCount: settings.flapping_count,
    stable: settings.stable_minutes * 60_000,
    remind: settings.remind_hours * 3_600_000,
  };
}

function waysOf(settings: AlertSettings, system: System, secrets: readonly string[]): Way[] {
  const hooks: Way = {
    name: 'hooks',
    type: 'hooks',
    channel: hooksChannel(system),
    least: 'info',
    quiet: false,
    digest: '',
  };
  return [
    ...(settings.hooks ? [hooks] : []),
    ...settings.channels.map(
      (one): Way => ({
        name: nameOf(one),
        type: one.type,
        channel: channelOf(one, secrets),
        least: one.min_severity,
        quiet: one.quiet_hours,
        digest: JSON.stringify(one),
      }),
    ),
  ];
}
