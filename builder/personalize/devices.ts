import { readFile, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { stringify } from 'yaml';
import { parseSettings, settingsFile } from '../../firstboot/settings.ts';
import { OwnerError } from '../../firstboot/step.ts';
import { nearest } from '../config/nearest.ts';
import { isRecord, parseSource } from '../config/source.ts';
import { BuildError, exitCode, isErrno } from '../errors.ts';
import { CsvError, type CsvRow, parseCsv } from './csv.ts';
import {
  allSettings,
  type Path,
  type SettingSchema,
  settingAt,
  settingNames,
  typed,
} from './setting-names.ts';

/** One device's settings, checked as the device itself will check them. */
export type Device = {
  /** Its host name; for a file that gives none, the file's name without ending. */
  name: string;
  /** gateway-device.yaml as it will lie on the boot partition. */
  text: string;
  /** Where it comes from: `dev.yaml`, `devices.csv:3`. */
  where: string;
  /** Public SSH keys in it: without one, nobody can log in. */
  sshKeys: number;
};

/** A text file as its user calls it. */
export type NamedText = { name: string; text: string };

/** Settings and lists of devices are written by people; more than this is another file. */
const largest = 8 * 1024 * 1024;

/**
 * Reads a UTF-8 text file that a person wrote.
 * @throws BuildError with code `usage`: missing, a directory, over 8 MiB, no UTF-8.
 */
export async function readTextFile(path: string, name: string): Promise<NamedText> {
  const refuse = (what: string, fix: string, cause?: unknown) =>
    new BuildError({ what, where: name, fix, code: exitCode.usage, cause });
  try {
    if ((await stat(path)).size > largest)
      throw refuse(`The file is larger than ${largest} bytes`, 'Give the file with the settings');
    const bytes = await readFile(path);
    return { name, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch (error) {
    if (error instanceof TypeError)
      throw refuse('The file is no UTF-8 text', 'Save it as UTF-8 ("CSV UTF-8" in spreadsheets)');
    if (isErrno(error, 'ENOENT')) throw refuse('There is no such file', 'Check the path', error);
    if (isErrno(error, 'EISDIR'))
      throw refuse('This is a directory, not a file', 'Give the path of the file in it', error);
    throw error;
  }
}

/**
 * The device of one owner's file, which is kept byte for byte.
 * @throws BuildError with code `usage` and the place in the file.
 */
export function deviceOf(file: NamedText): Device {
  try {
    const { hostname, admin } = parseSettings(file.text);
    return {
      name: hostname ?? basename(file.name, extname(file.name)),
      text: file.text,
      where: file.name,
      sshKeys: admin?.ssh_authorized_keys?.length ?? 0,
    };
  } catch (error) {
    if (!(error instanceof OwnerError)) throw error;
    const problems = problemsOf(error).map(({ place, what }) => ({
      where: `${file.name}${place}`,
      what,
    }));
    throw refused(problems, error.fix);
  }
}

/**
 * The devices of a CSV file, one a row. Its first row names settings by dotted path
 * (`hostname`, `ddns.providers.0.token`); a cell takes the place of the value in `base`, an empty one
 * leaves it. A setting that is a list of texts takes one a line of the cell.
 * @throws BuildError with code `usage` that lists what is wrong, row by row, once all are checked.
 */
export function fleetOf(csv: NamedText, base?: NamedText): Device[] {
  const [header, ...rows] = readRows(csv);
  if (!header || rows.length === 0)
    throw new BuildError({
      what: header ? 'The list has no devices: only a header row' : 'The list of devices is empty',
      where: csv.name,
      fix: 'Write names of settings in the first row (hostname, admin.ssh_authorized_keys), and one device in each further one',
      code: exitCode.usage,
    });
  const columns = header.fields.map((name) => toColumn(name.trim()));
  const shared = base ? parseSource(base.text, base.name).value : {};
  const place = (line: number) => `${csv.name}:${line}`;
  const problems: Problem[] = [...headerProblems(columns)].map((what) => ({
    where: place(header.line),
    what,
  }));
  if (problems.length > 0) throw refused(problems, nothingWritten);
  const devices: Device[] = [];
  const lines = new Map<string, number>();
  for (const row of rows) {
    try {
      const device = deviceOfRow(columns, row, shared, place(row.line));
      const other = lines.get(device.name);
      if (other !== undefined)
        throw new RowProblem(`hostname: '${device.name}' is also the name of line ${other}`);
      lines.set(device.name, row.line);
      devices.push(device);
    } catch (error) {
      if (!(error instanceof RowProblem)) throw error;
      for (const what of error.problems) {
        const shared = base && !isOf(columns, what) ? ` (with ${base.name})` : '';
        problems.push({ where: `${place(row.line)}${shared}`, what });
      }
    }
  }
  if (problems.length > 0) throw refused(problems, nothingWritten);
  return devices;
}

function readRows(csv: NamedText): CsvRow[] {
  try {
    return parseCsv(csv.text);
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new BuildError({
      what: error.message,
      where: `${csv.name}:${error.line}`,
      fix: 'Put the whole field in quotes, and double each quote in it (RFC 4180)',
      code: exitCode.usage,
      cause: error,
    });
  }
}

type Column = {
  name: string;
  path: Path;
  /** What the settings take there; nothing if there is no such setting. */
  schemas: SettingSchema[];
};

function toColumn(name: string): Column {
  const path = name.split('.').map((key) => (/^\d+$/.test(key) ? Number(key) : key));
  return { name, path, schemas: settingAt(path) };
}

function* headerProblems(columns: readonly Column[]): Iterable<string> {
  const names = new Set<string>();
  for (const { name, schemas } of columns) {
    if (name === '') yield 'A column has no name';
    else if (names.has(name)) yield `The column '${name}' is there twice`;
    else if (schemas.length === 0 || !/^[a-z]\w*(\.([a-z]\w*|\d{1,2}))*$/.test(name))
      yield `There is no setting '${name}'${meant(name)}`;
    else if (schemas.every((schema) => schema.type === 'object'))
      yield `'${name}' is a group of settings: name one in it, e.g. ${settingNames(schemas[0] ?? {}, name)[0]}`;
    names.add(name);
  }
  for (const name of names)
    for (const other of names)
      if (other.startsWith(`${name}.`)) yield `The column '${name}' holds '${other}' too: keep one`;
}

function meant(name: string): string {
  const near = nearest(name, settingNames(allSettings));
  return near ? `: did you mean '${near}'?` : '';
}

/** What is wrong with one row. Never holds a value: it may be a secret. */
class RowProblem extends Error {
  readonly problems: readonly string[];

  constructor(...problems: string[]) {
    super(problems[0]);
    this.problems = problems;
  }
}

/** True if the setting that is wrong is one of the columns, not one of the common file. */
function isOf(columns: readonly Column[], what: string): boolean {
  const setting = /^[\w.]+(?=: )/.exec(what)?.[0];
  return columns.some(
    ({ name }) =>
      setting === undefined || `${setting}.`.startsWith(`${name}.`) || name.startsWith(setting),
  );
}

function deviceOfRow(
  columns: readonly Column[],
  row: CsvRow,
  shared: unknown,
  where: string,
): Device {
  if (row.fields.length !== columns.length)
    throw new RowProblem(
      `The row has ${row.fields.length} fields, the header ${columns.length}: put a field that holds the separator in quotes`,
    );
  const cells = columns.flatMap((column, index) => {
    const cell = row.fields[index] ?? '';
    return cell === '' ? [] : [{ column, cell }];
  });
  // Items of a list in their order, wherever their columns stand.
  const inOrder = new Intl.Collator('en', { numeric: true });
  cells.sort((a, b) => inOrder.compare(a.column.name, b.column.name));
  let value = shared;
  for (const { column, cell } of cells)
    value = withValue(value, column.path, typed(cell, column.schemas), column.name);
  const text = stringify(value, { lineWidth: 0 });
  try {
    const { hostname, admin } = parseSettings(text);
    if (hostname === undefined)
      throw new RowProblem('hostname: is missing; it also names what is made for the device');
    return { name: hostname, text, where, sshKeys: admin?.ssh_authorized_keys?.length ?? 0 };
  } catch (error) {
    if (!(error instanceof OwnerError)) throw error;
    throw new RowProblem(...problemsOf(error).map(({ what }) => what));
  }
}

/** One line of the message for each problem; the file's name there is the one on the boot partition. */
function problemsOf(error: OwnerError): { place: string; what: string }[] {
  return error.message.split('\n').map((line) => {
    const rest = line.startsWith(settingsFile) ? line.slice(settingsFile.length) : line;
    const [, place = '', what = rest] = /^(:\d+:\d+)?(?:: )?(.*)$/s.exec(rest) ?? [];
    return { place, what };
  });
}

function withValue(node: unknown, path: Path, value: unknown, name: string): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (typeof key === 'number') {
    const list: unknown[] = Array.isArray(node) ? [...node] : [];
    if (key > list.length)
      throw new RowProblem(`${name}: is item ${key} of a list that has ${list.length}`);
    list[key] = withValue(list[key], rest, value, name);
    return list;
  }
  const record = isRecord(node) ? node : {};
  return { ...record, [key]: withValue(record[key], rest, value, name) };
}

type Problem = { where: string; what: string };

const nothingWritten = 'Mend it and start again: nothing was written';

/** Problems that one message tells; more would not help. */
const told = 20;

/** All problems together, so that a file is mended in one go. */
function refused(problems: readonly Problem[], fix: string): BuildError {
  const [first, ...others] = problems;
  const lines = others.slice(0, told).map(({ where, what }) => `${where}: ${what}`);
  if (others.length > told) lines.push(`… and ${others.length - told} more`);
  return new BuildError({
    what: first?.what ?? 'The settings are wrong',
    where: first?.where,
    detail: lines.length > 0 ? lines.join('\n') : undefined,
    fix,
    code: exitCode.usage,
  });
}
