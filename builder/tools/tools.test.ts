import { expect, test } from 'vitest';
import { ofImage } from './tools.ts';

const program = (text: string) => Buffer.from(text, 'latin1');

test("a native program of dpkg's takes the image's architecture for its own, and is else the same", () => {
  const before = program('\x7fELF 1.22 (amd64)\0native\0amd64\0any\0');
  expect(ofImage(before, 'amd64')?.toString('latin1')).toBe(
    '\x7fELF 1.22 (amd64)\0native\0arm64\0any\0',
  );
});

test('a program that does not say its architecture just once is none to change', () => {
  expect(ofImage(program('native\0any\0'), 'amd64')).toBeUndefined();
  expect(ofImage(program('a\0amd64\0b\0amd64\0'), 'amd64')).toBeUndefined();
  expect(ofImage(program('a\0riscv64\0'), 'riscv64')).toBeUndefined();
});
