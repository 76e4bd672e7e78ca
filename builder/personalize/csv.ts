/** One record of a CSV file. */
export type CsvRow = {
  /** Line of the file that the record starts on, from 1. */
  line: number;
  fields: string[];
};

/** A CSV file that cannot be read; the message says why, without the file's name. */
export class CsvError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.name = 'CsvError';
    this.line = line;
  }
}

/**
 * Reads CSV as RFC 4180 describes it: quoted fields may hold separators, line ends and doubled quotes.
 * Beyond it: a byte order mark, bare LF or CR as line end, and empty lines are let pass, and where the
 * first line has semicolons and no comma they are the separator, as spreadsheets write it where the
 * comma is the decimal mark.
 * @throws CsvError for a quote that is not closed, or that stands where none may.
 */
export function parseCsv(text: string): CsvRow[] {
  const source = text.replace(/^\uFEFF/, '');
  const separator = separatorOf(source);
  const rows: CsvRow[] = [];
  let fields: string[] = [];
  let line = 1;
  let start = 1;
  let at = 0;
  const endRow = () => {
    if (fields.length > 1 || fields[0] !== '') rows.push({ line: start, fields });
    fields = [];
  };
  while (at < source.length) {
    if (fields.length === 0) start = line;
    const field =
      source[at] === '"' ? quoted(source, at, line) : plain(source, at, separator, line);
    fields.push(field.value);
    line += countLineEnds(source, at, field.end);
    at = field.end;
    const next = source[at];
    if (next === separator) {
      at += 1;
      // A separator at the very end has an empty field behind it.
      if (at === source.length) fields.push('');
      continue;
    }
    if (next !== undefined && next !== '\r' && next !== '\n')
      throw new CsvError(line, 'Something stands between a closing quote and the separator');
    endRow();
    at += next === '\r' && source[at + 1] === '\n' ? 2 : 1;
    line += 1;
  }
  if (fields.length > 0) endRow();
  return rows;
}

type Field = { value: string; end: number };

function plain(source: string, at: number, separator: string, line: number): Field {
  let end = at;
  while (end < source.length && source[end] !== separator && !/[\r\n]/.test(source[end] ?? ''))
    end += 1;
  const value = source.slice(at, end);
  if (value.includes('"'))
    throw new CsvError(line, 'A quote stands inside a field that does not start with one');
  return { value, end };
}

function quoted(source: string, at: number, line: number): Field {
  for (let end = at + 1; end < source.length; end += 1) {
    if (source[end] !== '"') continue;
    if (source[end + 1] === '"') end += 1;
    else return { value: source.slice(at + 1, end).replaceAll('""', '"'), end: end + 1 };
  }
  throw new CsvError(line, 'A quoted field that starts here is not closed');
}

function countLineEnds(source: string, from: number, to: number): number {
  return source.slice(from, to).match(/\r\n|\r|\n/g)?.length ?? 0;
}

function separatorOf(source: string): string {
  const header = source.slice(0, Math.max(0, source.search(/[\r\n]|$/)));
  return !header.includes(',') && header.includes(';') ? ';' : ',';
}
