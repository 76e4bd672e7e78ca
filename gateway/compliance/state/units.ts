import { type Facts, once } from '../facts.ts';
import { etcUnits, unitDirectories, unitExists, unitFiles } from '../unit-files.ts';

export type Unit = {
  name: string;
  found: boolean;
  /** As `systemctl is-enabled` says: enabled, disabled, masked, static, … */
  enabled: string;
  /** Undefined if nothing runs. */
  active: boolean | undefined;
};

const shown = once((facts) => {
  const units = new Map<string, Unit>();
  for (const block of facts.output('systemctl').split('\n\n')) {
    const field = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(block)?.[1] ?? '';
    if (!field('Id')) continue;
    const found = field('LoadState') !== 'not-found';
    const enabled = field('LoadState') === 'masked' ? 'masked' : field('UnitFileState');
    const active = ['active', 'activating', 'reloading'].includes(field('ActiveState'));
    for (const name of new Set([field('Id'), ...field('Names').split(' ')]))
      units.set(name, { name, found, enabled, active });
  }
  // Debian has several of the units that are asked for, whatever the stages.
  if (units.size === 0) throw new Error('systemctl said nothing');
  return units;
});

const files = once((facts) => unitFiles(facts.tree));

/** A unit's state; @throws if systemd did not tell it. */
export function unit(facts: Facts, name: string): Unit {
  if (!facts.live) return unitOnDisk(facts, name);
  const known = shown(facts).get(name);
  // systemctl is asked only for units that there are: each costs a slow machine 0.2 s.
  if (!known && !unitExists(files(facts), name))
    return { name, found: false, enabled: '', active: false };
  if (!known) throw new Error(`systemctl said nothing of ${name}`);
  return known;
}

/** Every unit that a link in a `.wants` or `.requires` directory pulls in. */
const wanted = once((facts) => {
  const names = new Set<string>();
  for (const directory of unitDirectories)
    for (const name of facts.tree.list(directory))
      if (/\.(wants|requires)$/.test(name))
        for (const one of facts.tree.list(`${directory}/${name}`)) names.add(one);
  return names;
});

function unitOnDisk(facts: Facts, name: string): Unit {
  if (facts.tree.list(unitDirectories.at(-1) ?? '').length === 0)
    throw new Error('there are no systemd units');
  if (facts.tree.link(`${etcUnits}/${name}`) === '/dev/null')
    return { name, found: true, enabled: 'masked', active: undefined };
  const found = unitDirectories.some((directory) => facts.tree.stat(`${directory}/${name}`));
  const enabled = wanted(facts).has(name) ? 'enabled' : found ? 'disabled' : '';
  return { name, found, enabled, active: undefined };
}
