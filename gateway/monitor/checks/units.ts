import { Bus, type Value } from '../bus.ts';
import { type CheckDefinition, type Finding, failed, ok, unknown, warning } from './check.ts';

export type WatchedUnit = {
  unit: string;
  title: string;
  /** False for one that comes and goes: only its failure counts. */
  runs: boolean;
  needs: readonly string[];
  /** It is one of the image's own, which a device without that stage need not have. */
  optional: boolean;
};

/** What systemd says of a unit (org.freedesktop.systemd1(5), ListUnitsByNames). */
export type UnitState = { load: string; active: string; sub: string; path: string };

const manager = {
  destination: 'org.freedesktop.systemd1',
  path: '/org/freedesktop/systemd1',
  interface: 'org.freedesktop.systemd1.Manager',
} as const;

/** Why a service failed, by its property Result (systemd.service(5), $SERVICE_RESULT). */
const results: Record<string, string> = {
  'exit-code': 'it ended with an error',
  signal: 'it was killed by a signal',
  'core-dump': 'it crashed',
  'oom-kill': 'the device ran out of memory',
  timeout: 'it did not start or stop in time',
  watchdog: 'it hung',
  'start-limit-hit': 'it failed again and again',
  resources: 'it could not be started',
  protocol: 'it did not say that it was ready',
};

/** Asks systemd for all units at once; several checks that look at the same time share the answer. */
export class Systemd {
  readonly #bus: Bus;
  #units: readonly string[] = [];
  #answer: { at: number; states: Promise<Map<string, UnitState>> } | undefined;

  constructor(bus = new Bus()) {
    this.#bus = bus;
  }

  watch(units: readonly string[]): void {
    this.#units = units;
    this.#answer = undefined;
  }

  /** @param freshFor Milliseconds for which an answer is taken again. */
  async state(unit: string, freshFor = 2000): Promise<UnitState | undefined> {
    const now = performance.now();
    if (!this.#answer || now - this.#answer.at > freshFor)
      this.#answer = { at: now, states: this.#ask() };
    return (await this.#answer.states).get(unit);
  }

  /** Names of all units that have failed. */
  async failed(): Promise<string[]> {
    const [rows] = await this.#bus.call({
      ...manager,
      member: 'ListUnitsFiltered',
      args: [['failed']],
    });
    return rowsOf(rows).map(([name]) => String(name));
  }

  /** Why a service failed, in words. */
  async reason({ path }: UnitState): Promise<string> {
    return results[await this.#property(path, 'Service', 'Result')] ?? '';
  }

  /** It is not started at boot. */
  async isDisabled({ path }: UnitState): Promise<boolean> {
    return (await this.#property(path, 'Unit', 'UnitFileState')) === 'disabled';
  }

  async #property(path: string, kind: 'Service' | 'Unit', name: string): Promise<string> {
    try {
      const [value] = await this.#bus.call({
        destination: manager.destination,
        path,
        interface: 'org.freedesktop.DBus.Properties',
        member: 'Get',
        args: [`org.freedesktop.systemd1.${kind}`, name],
      });
      return String(value);
    } catch {
      // It is no service, or is gone again: what is known otherwise must do.
      return '';
    }
  }

  close(): void {
    this.#bus.close();
  }

  async #ask(): Promise<Map<string, UnitState>> {
    const [rows] = await this.#bus.call({
      ...manager,
      member: 'ListUnitsByNames',
      args: [this.#units],
    });
    return new Map(
      rowsOf(rows).map(([name, , load, active, sub, , path]) => [
        String(name),
        { load: String(load), active: String(active), sub: String(sub), path: String(path) },
      ]),
    );
  }
}

const rowsOf = (rows: Value | undefined): Value[][] =>
  Array.isArray(rows) ? (rows as Value[][]) : [];

/** systemd restarts what fails; a look every 10 seconds sees what that did not mend. */
export function unitCheck(systemd: Systemd, watched: WatchedUnit, every: number): CheckDefinition {
  return {
    id: `unit:${watched.unit}`,
    title: watched.title,
    needs: watched.needs,
    every,
    confirm: 2,
    look: async () => {
      let state: UnitState | undefined;
      try {
        state = await systemd.state(watched.unit);
      } catch (error) {
        return unknown(
          `systemd cannot be asked: ${error instanceof Error ? error.message : error}`,
        );
      }
      return await judge(systemd, watched, state);
    },
  };
}

async function judge(
  systemd: Systemd,
  { unit, runs, optional }: WatchedUnit,
  state: UnitState | undefined,
): Promise<Finding> {
  if (!state || state.load === 'not-found')
    return optional ? unknown('This device does not have it') : failed(`There is no unit ${unit}`);
  if (state.load === 'masked') return unknown('It is turned off (masked)');
  if (state.load !== 'loaded') return failed(`systemd cannot read its file: ${state.load}`);
  const log = `journalctl -u ${unit}`;
  switch (state.active) {
    case 'failed': {
      const reason = await systemd.reason(state);
      return failed(`It has failed${reason ? `: ${reason}` : ''}. Its log: ${log}`);
    }
    case 'active':
    case 'reloading':
    case 'refreshing':
      return ok(state.sub === 'running' ? 'It runs' : `It is ${state.active} (${state.sub})`);
    case 'activating':
      return state.sub.startsWith('auto-restart')
        ? warning(`It ends and is started again. Its log: ${log}`)
        : unknown('It is starting');
    default:
      if (!runs) return ok('It runs when it is needed');
      return optional && (await systemd.isDisabled(state))
        ? unknown('It is turned off (disabled)')
        : failed(`It does not run (${state.active}). Its log: ${log}`);
  }
}

/** The rest: anything on the device that has failed. */
export function failedUnitsCheck(
  systemd: Systemd,
  watched: readonly string[],
  every: number,
): CheckDefinition {
  return {
    id: 'units',
    title: 'Other services and jobs',
    needs: [],
    every,
    confirm: 2,
    look: async () => {
      try {
        const all = await systemd.failed();
        const others = all.filter((unit) => !watched.includes(unit)).toSorted();
        const samples = [{ measure: 'units.failed' as const, value: all.length }];
        if (others.length === 0) return ok('None has failed', samples);
        const more = others.length > 5 ? ` and ${others.length - 5} more` : '';
        return warning(
          `Failed: ${others.slice(0, 5).join(', ')}${more}. Why: systemctl status UNIT`,
          samples,
        );
      } catch (error) {
        return unknown(
          `systemd cannot be asked: ${error instanceof Error ? error.message : error}`,
        );
      }
    },
  };
}
