import { connect, damaged, type Found, passwordLogin, sudoRules } from './found.ts';

/**
 * What Raspberry Pi Imager writes for init_format `systemd` (rpi-imager,
 * src/customization_generator.cpp): a shell script. It is searched for the commands that carry a
 * setting, and never run. Each setting is there twice, for the vendor's helper and without it; the call
 * of the helper is read.
 */
export function fromFirstrun(script: string): Found | undefined {
  const lines = script.split(/\r?\n/);
  if (script.trim() === '') return undefined;
  if (lines.findLast((line) => line.trim() !== '')?.trim() !== 'exit 0')
    throw damaged('firstrun.sh', 'does not end with `exit 0`, so a part is missing');
  const variables = new Map<string, string>();
  const unused = ['commands of firstrun.sh: they are not run, only settings are taken'];
  let found: Omit<Found, 'unused'> = {};
  let ending: string | undefined;
  for (const [index, line] of lines.entries()) {
    if (ending !== undefined) {
      // Within a here-document is data: a key's comment may look like a command.
      if (line === ending) ending = undefined;
      continue;
    }
    ending = /<<'(\w+)'$/.exec(line)?.[1];
    const words = relevant(line) ? shellWords(line, variables) : [];
    if (!words) throw damaged(`firstrun.sh:${index + 1}:1`, 'is not as Imager writes it');
    const assignment = /^(IMAGER_\w+)=([\s\S]*)$/.exec(words[0] ?? '');
    if (assignment && words.length === 1) variables.set(assignment[1] ?? '', assignment[2] ?? '');
    found = { ...found, ...setting(words) };
  }
  if (/imager_custom enable_ssh\s*$/m.test(script)) unused.push(passwordLogin);
  if (/rpi-connect|com\.raspberrypi\.connect/.test(script)) unused.push(connect);
  if (/>\s*'?\/etc\/sudoers\.d\//.test(script)) unused.push(sudoRules);
  if (/imager_custom \] && false/.test(script))
    unused.push('a Wi-Fi network whose name is no text');
  return { ...found, unused };
}

const relevant = (line: string) =>
  /^\s*(\S*\/imager_custom (set_|enable_)|\S*\/userconf |IMAGER_(HOSTNAME|USER|PASS)=)/.test(line);

/** What one command sets; empty arguments set nothing. */
function setting(words: readonly string[]): Omit<Found, 'unused'> {
  const [program = '', ...rest] = words;
  if (program.endsWith('/userconf')) {
    const [user, hash] = rest;
    return { ...(user ? { user } : {}), ...(hash ? { passwordHash: hash } : {}) };
  }
  if (!program.endsWith('/imager_custom')) return {};
  const [verb, ...all] = rest;
  const args = /^-[hk]$/.test(all[0] ?? '') ? all.slice(1) : all;
  const [first] = args;
  if (!first) return {};
  switch (verb) {
    case 'set_hostname':
      return { hostname: first };
    case 'enable_ssh':
      return { keys: args };
    case 'set_keymap':
      return { layout: first };
    case 'set_timezone':
      return { timezone: first };
    case 'set_wlan':
      return {
        wifi: { ssid: first, password: args[1] || undefined, hidden: all[0] === '-h' },
        ...(args[2] ? { country: args[2] } : {}),
      };
    default:
      return {};
  }
}

/**
 * The words of a simple command: quotes as in POSIX.1 "Quoting", and variables that the script has set
 * to a text before. Undefined if there is anything else: an open quote, an operator, a substitution.
 */
export function shellWords(
  line: string,
  variables: ReadonlyMap<string, string> = new Map(),
): string[] | undefined {
  const words: string[] = [];
  const token =
    /\s+|'([^']*)'|"((?:[^"\\$`]|\\[\s\S]|\$\w+)*)"|\\([\s\S])|\$(\w+)|([^\s'"\\$`;&|<>()]+)/y;
  let word: string | undefined;
  while (token.lastIndex < line.length) {
    const match = token.exec(line);
    if (!match) return undefined;
    const [all, single, double, escaped, variable, plain] = match;
    if (/^\s/.test(all)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    const text =
      single ??
      (double === undefined ? undefined : expand(double, variables)) ??
      escaped ??
      (variable === undefined ? undefined : variables.get(variable)) ??
      plain;
    if (text === undefined) return undefined;
    word = (word ?? '') + text;
  }
  return word === undefined ? words : [...words, word];
}

/** Text within double quotes; undefined if it needs a variable that is not known. */
function expand(text: string, variables: ReadonlyMap<string, string>): string | undefined {
  const names = [...text.matchAll(/(?:\\[\s\S])|\$(\w+)/g)].map((match) => match[1]);
  if (names.some((name) => name !== undefined && !variables.has(name))) return undefined;
  return text.replaceAll(/\\([\s\S])|\$(\w+)/g, (all, escaped?: string, name?: string) => {
    if (name !== undefined) return variables.get(name) ?? '';
    return escaped !== undefined && '$`"\\'.includes(escaped) ? escaped : all;
  });
}
