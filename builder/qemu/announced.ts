/** Public facts of a device by their name on the device card, as it told them so far. */
export type Announced = Map<string, string>;

/**
 * Names on the device card, and what a whole value looks like: a power cut may leave half of a line on
 * the console, and other messages may run into one.
 */
const facts: readonly (readonly [name: string, form: RegExp])[] = [
  ['device', /^[0-9a-f]{12}$/],
  // SHA-256 in base64, without padding: ssh-keygen(1), -l.
  ['SSH host key', /^SHA256:[A-Za-z0-9+/]{43} \(\w+\)$/],
  // 32 bytes in base64: wg(8).
  ['WireGuard key', /^[A-Za-z0-9+/]{43}=$/],
  ['CA, SHA-256', /^[0-9A-F]{2}(:[0-9A-F]{2}){31}$/],
  ['age recipient', /^age1[0-9a-z]{58}$/],
  ['claim code', /^[0-9A-Z]{4}(-[0-9A-Z]{4}){3}$/],
];

/** Control sequences of a terminal (ECMA-48 §5.4, CSI), as systemd and agetty send them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they begin with the control character ESC
const controlSequence = /\x1b\[[0-?]*[ -/]*[@-~]/g;

/**
 * What a text (console, status file) announces. Only whole lines count.
 * @returns by name; of several SSH host keys each by its kind.
 */
export function announcedIn(text: string): Announced {
  const found: Announced = new Map();
  const lines = text.replaceAll(controlSequence, '').split(/\r*\n/);
  // Behind the last line end is what was cut off.
  for (const line of lines.slice(0, -1)) {
    const [, name = '', value = ''] = /^\s*([A-Za-z][A-Za-z0-9, -]*):\s+(.*?)\s*$/.exec(line) ?? [];
    const form = facts.find(([known]) => known === name)?.[1];
    if (!form?.test(value)) continue;
    const kind = /\((\w+)\)$/.exec(value)?.[1];
    found.set(kind === undefined ? name : `${name} (${kind})`, value);
  }
  return found;
}

/** Adds what is new to what is known; says what was announced before and is now another. */
export function remember(known: Announced, seen: Announced): string[] {
  const changed: string[] = [];
  for (const [name, value] of seen) {
    const before = known.get(name);
    if (before !== undefined && before !== value)
      changed.push(`${name} was announced as ${before} and is now ${value}`);
    known.set(name, value);
  }
  return changed;
}
