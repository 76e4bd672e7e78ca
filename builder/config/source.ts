import { readFile, stat } from 'node:fs/promises';
import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import { BuildError, exitCode, isErrno } from '../errors.ts';

/** Where something stands, counted from 1. */
export type Position = { line: number; column: number };

/** One layer of the configuration with the place of each of its keys and values. */
export type Source = {
  /** File name as the user knows it, or `--set a.b=c`. */
  name: string;
  value: Record<string, unknown>;
  /** Position of the value at a path (joined by \0). */
  values: Map<string, Position>;
  /** Position of the key at a path. */
  keys: Map<string, Position>;
  lines: readonly string[];
};

export type ConfigProblem = {
  message: string;
  source?: Source | undefined;
  /** For a source that could not be read at all. */
  file?: string | undefined;
  position?: Position | undefined;
  line?: string | undefined;
  fix?: string | undefined;
};

/** Configuration files are written by hand; more than this is a mistake or an attack. */
const largest = 1024 * 1024;

export function pathKey(path: readonly PropertyKey[]): string {
  return path.map(String).join('\0');
}

/** Reads a YAML file; undefined if it does not exist. */
export async function readSource(path: string, name: string): Promise<Source | undefined> {
  let bytes: Buffer;
  try {
    const { size } = await stat(path);
    if (size > largest)
      throw configError({ message: `The file is larger than ${largest} bytes`, file: name });
    bytes = await readFile(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    if (isErrno(error, 'EISDIR'))
      throw configError({ message: 'This is a directory, not a file', file: name });
    throw error;
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw configError({
      message: 'The file is no UTF-8 text',
      file: name,
      fix: 'Save it as UTF-8',
    });
  }
  return parseSource(text, name);
}

/** Parses YAML text into a layer. @throws BuildError with all syntax errors. */
export function parseSource(text: string, name: string): Source {
  const counter = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: counter,
    uniqueKeys: true,
    prettyErrors: false,
  });
  const lines = text.split(/\r?\n/);
  const at = (offset: number): Position => {
    const { line, col } = counter.linePos(offset);
    return { line, column: col };
  };
  const syntax = document.errors.map((error): ConfigProblem => {
    const position = at(error.pos[0]);
    return {
      message: friendly(error.code, error.message),
      file: name,
      position,
      line: lines[position.line - 1],
    };
  });
  visit(document, {
    Alias: (_, node) => {
      const position = at(node.range?.[0] ?? 0);
      syntax.push({
        message: 'Anchors and aliases (& and *) are not supported here',
        file: name,
        position,
        line: lines[position.line - 1],
        fix: 'Write the value out',
      });
      return visit.SKIP;
    },
  });
  if (syntax.length > 0) throw configErrors(syntax);
  const source: Source = { name, value: {}, values: new Map(), keys: new Map(), lines };
  const collect = (node: unknown, path: readonly PropertyKey[]): void => {
    if (isAlias(node)) return;
    const range = (node as { range?: [number, number, number] | null } | null)?.range;
    if (range) source.values.set(pathKey(path), at(range[0]));
    if (isMap(node))
      for (const pair of node.items) {
        if (!isPair(pair)) continue;
        const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
        const keyRange = (pair.key as { range?: [number, number, number] } | null)?.range;
        if (keyRange) source.keys.set(pathKey([...path, key]), at(keyRange[0]));
        collect(pair.value, [...path, key]);
      }
    else if (isSeq(node))
      for (const [index, item] of node.items.entries()) collect(item, [...path, index]);
  };
  collect(document.contents, []);
  const value: unknown = document.toJS() ?? {};
  if (!isRecord(value))
    throw configErrors([
      {
        message: 'The file must hold keys and values, e.g. name: pi-gateway',
        file: name,
        position: { line: 1, column: 1 },
        line: lines[0],
      },
    ]);
  return { ...source, value };
}

/** A layer from `--set a.b=c`; the value is read as YAML. */
export function parseSet(argument: string): Source {
  const name = `--set ${argument}`;
  const match = /^([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)=(.*)$/s.exec(argument);
  if (!match)
    throw configError({
      message: 'This is not key=value',
      file: name,
      fix: 'Write e.g. --set image.compress=zstd',
    });
  const [, path = '', text = ''] = match;
  const keys = path.split('.');
  const inner = parseDocument(text === '' ? '""' : text);
  if (inner.errors[0])
    throw configError({ message: `The value is no YAML: ${inner.errors[0].message}`, file: name });
  const value = keys.reduceRight<unknown>((held, key) => ({ [key]: held }), inner.toJS());
  return {
    name,
    value: value as Record<string, unknown>,
    values: new Map(),
    keys: new Map(),
    lines: [],
  };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function friendly(code: string, message: string): string {
  if (code === 'TAB_AS_INDENT') return 'A tab cannot indent YAML; use spaces';
  if (code === 'DUPLICATE_KEY') return 'This key stands here twice';
  return `This is no valid YAML: ${message}`;
}

function configError(problem: ConfigProblem): BuildError {
  return configErrors([problem]);
}

/** One error for all problems: the first in full, all of them in the detail. */
export function configErrors(problems: readonly ConfigProblem[]): BuildError {
  const [first] = problems;
  const place = (problem: ConfigProblem) => {
    const file = problem.source?.name ?? problem.file ?? 'configuration';
    return problem.position ? `${file}:${problem.position.line}:${problem.position.column}` : file;
  };
  const excerpt = (problem: ConfigProblem) => {
    const { position } = problem;
    if (!position || problem.line === undefined) return [];
    return [`  ${problem.line}`, `  ${' '.repeat(position.column - 1)}^`];
  };
  const detail = problems.flatMap((problem, index) => [
    ...(index === 0 ? [] : [`${place(problem)}: ${problem.message}`]),
    ...excerpt(problem),
    ...(index > 0 && problem.fix ? [`  ${problem.fix}`] : []),
  ]);
  return new BuildError({
    what: first?.message ?? 'The configuration is wrong',
    where: first ? place(first) : undefined,
    fix: first?.fix,
    detail: detail.join('\n'),
    code: exitCode.usage,
  });
}
