import { expect, test } from 'vitest';
import { firstDifference } from './explain.ts';

const pieces = (...texts: (string | Buffer)[]) => texts.map((text) => Buffer.from(text));

test('of two texts, the first line that differs is shown as it is in each, however they are divided', () => {
  expect(
    firstDifference(
      '/etc/motd',
      pieces('one\ntw', 'o is here\nthree\n'),
      pieces('one\ntwo ', 'was here\nthree\n'),
    ),
  ).toEqual([
    { path: '/etc/motd', offset: 8, line: 2, before: 'two is here', after: 'two was here' },
  ]);
});

test('of two binaries, the bytes from the first that differs', () => {
  expect(
    firstDifference('/bin/x', pieces(Buffer.from([1, 2, 3, 0])), pieces(Buffer.from([1, 2, 9, 0]))),
  ).toEqual([{ path: '/bin/x', offset: 2, before: '0300', after: '0900' }]);
});

test('a text that goes on where the other ends', () => {
  expect(firstDifference('/x', pieces('a\n'), pieces('a\nmore'))).toMatchObject([
    { offset: 2, line: 2, before: '', after: 'more' },
  ]);
  expect(firstDifference('/x', pieces('same'), pieces('sa', 'me'))).toEqual([]);
});
