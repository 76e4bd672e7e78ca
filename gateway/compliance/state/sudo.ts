import { type Facts, once, settings } from '../facts.ts';

/** Lines of /etc/sudoers and all that it includes, continued lines joined: sudoers(5). */
export const sudoers = once((facts): readonly string[] => {
  const found = lines(facts, '/etc/sudoers', 0);
  if (found.length === 0) throw new Error('/etc/sudoers says nothing');
  return found;
});

function lines(facts: Facts, path: string, depth: number): string[] {
  if (depth > 8) throw new Error(`${path} includes itself`);
  const found: string[] = [];
  for (const raw of facts.tree.read(path).replaceAll('\\\n', ' ').split('\n')) {
    const line = raw.trim();
    const [, how, target = ''] = /^[@#](includedir|include)\s+(\S+)/.exec(line) ?? [];
    if (how === 'include') found.push(...lines(facts, target, depth + 1));
    else if (how === 'includedir')
      // Names with a dot or a tilde at the end are left out.
      for (const name of facts.tree.list(target)) {
        if (!name.includes('.') && !name.endsWith('~'))
          found.push(...lines(facts, `${target}/${name}`, depth + 1));
      }
    else found.push(...settings(line));
  }
  return found;
}

/** Values of `Defaults` for everybody, the last one counting; a bare one is `true`, `!x` is `false`. */
export const sudoDefaults = once((facts): ReadonlyMap<string, string> => {
  const values = new Map<string, string>();
  for (const line of sudoers(facts)) {
    const [, list] = /^Defaults\s+(.*)$/.exec(line) ?? [];
    for (const one of list?.match(/(?:[^,"]|"[^"]*")+/g) ?? []) {
      const [, not, key = '', value] = /^\s*(!?)(\w+)\s*(?:\+?=\s*(.*))?$/.exec(one) ?? [];
      if (key) values.set(key, not ? 'false' : (value?.trim().replaceAll('"', '') ?? 'true'));
    }
  }
  return values;
});
