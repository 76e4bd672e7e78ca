import { describe, expect, test } from 'vitest';
import { isQuiet } from './quiet.ts';

const night = {
  from: '22:00',
  to: '07:00',
  time_zone: 'Europe/Berlin',
  critical_passes: true,
};
const at = (text: string) => Date.parse(text);

describe('quiet hours', () => {
  test('that are not set are never', () => {
    expect(isQuiet(undefined, Date.now())).toBe(false);
  });

  test.each([
    ['2026-01-02T20:59:59Z', false],
    ['2026-01-02T21:00:00Z', true],
    ['2026-01-03T05:59:59Z', true],
    ['2026-01-03T06:00:00Z', false],
    ['2026-07-02T19:59:59Z', false],
    ['2026-07-02T20:00:00Z', true],
    ['2026-07-03T04:59:59Z', true],
    ['2026-07-03T05:00:00Z', false],
  ])('go by the clock on the wall, in winter and summer: %s', (time, quiet) => {
    expect(isQuiet(night, at(time))).toBe(quiet);
  });

  test.each([
    // The last Sunday of March: 02:00 is 03:00.
    ['spring', '2026-03-28T00:00:00Z', 8],
    // The last Sunday of October: 03:00 is 02:00 again.
    ['autumn', '2026-10-24T00:00:00Z', 10],
  ])('in the night of %s when clocks change end at seven all the same', (_, day, hours) => {
    const minutes = Array.from({ length: 24 * 60 }, (__, i) => at(day) + (i + 12 * 60) * 60_000);
    const quiet = minutes.filter((minute) => isQuiet(night, minute));
    expect(quiet).toHaveLength(hours * 60);
    // Without a gap.
    expect((quiet.at(-1) ?? 0) - (quiet[0] ?? 0)).toBe((hours * 60 - 1) * 60_000);
  });

  test('in the middle of the hour that is there twice hold both times', () => {
    const short = { ...night, from: '02:15', to: '02:45' };
    expect(isQuiet(short, at('2026-10-25T00:30:00Z'))).toBe(true);
    expect(isQuiet(short, at('2026-10-25T01:00:00Z'))).toBe(false);
    expect(isQuiet(short, at('2026-10-25T01:30:00Z'))).toBe(true);
  });

  test('within a day', () => {
    const noon = { ...night, from: '12:00', to: '14:00', time_zone: 'UTC' };
    expect(
      ['11:59', '12:00', '13:59', '14:00'].map((t) => isQuiet(noon, at(`2026-01-02T${t}Z`))),
    ).toEqual([false, true, true, false]);
  });
});
