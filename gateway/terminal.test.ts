import { styleText } from 'node:util';
import { afterEach, expect, test, vi } from 'vitest';
import { GatewayError, present } from './errors.ts';
import { forTerminal, print } from './terminal.ts';

afterEach(() => vi.restoreAllMocks());

function written(stream: NodeJS.WriteStream, work: () => void): string {
  const write = vi.spyOn(stream, 'write').mockReturnValue(true);
  work();
  return write.mock.calls.map(([text]) => String(text)).join('');
}

/** Clears the screen, sets the title, hides text, turns its direction. */
const hostile = 'a\u001b[2Jb\u001b]0;title\u0007c\u001b[8md\u009b2Je\u202ef\rg';

test('no text of a stranger moves the cursor or sets the title of the terminal', () => {
  const text = written(process.stdout, () => print({}, {}, `name: ${hostile}`));
  expect(text).toMatch(/^name: abcd[^\p{Cc}\u202e]*efg\n$/u);
  const error = written(process.stderr, () => present(new GatewayError(hostile, hostile)));
  expect(error.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\u202e]/u);
});

test('the colours of the commands themselves stay', () => {
  for (const style of ['red', 'green', 'yellow', 'dim', 'bold'] as const) {
    const own = styleText(style, 'text', { validateStream: false });
    expect(forTerminal(own)).toBe(own);
  }
});
