import type { System } from '../../firstboot/system.ts';
import type { Condition } from '../alerts/condition.ts';
import type { KernelState } from '../kernel-state.ts';
import type { Alert, Monitor } from './monitor.ts';
import type { MonitorSettings } from './settings.ts';

export type MonitorOptions = {
  system: System;
  kernel: KernelState;
  settings: MonitorSettings;
  /** Names of the VPN's clients by public key: their files are root's. */
  peerNames(): Promise<ReadonlyMap<string, string>>;
  /** Has the helper restart a service, by its id in the service registry. */
  restart(service: string): Promise<void>;
  /** Each look's conditions, all of them. */
  onConditions(conditions: readonly Condition[]): void;
  /** The alerts that stand: monitoring only passes them on. */
  alerts(): readonly Alert[];
};

export type RunningMonitor = Monitor & {
  /** Takes other settings, without a gap in what is measured. */
  configure(settings: MonitorSettings): void;
  /** Passes an alert's beginning or end on to those who listen. */
  announce(alert: Alert): void;
  /** Ends all that runs, and saves the history. */
  stop(): Promise<void>;
};

export async function startMonitor(_options: MonitorOptions): Promise<RunningMonitor> {
  throw new Error('not yet');
}
