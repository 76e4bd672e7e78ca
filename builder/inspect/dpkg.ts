import { byName } from './file-system.ts';

/** From the text of /var/lib/dpkg/status: packages that dpkg has as installed, by name; one of another architecture as `name:arch`. */
export function packagesOf(status: string): Record<string, string> {
  const packages: [string, string][] = [];
  const stanzas = status.split('\n\n').map((stanza) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(stanza)?.[1] ?? '';
    return {
      name: field('Package'),
      version: field('Version'),
      architecture: field('Architecture'),
      installed: field('Status').endsWith(' installed'),
    };
  });
  const own = stanzas.find((stanza) => stanza.name === 'dpkg')?.architecture;
  for (const { name, version, architecture, installed } of stanzas) {
    const foreign = architecture !== 'all' && own !== undefined && architecture !== own;
    if (name && installed) packages.push([foreign ? `${name}:${architecture}` : name, version]);
  }
  return Object.fromEntries(packages.sort(([a], [b]) => byName(a, b)));
}
