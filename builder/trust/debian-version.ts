/** Weight of a character in the parts that are no digits: `~` before the end, letters before the rest. */
function weight(character: string | undefined): number {
  if (character === '~') return -1;
  if (character === undefined || /\d/.test(character)) return 0;
  return /[A-Za-z]/.test(character) ? character.charCodeAt(0) : character.charCodeAt(0) + 256;
}

function comparePart(a: string, b: string): number {
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    while ((i < a.length && !/\d/.test(a[i] ?? '')) || (j < b.length && !/\d/.test(b[j] ?? ''))) {
      const difference = weight(a[i]) - weight(b[j]);
      if (difference !== 0) return Math.sign(difference);
      i++;
      j++;
    }
    const [x = ''] = /^\d*/.exec(a.slice(i)) ?? [];
    const [y = ''] = /^\d*/.exec(b.slice(j)) ?? [];
    const difference = BigInt(x || 0) - BigInt(y || 0);
    if (difference !== 0n) return difference < 0n ? -1 : 1;
    i += x.length;
    j += y.length;
  }
  return 0;
}

function split(version: string): [string, string, string] {
  const [, epoch = '0', rest = ''] = /^(?:(\d+):)?(.*)$/.exec(version) ?? [];
  const dash = rest.lastIndexOf('-');
  return dash < 0 ? [epoch, rest, ''] : [epoch, rest.slice(0, dash), rest.slice(dash + 1)];
}

/** Compares versions as dpkg does (deb-version(7)): -1, 0 or 1. */
export function compareVersions(a: string, b: string): number {
  const [first, second] = [split(a), split(b)];
  return (
    comparePart(first[0], second[0]) ||
    comparePart(first[1], second[1]) ||
    comparePart(first[2], second[2])
  );
}
