import { damaged } from './found.ts';

export type TomlValue = string | boolean | number | readonly string[];
/** Sections by name; '' is the one before the first. */
export type Toml = ReadonlyMap<string, ReadonlyMap<string, TomlValue>>;

/**
 * The part of TOML 1.0 that rpi-preseed.toml is made of (raspberrypi/rpi-preseed, src/lib/toml.sh):
 * sections, strings in "…" or '…' on one line, true and false, whole numbers, lists of strings.
 * @throws OwnerError with file and line for anything else, and for a key that is there twice.
 */
export function parseToml(text: string, name: string): Toml {
  const sections = new Map<string, Map<string, TomlValue>>([['', new Map()]]);
  let section = sections.get('') ?? new Map<string, TomlValue>();
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index += 1) {
    const fail = (what: string) => damaged(`${name}:${index + 1}:1`, what);
    const line = lines[index]?.trim() ?? '';
    if (line === '' || line.startsWith('#')) continue;
    const title = /^\[\s*([A-Za-z0-9_-]+)\s*\]\s*(#.*)?$/.exec(line)?.[1];
    if (title !== undefined) {
      if (sections.has(title)) throw fail('is a section that was there before');
      section = new Map();
      sections.set(title, section);
      continue;
    }
    const [, key, start] = /^([A-Za-z0-9_-]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (key === undefined || start === undefined)
      throw fail('is neither a section nor `key = value`');
    if (section.has(key)) throw fail('is there twice');
    let source = start;
    // A list may go on over lines; each string of it is on one.
    while (source.startsWith('[') && value(source) === undefined && index + 1 < lines.length) {
      index += 1;
      source += `\n${lines[index]}`;
    }
    const found = value(source);
    if (found === undefined) throw fail('has a value that is not as Imager writes it');
    section.set(key, found);
  }
  return sections;
}

const string = /"((?:[^"\\\r\n]|\\.)*)"|'([^'\r\n]*)'/;
const comment = /\s*(#.*)?$/;

function value(source: string): TomlValue | undefined {
  const simple = /^(true|false|\d{1,15})\s*(#.*)?$/.exec(source)?.[1];
  if (simple !== undefined) return /^\d/.test(simple) ? Number(simple) : simple === 'true';
  const text = new RegExp(`^(?:${string.source})${comment.source}`).exec(source);
  if (text) return unescaped(text);
  return source.startsWith('[') ? list(source) : undefined;
}

/** Undefined also for a list that is not closed yet. */
function list(source: string): string[] | undefined {
  const items: string[] = [];
  const gap = /(?:\s|#[^\n]*\n)*/y;
  const item = new RegExp(string.source, 'y');
  let at = 1;
  const skip = () => {
    gap.lastIndex = at;
    at += gap.exec(source)?.[0].length ?? 0;
  };
  for (;;) {
    skip();
    if (source[at] === ']')
      return comment.test(source.slice(at + 1)) && /^\s*(#|$)/.test(source.slice(at + 1))
        ? items
        : undefined;
    item.lastIndex = at;
    const match = item.exec(source);
    const text = match && unescaped(match);
    if (!match || text === undefined || text === null) return undefined;
    items.push(text);
    at += match[0].length;
    skip();
    if (source[at] === ',') at += 1;
    else if (source[at] !== ']') return undefined;
  }
}

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
};

function unescaped([, basic, literal]: RegExpExecArray): string | undefined {
  if (literal !== undefined) return literal;
  let isWhole = true;
  const text = (basic ?? '').replaceAll(
    /\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/g,
    (_, short?: string, long?: string, letter?: string) => {
      const code = Number.parseInt(short ?? long ?? '', 16);
      const isScalar = code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
      const character = letter === undefined && isScalar ? String.fromCodePoint(code) : undefined;
      const plain = character ?? (letter === undefined ? undefined : escapes[letter]);
      if (plain === undefined) isWhole = false;
      return plain ?? '';
    },
  );
  return isWhole ? text : undefined;
}
