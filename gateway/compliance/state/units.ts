import { type Facts, once } from '../facts.ts';

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
  return units;
});

const etc = '/etc/systemd/system';
const directories = [etc, '/usr/local/lib/systemd/system', '/usr/lib/systemd/system'];

/** A unit's state; @throws if systemd did not tell it. */
export function unit(facts: Facts, name: string): Unit {
  if (!facts.live) return unitOnDisk(facts, name);
  const known = shown(facts).get(name);
  if (!known) throw new Error(`systemctl said nothing of ${name}`);
  return known;
}

/** Every unit that a link in a `.wants` or `.requires` directory pulls in. */
const wanted = once((facts) => {
  const names = new Set<string>();
  for (const directory of directories)
    for (const name of facts.tree.list(directory))
      if (/\.(wants|requires)$/.test(name))
        for (const one of facts.tree.list(`${directory}/${name}`)) names.add(one);
  return names;
});

function unitOnDisk(facts: Facts, name: string): Unit {
  if (facts.tree.list(directories.at(-1) ?? '').length === 0)
    throw new Error('there are no systemd units');
  if (facts.tree.link(`${etc}/${name}`) === '/dev/null')
    return { name, found: true, enabled: 'masked', active: undefined };
  const found = directories.some((directory) => facts.tree.stat(`${directory}/${name}`));
  const enabled = wanted(facts).has(name) ? 'enabled' : found ? 'disabled' : '';
  return { name, found, enabled, active: undefined };
}
