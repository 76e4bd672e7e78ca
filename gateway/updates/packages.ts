import { stat } from 'node:fs/promises';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { remembered } from '../remembered.ts';
import type { PendingPackage } from './view.ts';

/** What apt and dpkg know of this device's packages. */

/** Last answer of apt: to think it over takes a small Pi seconds. In memory, as it is worth nothing later. */
const cacheFile = '/run/pi-gateway/updates.json';
/** apt.systemd.daily touches the first when it has fetched the lists, update.mjs the second. */
const stamps = ['/var/lib/apt/periodic/update-stamp', '/var/lib/pi-gateway/updates/refreshed'];
export const refreshedStamp = '/var/lib/pi-gateway/updates/refreshed';

/** Milliseconds since 1970, or undefined if there is no such file. */
async function modified(system: System, path: string): Promise<number | undefined> {
  return await stat(at(system, path)).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
}

type Known = { key: string; packages: PendingPackage[] };

/**
 * Updates that wait, by the lists as they are: nothing is fetched, and nothing locked. Those who ask at once
 * share one answer: two of apt would take its memory twice, and write one file at a time.
 */
export const pendingPackages = remembered(0, async (system: System): Promise<PendingPackage[]> => {
  const watched = ['/var/lib/apt/lists', '/var/lib/dpkg/status', '/etc/apt/preferences.d'];
  const key = JSON.stringify(await Promise.all(watched.map((path) => modified(system, path))));
  const known = await readKnown(system);
  if (known?.key === key) return known.packages;
  const text = await system.run('apt-get', [
    '--simulate',
    '--quiet',
    // Neither needed nor allowed where only this is asked.
    ...['-o', 'Debug::NoLocking=true', '-o', 'Dir::Cache::pkgcache='],
    ...['-o', 'Dir::Cache::srcpkgcache='],
    ...['--with-new-pkgs', 'upgrade'],
  ]);
  const packages = parseSimulation(text);
  await writeDurably(
    at(system, cacheFile),
    JSON.stringify({ key, packages } satisfies Known),
    0o600,
  );
  return packages;
});

async function readKnown(system: System): Promise<Known | undefined> {
  const text = await readIfThere(at(system, cacheFile));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Known;
  } catch {
    // It is asked anew.
    return undefined;
  }
}

/**
 * Lines of apt-get --simulate: `Inst NAME [OLD] (NEW ORIGIN:RELEASE [ARCH])`, without `[OLD]` for what
 * is new, and with several origins behind commas.
 */
export function parseSimulation(text: string): PendingPackage[] {
  return text.split('\n').flatMap((line): PendingPackage[] => {
    const found = /^Inst (\S+) (?:\[(\S+)\] )?\((\S+) (.*)\)/.exec(line);
    if (!found) return [];
    const [, name = '', installed, available = '', origins = ''] = found;
    return [
      {
        name,
        installed: installed ?? null,
        available,
        security: /\bDebian-Security:|-security\b/.test(origins),
      },
    ];
  });
}

export async function refreshedAt(system: System): Promise<string | null> {
  const times = await Promise.all(stamps.map((path) => modified(system, path)));
  const newest = Math.max(...times.map((one) => one ?? 0));
  return newest > 0 ? new Date(newest).toISOString() : null;
}

/** Version of every installed package, by name. */
export async function installedVersions(system: System): Promise<Record<string, string>> {
  const text = await system.run('dpkg-query', [
    '--show',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query fills it in
    '--showformat=${db:Status-Abbrev}\\t${binary:Package}\\t${Version}\\n',
  ]);
  return Object.fromEntries(
    text.split('\n').flatMap((line) => {
      const [state = '', name = '', version = ''] = line.split('\t');
      return state.startsWith('ii') ? [[name, version]] : [];
    }),
  );
}

export type PackageChange = { name: string; before: string | null; after: string | null };

export function packageChanges(
  before: Record<string, string>,
  after: Record<string, string>,
): PackageChange[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => before[name] !== after[name])
    .toSorted()
    .map((name) => ({ name, before: before[name] ?? null, after: after[name] ?? null }));
}

/** What unattended-upgrades does by itself, as apt's configuration says in the end. */
export async function automaticUpdates(
  system: System,
): Promise<{ automatic: 'off' | 'security' | 'all'; reboot: string }> {
  const text = await system.run('apt-config', ['dump']);
  const of = (name: string) =>
    [...text.matchAll(new RegExp(`^${name} "(.*)";$`, 'gm'))].map(([, value = '']) => value);
  const isOn = Number(of('APT::Periodic::Unattended-Upgrade').at(-1) ?? 0) > 0;
  const origins = of('Unattended-Upgrade::Origins-Pattern::');
  const all = origins.some((one) => /label=Debian\b(?!-Security)/.test(one));
  const reboots = of('Unattended-Upgrade::Automatic-Reboot').at(-1) === 'true';
  return {
    automatic: isOn ? (all ? 'all' : 'security') : 'off',
    reboot: reboots ? (of('Unattended-Upgrade::Automatic-Reboot-Time').at(-1) ?? 'now') : 'never',
  };
}
