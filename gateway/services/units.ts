import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { UnavailableError } from '../errors.ts';
import { extensionServices } from '../extensions/services.ts';
import { serverPort } from '../vpn/server-state.ts';
import { findService, registry, type ServiceDefinition } from './registry.ts';

/** What systemd says of a unit: systemctl(1), `show`. */
export type UnitState = {
  unit: string;
  /** ActiveState. */
  state: 'active' | 'reloading' | 'inactive' | 'failed' | 'activating' | 'deactivating';
  /** SubState, e.g. `running`, `exited`, `waiting`, `auto-restart`. */
  sub: string;
  /** Result of the last run, e.g. `success`, `exit-code`, `oom-kill`, `start-limit-hit`. */
  result: string;
  /** When it came into this state, in milliseconds since 1970. */
  since: number | undefined;
  restarts: number;
  memory: number | undefined;
  /** On at boot, as far as systemd tells. */
  enabled: boolean;
};

export type PortFact = { name: string; port: number; protocol: 'tcp' | 'udp'; zones: string[] };

/** Every port that the image's stages listen on; written when the image is built. */
export const portsFile = '/usr/share/pi-gateway/ports.json';

export async function readPorts(system: System): Promise<PortFact[]> {
  const text = await readIfThere(at(system, portsFile));
  const facts = text === undefined ? [] : (JSON.parse(text) as PortFact[]);
  // DNS is opened by the stage of each zone that it answers to.
  const merged = new Map<string, PortFact>();
  for (const one of facts) {
    // It has another one since the server's key was replaced.
    const fact = one.name === 'wireguard' ? { ...one, port: serverPort(system) ?? one.port } : one;
    const key = `${fact.name} ${fact.port}/${fact.protocol}`;
    const zones = new Set([...(merged.get(key)?.zones ?? []), ...fact.zones]);
    merged.set(key, { ...fact, zones: [...zones] });
  }
  return [...merged.values()];
}

const properties = [
  'Id',
  'LoadState',
  'ActiveState',
  'SubState',
  'Result',
  'UnitFileState',
  'StateChangeTimestamp',
  'NRestarts',
  'MemoryCurrent',
];

/** States of the units that this device has, by the name that was asked for. */
export async function readUnits(
  system: System,
  units: readonly string[],
): Promise<Map<string, UnitState>> {
  const text = await system
    .run('systemctl', [
      'show',
      `--property=${properties.join(',')}`,
      '--timestamp=unix',
      '--',
      ...units,
    ])
    .catch((cause: unknown) => {
      throw new UnavailableError(
        `systemd cannot be asked: ${cause instanceof Error ? cause.message.split('\n')[0] : cause}`,
        'Try it by hand: systemctl status',
      );
    });
  // One block for each unit, in order, with a blank line between.
  const blocks = text.trimEnd().split(/\n\n/);
  return new Map(
    units.flatMap((unit, index): [string, UnitState][] => {
      const values = new Map(
        (blocks[index] ?? '').split('\n').map((line) => {
          const equals = line.indexOf('=');
          return [line.slice(0, equals), line.slice(equals + 1)] as const;
        }),
      );
      if (values.get('LoadState') !== 'loaded') return [];
      return [[unit, unitState(unit, values)]];
    }),
  );
}

function unitState(unit: string, values: ReadonlyMap<string, string>): UnitState {
  const number = (name: string) => {
    // [not set], or 2^64 - 1 of older ones, is no number.
    const value = Number(values.get(name));
    return Number.isSafeInteger(value) ? value : undefined;
  };
  const since = /^@(\d+)$/.exec(values.get('StateChangeTimestamp') ?? '')?.[1];
  return {
    unit,
    state: (values.get('ActiveState') ?? 'inactive') as UnitState['state'],
    sub: values.get('SubState') ?? '',
    result: values.get('Result') ?? '',
    since: since === undefined ? undefined : Number(since) * 1000,
    restarts: number('NRestarts') ?? 0,
    memory: number('MemoryCurrent'),
    enabled: values.get('UnitFileState') !== 'disabled',
  };
}

export type RunningService = { definition: ServiceDefinition; unit: UnitState };

/** The services of the registry that this device has. */
export async function readServices(system: System): Promise<RunningService[]> {
  const all: readonly ServiceDefinition[] = [...registry, ...(await extensionServices(system))];
  const units = await readUnits(
    system,
    all.flatMap((one) => one.units),
  );
  return all.flatMap((definition) => {
    const found = definition.units.flatMap((name) => units.get(name) ?? []);
    // Of two that are there, the one that is on: an image may have both clients of the time.
    const unit = found.find(({ state, enabled }) => state !== 'inactive' || enabled) ?? found[0];
    return unit ? [{ definition, unit }] : [];
  });
}

/** The unit of a service: of those that it may be, the one that this device has. */
export async function unitOf(system: System, id: string): Promise<string | undefined> {
  const definition = findService(id);
  if (!definition) return undefined;
  const units = await readUnits(system, definition.units);
  const found = [...units.values()];
  return (found.find(({ state, enabled }) => state !== 'inactive' || enabled) ?? found[0])?.unit;
}
