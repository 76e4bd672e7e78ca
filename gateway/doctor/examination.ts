import type { System } from '../../firstboot/system.ts';
import type { Interfaces } from '../status/facts.ts';

/** skipped: this device has no such thing, or something that it needs is missing. */
export type State = 'ok' | 'warning' | 'failed' | 'skipped';

export type Finding = {
  state: State;
  /** What was found. */
  found: string;
  /** What it means for the owner. */
  why?: string;
  /** What to do. */
  fix?: string;
};

/** The machine as the doctor sees it; tests give another. */
export type World = {
  system: System;
  interfaces: Interfaces;
  /** Addresses of a name, by the device's own resolver (getaddrinfo(3)). */
  lookup(name: string): Promise<readonly string[]>;
  /** GET over a unix socket. @returns the status. */
  get(socket: string, path: string): Promise<number>;
  /** The address that a router says it has outside (NAT-PMP, RFC 6886). Undefined: it does not tell. */
  outside(router: string): Promise<string | undefined>;
  /** Milliseconds since 1970. */
  now(): number;
};

export type Examination = {
  id: string;
  title: string;
  /** What it throws counts as failed, with the reason. */
  run(world: World): Promise<Finding>;
};

export type Diagnosis = Finding & { id: string; title: string };

export const ok = (found: string): Finding => ({ state: 'ok', found });
export const skipped = (found: string): Finding => ({ state: 'skipped', found });
export const warning = (found: string, why: string, fix: string): Finding => ({
  state: 'warning',
  found,
  why,
  fix,
});
export const failed = (found: string, why: string, fix: string): Finding => ({
  state: 'failed',
  found,
  why,
  fix,
});
