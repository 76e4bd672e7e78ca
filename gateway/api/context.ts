import type { System } from '../../firstboot/system.ts';
import type { Alerts } from '../alerts/alerts.ts';
import type { VerbArgs, VerbName, VerbResult } from '../helper/verbs.ts';
import type { KernelState } from '../kernel-state.ts';
import type { Monitor } from '../monitor/monitor.ts';
import type { Accounts } from './accounts/accounts.ts';
import type { Principal } from './accounts/principal.ts';
import type { Exchange } from './exchange.ts';

/** What an operation may use. It runs without privileges: what needs root goes to the helper. */
export type Context = {
  /** Who asks; undefined for a public operation without credentials. */
  principal: Principal | undefined;
  /** Address of the client. */
  address: string;
  /** Lets the helper do something, in the name of who asks. */
  call<N extends VerbName>(verb: N, args: VerbArgs<N>): Promise<VerbResult<N>>;
  /** Files and programs as the unprivileged process sees them. */
  system: System;
  kernel: KernelState;
  monitor: Monitor;
  alerts: Alerts;
  accounts: Accounts;
  /** The HTTP exchange itself, for the operations of sessions and events; no other area needs it. */
  exchange?: Exchange;
};
