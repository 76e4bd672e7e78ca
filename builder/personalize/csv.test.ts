import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CsvError, parseCsv } from './csv.ts';

const fields = (text: string) => parseCsv(text).map((row) => row.fields);

describe('a CSV file', () => {
  test('has separators, line ends and quotes inside quotes (RFC 4180 §2.5 to 2.7)', () => {
    expect(fields('a,b\r\n"1,2","3\r\n""4"""\r\n')).toEqual([
      ['a', 'b'],
      ['1,2', '3\r\n"4"'],
    ]);
  });

  test('keeps empty fields, at the end of the line too', () => {
    expect(fields('a,b,c\n,,\n"",x,')).toEqual([
      ['a', 'b', 'c'],
      ['', '', ''],
      ['', 'x', ''],
    ]);
  });

  test('may start with a byte order mark, end without a line end, and have any line ends', () => {
    const wanted = [
      ['a', 'b'],
      ['1', '2'],
    ];
    for (const text of ['\uFEFFa,b\r\n1,2', 'a,b\n1,2\n', 'a,b\r1,2\r'])
      expect(fields(text)).toEqual(wanted);
  });

  test('of a spreadsheet with decimal commas is separated by semicolons', () => {
    expect(fields('a;b\n"1;2";3,4\n')).toEqual([
      ['a', 'b'],
      ['1;2', '3,4'],
    ]);
  });

  test('tells the line that each record starts on', () => {
    expect(parseCsv('a\n\n"1\n2"\n3\n').map((row) => row.line)).toEqual([1, 3, 5]);
  });

  test('whose quotes are wrong is refused with the line', () => {
    for (const [text, line] of [
      ['a,b\n1,"2\n3', 2],
      ['a\nb"c\n', 2],
      ['a\n"b"c\n', 2],
    ] as const) {
      const error = (() => {
        try {
          return parseCsv(text);
        } catch (thrown) {
          return thrown;
        }
      })();
      expect(error, text).toBeInstanceOf(CsvError);
      expect((error as CsvError).line, text).toBe(line);
    }
  });

  test('gives back whatever was written by the rules', () => {
    const quote = (field: string) => `"${field.replaceAll('"', '""')}"`;
    const cell = fc.string({ unit: fc.constantFrom('a', ',', ';', '"', '\n', '\r', ' ', 'é') });
    const table = fc
      .integer({ min: 2, max: 4 })
      .chain((width) => fc.array(fc.array(cell, { minLength: width, maxLength: width })));
    fc.assert(
      fc.property(table, (rows) => {
        const body = rows.map((row) => row.map(quote).join(','));
        expect(fields(['x,y', ...body].join('\r\n')).slice(1)).toEqual(rows);
      }),
      { numRuns: 10_000 },
    );
  });

  test('of any bytes is read or refused, never more', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', ',', '"', '\n', '\r') }), (text) => {
        try {
          parseCsv(text);
        } catch (error) {
          expect(error).toBeInstanceOf(CsvError);
        }
      }),
      { numRuns: 10_000 },
    );
  });
});
