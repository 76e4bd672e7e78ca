import {
  type Document,
  type ErrorCode,
  isAlias,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  parseDocument,
  visit,
} from 'yaml';
import { maxSize, withoutMark } from './owner-file.ts';

/** Something wrong, and where: offset in characters of the text. */
export type Problem = { offset: number; message: string };

export type OwnerYaml = {
  /** The top-level mapping; {} for an empty file. */
  data: unknown;
  /** Empty if `data` may be used. */
  problems: Problem[];
  /** Offset of the value at a path, or of its key. */
  locate(path: readonly PropertyKey[], part?: 'key' | 'value'): number;
  /** True if the key is there and nothing behind it. */
  isEmpty(path: readonly PropertyKey[]): boolean;
  /** `line:column` of an offset, both from 1. */
  place(offset: number): string;
};

/**
 * In place of the library's messages, which quote the source: it may be a secret. And what is worth
 * saying to someone who writes YAML once.
 */
const messages: Partial<Record<ErrorCode, string>> = {
  BAD_ALIAS: 'is an alias (*name), which is not supported; write the value itself',
  BAD_DQ_ESCAPE: 'has a \\ in "…" that means nothing; write \\\\ or take \'…\'',
  BAD_INDENT:
    'is indented wrongly (keys of one level start in the same column), or a bracket above is not closed',
  BAD_SCALAR_START: 'starts with a character that needs quotes around the value',
  BLOCK_AS_IMPLICIT_KEY: 'has two keys in one line, or a value with ": " in it that needs quotes',
  DUPLICATE_KEY: 'is there twice; keep one',
  MISSING_CHAR: 'lacks a closing quote or bracket, a space or a colon',
  MULTILINE_IMPLICIT_KEY: 'is no `key: value`; a colon may be missing, or quotes',
  MULTIPLE_DOCS: 'starts a second document; keep everything in one, without ---',
  NON_STRING_KEY: 'must be a plain key',
  RESOURCE_EXHAUSTION: 'is nested too deep',
  TAG_RESOLVE_FAILED: 'has a tag (!name), which is not supported; write the value itself',
  TAB_AS_INDENT: 'is indented with a tab; use spaces',
  UNEXPECTED_TOKEN: 'is not expected here; quotes, a colon or a bracket may be missing',
};

/**
 * Reads YAML strictly: one mapping, no key twice, and nothing of YAML's finer points (anchors, aliases,
 * tags, merge keys, directives), which can make one line mean something elsewhere, or a thousand lines.
 */
export function parseOwnerYaml(source: string): OwnerYaml {
  const text = withoutMark(source);
  const counter = new LineCounter();
  const problems: Problem[] = [];
  const refuse = (message: string): OwnerYaml => ({
    data: {},
    problems: [{ offset: 0, message }],
    locate: () => 0,
    isEmpty: () => false,
    place: () => '1:1',
  });
  if (Buffer.byteLength(text) > maxSize)
    return refuse(`is larger than ${maxSize / 1024} KiB; settings are not`);
  if (text.includes('\0')) return refuse('is binary, not text');
  try {
    const document = parseDocument(text, {
      lineCounter: counter,
      prettyErrors: false,
      stringKeys: true,
    });
    problems.push(...syntaxProblems(document));
    if (problems.length === 0) problems.push(...finePoints(document));
    const data: unknown = problems.length === 0 ? (document.toJS({ maxAliasCount: 0 }) ?? {}) : {};
    if (problems.length === 0 && (typeof data !== 'object' || Array.isArray(data)))
      problems.push({
        offset: start(document.contents),
        message: 'must be settings like `hostname: attic-gateway`, one to a line',
      });
    return {
      data,
      problems,
      locate: (path, part = 'value') => locate(document, path, part),
      isEmpty: (path) => {
        const node = document.getIn(path, true);
        return isScalar(node) && node.value === null;
      },
      place: (offset) => {
        const { line, col } = counter.linePos(offset);
        return `${Math.max(line, 1)}:${Math.max(col, 1)}`;
      },
    };
  } catch (error) {
    // What is nested ten thousandfold ends the stack of any recursive parser.
    if (error instanceof RangeError) return refuse('is nested too deep');
    throw error;
  }
}

/** One for each place: of several, wrong indentation is the one that follows from another. */
function syntaxProblems(document: Document): Problem[] {
  const places = new Map<number, ErrorCode>();
  for (const { pos, code } of [...document.errors, ...document.warnings])
    if (!places.has(pos[0]) || places.get(pos[0]) === 'BAD_INDENT') places.set(pos[0], code);
  return [...places].map(([offset, code]) => ({
    offset,
    message: messages[code] ?? 'is no valid YAML',
  }));
}

function finePoints(document: Document): Problem[] {
  const problems: Problem[] = [];
  const found = (node: unknown, message: string) =>
    problems.push({ offset: start(node), message: `${message}; write the value itself` });
  if (document.directives?.yaml.explicit)
    problems.push({ offset: 0, message: 'starts with a % line; leave it out' });
  visit(document, (key, node) => {
    if (isAlias(node)) found(node, 'is an alias (*name), which is not supported');
    else if (isNode(node) && 'anchor' in node && node.anchor)
      found(node, 'has an anchor (&name), which is not supported');
    else if (isNode(node) && node.tag) found(node, 'has a tag (!name), which is not supported');
    else if (key === 'key' && isScalar(node) && node.value === '<<')
      found(node, 'is a merge key (<<), which is not supported');
    return undefined;
  });
  return problems;
}

function start(node: unknown): number {
  return isNode(node) ? (node.range?.[0] ?? 0) : 0;
}

function locate(document: Document, path: readonly PropertyKey[], part: 'key' | 'value'): number {
  const parent: unknown =
    path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents;
  const last = path.at(-1);
  const pair = isMap(parent)
    ? parent.items.find((item) => isScalar(item.key) && String(item.key.value) === last)
    : undefined;
  if (pair && (part === 'key' || !isNode(pair.value) || isNothing(pair.value)))
    return start(pair.key);
  const node: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
  if (isNode(node)) return start(node);
  return path.length === 0 ? 0 : locate(document, path.slice(0, -1), 'key');
}

const isNothing = (node: unknown) => isScalar(node) && node.value === null;
