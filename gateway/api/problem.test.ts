import { expect, test } from 'vitest';
import { GatewayError } from '../errors.ts';
import { problemOf } from './problem.ts';

test.each([
  ['late', 504, {}],
  ['busy', 503, { 'retry-after': '5' }],
] as const)(
  'the time-out of the helper (%s) is told as what it is, not as our mistake',
  (kind, status, headers) => {
    const told = problemOf(
      new GatewayError('vpn.add has not come to an end', 'See how things are', kind),
    );
    expect(told?.problem).toMatchObject({
      status,
      detail: 'vpn.add has not come to an end',
      fix: 'See how things are',
    });
    expect(told?.headers).toEqual(headers);
  },
);
