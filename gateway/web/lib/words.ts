/** What the API gives, as lines that are read. */

/** Lines of a unified diff, with what they are. */
export function diffLines(
  text: string,
): { kind: '' | 'added' | 'removed' | 'muted'; text: string }[] {
  return text
    .split('\n')
    .filter((line, index, all) => line !== '' || index < all.length - 1)
    .map((line) => ({
      kind: /^(---|\+\+\+|@@)/.test(line)
        ? 'muted'
        : line.startsWith('+')
          ? 'added'
          : line.startsWith('-')
            ? 'removed'
            : '',
      text: line,
    }));
}

/** Lines kept while following; older ones are had by “Older”. */
const most = 2000;

/** New ones after the old, the newest last, none twice. */
export function merged<E extends { cursor: string }>(old: readonly E[], newest: readonly E[]): E[] {
  const known = new Set(old.map(({ cursor }) => cursor));
  return [...old, ...newest.filter(({ cursor }) => !known.has(cursor)).toReversed()].slice(-most);
}

/** What was said to do it, on a line. */
export function details(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'object') return String(value);
  return Object.entries(value)
    .map(
      ([key, inner]) =>
        `${key}: ${typeof inner === 'object' ? JSON.stringify(inner) : String(inner)}`,
    )
    .join(', ');
}

/** What a User-Agent is called by people. */
export function browserOf(agent: string): string {
  const browser = [
    ['Edg/', 'Edge'],
    ['Firefox/', 'Firefox'],
    ['CriOS/', 'Chrome'],
    ['Chrome/', 'Chrome'],
    ['Safari/', 'Safari'],
    ['curl/', 'curl'],
  ].find(([mark]) => agent.includes(mark ?? ''))?.[1];
  const system = [
    ['Android', 'Android'],
    ['iPhone', 'iPhone'],
    ['iPad', 'iPad'],
    ['Windows', 'Windows'],
    ['Mac OS X', 'Mac'],
    ['Linux', 'Linux'],
  ].find(([mark]) => agent.includes(mark ?? ''))?.[1];
  if (browser === undefined) return agent === '' ? 'not known' : agent.slice(0, 40);
  return system === undefined ? browser : `${browser} on ${system}`;
}
