import { dropIns, type Facts, once, readIfThere, requireLive, settings } from '../facts.ts';

const libraries = (kind: string) =>
  ['/etc', '/run', '/usr/local/lib', '/usr/lib'].map((place) => `${place}/${kind}`);

type Assignment = { key: string; value: string; path: string };

/** sysctl.d(5): a key may have slashes instead of dots; then dots are part of names. */
const dotted = (key: string): string =>
  /^[^.]*\//.test(key) ? key.replaceAll(/[./]/g, (c) => (c === '/' ? '.' : '/')) : key;

const assignments = once((facts): Assignment[] =>
  dropIns(facts, libraries('sysctl.d'), '.conf').flatMap((path) =>
    settings(facts.tree.read(path))
      .filter((line) => !line.startsWith(';'))
      .flatMap((line) => {
        const [, key = '', value = ''] = /^-?\s*([^=\s]+)\s*=\s*(.*)$/.exec(line) ?? [];
        return key ? [{ key: dotted(key), value: value.trim(), path }] : [];
      }),
  ),
);

const matches = (glob: string, key: string): boolean =>
  new RegExp(
    `^${glob
      .replaceAll(/[\\^$+.()|{}]/g, '\\$&')
      .replaceAll('*', '[^.]*')
      .replaceAll('?', '[^.]')}$`,
  ).test(key);

/** What the files set a kernel parameter to, the last one counting; one by name before a pattern. */
export function sysctlOnDisk(
  facts: Facts,
  key: string,
): { value: string; path: string } | undefined {
  const all = assignments(facts);
  return (
    all.findLast((one) => one.key === key) ??
    all.findLast((one) => /[*?[]/.test(one.key) && matches(one.key, key))
  );
}

/** What a kernel parameter is now. @throws if the kernel does not have it. */
export function sysctlNow(facts: Facts, key: string): string {
  requireLive(facts);
  return facts.tree
    .read(`/proc/sys/${key.replaceAll('.', '/')}`)
    .trim()
    .replaceAll(/\s+/g, ' ');
}

/** Kernel modules are the same with `-` and `_`: modprobe(8). */
const canonical = (module: string) => module.replaceAll('-', '_');

const moduleOf = (path: string) =>
  canonical(
    path
      .split('/')
      .at(-1)
      ?.replace(/\.ko(\.\w+)?$/, '') ?? '',
  );

/** Modules of all installed kernels: those that can be loaded, and those that are part of one. */
const shipped = once((facts) => {
  const kernels = facts.tree.list('/usr/lib/modules');
  const loadable = new Set<string>();
  const builtIn = new Set<string>();
  for (const kernel of kernels) {
    const directory = `/usr/lib/modules/${kernel}`;
    for (const line of (readIfThere(facts, `${directory}/modules.dep`) ?? '').split('\n'))
      if (line) loadable.add(moduleOf(line.slice(0, line.indexOf(':'))));
    for (const line of (readIfThere(facts, `${directory}/modules.builtin`) ?? '').split('\n'))
      if (line) builtIn.add(moduleOf(line));
  }
  if (loadable.size === 0) throw new Error('no kernel modules are listed in /usr/lib/modules');
  return { loadable, builtIn };
});

const denied = once((facts) => {
  const installs = new Map<string, string>();
  const blacklisted = new Set<string>();
  const directories = [...libraries('modprobe.d'), '/lib/modprobe.d'];
  for (const path of dropIns(facts, directories, '.conf'))
    for (const line of settings(facts.tree.read(path).replaceAll('\\\n', ' '))) {
      const [directive, module = '', ...rest] = line.split(/\s+/);
      if (directive === 'install') installs.set(canonical(module), rest.join(' '));
      if (directive === 'blacklist') blacklisted.add(canonical(module));
    }
  return { installs, blacklisted };
});

const loaded = once(
  (facts) => new Set(settings(facts.tree.read('/proc/modules')).map((line) => line.split(' ')[0])),
);

export type ModuleState = {
  shipped: 'loadable' | 'built-in' | 'absent';
  /** Undefined if nothing runs. */
  loaded: boolean | undefined;
  /** The command that modprobe runs in its place, if any. */
  install: string | undefined;
  blacklisted: boolean;
};

export function kernelModule(facts: Facts, name: string): ModuleState {
  const module = canonical(name);
  const { loadable, builtIn } = shipped(facts);
  return {
    shipped: builtIn.has(module) ? 'built-in' : loadable.has(module) ? 'loadable' : 'absent',
    loaded: facts.live ? loaded(facts).has(module) : undefined,
    install: denied(facts).installs.get(module),
    blacklisted: denied(facts).blacklisted.has(module),
  };
}

/** The kernel's arguments: of the running one, or those that the firmware will hand over. */
export const bootArguments = once((facts): readonly string[] =>
  facts.tree
    .read(facts.live ? '/proc/cmdline' : '/boot/firmware/cmdline.txt')
    .trim()
    .split(/\s+/),
);

export type Mount = { type: string; options: readonly string[] };

/** What is mounted, by mount point; the uppermost. */
export const mounts = once((facts): ReadonlyMap<string, Mount> => {
  requireLive(facts);
  const found = new Map<string, Mount>();
  for (const line of settings(facts.tree.read('/proc/self/mounts'))) {
    const [, place = '', type = '', options = ''] = line.split(' ');
    found.set(
      place.replaceAll(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8))),
      { type, options: options.split(',') },
    );
  }
  if (!found.has('/')) throw new Error('/proc/self/mounts has no root file system');
  return found;
});
