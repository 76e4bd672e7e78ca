import { once } from '../facts.ts';

/** Versions of installed packages by name. @throws if the list cannot be believed. */
export const packages = once((facts): ReadonlyMap<string, string> => {
  const found = new Map<string, string>();
  for (const stanza of facts.tree.read('/var/lib/dpkg/status').split('\n\n')) {
    if (!/^Status: .* installed$/m.test(stanza)) continue;
    const name = /^Package: (.+)$/m.exec(stanza)?.[1];
    const version = /^Version: (.+)$/m.exec(stanza)?.[1];
    if (name && version) found.set(name, version);
  }
  // Without itself in it, it is no list of packages: nothing follows from what it lacks.
  if (!found.has('dpkg')) throw new Error('/var/lib/dpkg/status does not list dpkg itself');
  return found;
});
