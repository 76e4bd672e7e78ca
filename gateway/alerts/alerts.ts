import type { LookupFunction } from 'node:net';
import type { System } from '../../firstboot/system.ts';
import type { Alert } from '../monitor/monitor.ts';
import type { Condition } from './condition.ts';
import type { AlertSettings } from './settings.ts';

/** What became of an alert at one channel. */
export type Delivery = {
  channel: string;
  event: 'fired' | 'raised' | 'flapping' | 'steady' | 'reminder' | 'resolved';
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

/** Takes up what waits in the state directory, and tells the owner from then on. */
export async function startAlerts(_options: AlertsOptions): Promise<Alerts> {
  throw new Error('not yet');
}
