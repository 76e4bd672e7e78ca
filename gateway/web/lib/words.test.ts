import { describe, expect, it } from 'vitest';
import { expiryAt, listed, slug } from './clients.ts';
import { sets } from './plots.ts';
import { parseRoute } from './router.ts';
import { browserOf, details, diffLines, merged } from './words.ts';

describe('a client', () => {
  it.each([
    ['Zoë’s Tablet', 'zoe-s-tablet'],
    ['  --Büro 2--  ', 'buro-2'],
    ['anns-phone', 'anns-phone'],
    ['$(reboot); ../x', 'reboot-x'],
    ['日本', ''],
    [`${'a'.repeat(31)} b`, 'a'.repeat(31)],
  ])('typed as %j is called %j, which the API takes', (typed, name) => {
    expect(slug(typed)).toBe(name);
    if (name !== '') expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/);
  });

  it('has access to the end of the day that was chosen, by the clock of who chose', () => {
    const at = expiryAt('date', '2027-01-31', 0);
    expect(new Date(at ?? '').getDate()).toBe(31);
    expect(new Date(at ?? '').getHours()).toBe(23);
    expect(expiryAt('week', '', Date.UTC(2026, 0, 1))).toBe('2026-01-08T00:00:00.000Z');
    expect(expiryAt('never', '2027-01-31', 0)).toBeNull();
    expect(expiryAt('date', '', 0)).toBeNull();
  });

  it('has DNS servers in a list as people type one', () => {
    expect(listed(' 9.9.9.9, 2620:fe::fe;1.1.1.1 ')).toEqual(['9.9.9.9', '2620:fe::fe', '1.1.1.1']);
    expect(listed(' ')).toEqual([]);
  });
});

it('a route is read from the address, also where that is broken', () => {
  expect(parseRoute('')).toMatchObject({ view: 'overview', rest: [] });
  expect(parseRoute('#/vpn/anns%20phone?add=1')).toMatchObject({
    view: 'vpn',
    rest: ['anns phone'],
  });
  expect(parseRoute('#/vpn/%E0%A4%A')).toMatchObject({ view: 'vpn', rest: ['%E0%A4%A'] });
  expect(parseRoute('#/logs?unit=ssh.service').query.get('unit')).toBe('ssh.service');
});

it('a difference keeps each line, with what it is', () => {
  expect(diffLines('--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n z\n').map(({ kind }) => kind)).toEqual([
    'muted',
    'muted',
    'muted',
    'removed',
    'added',
    '',
  ]);
});

it('log lines that come twice are shown once, the newest last', () => {
  const entry = (cursor: string) => ({ cursor });
  const first = merged([], [entry('c'), entry('b'), entry('a')]);
  expect(first.map(({ cursor }) => cursor).join('')).toBe('abc');
  expect(
    merged(first, [entry('d'), entry('c')])
      .map(({ cursor }) => cursor)
      .join(''),
  ).toBe('abcd');
  const many = Array.from({ length: 3000 }, (_, index) => entry(String(index)));
  expect(merged([], many)).toHaveLength(2000);
});

it('what was changed is told on a line', () => {
  expect(details({ name: 'phone', zones: ['lan'] })).toBe('name: phone, zones: ["lan"]');
  expect(details(null)).toBe('');
});

it('browsers are called as people call them', () => {
  expect(
    browserOf(
      'Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36',
    ),
  ).toBe('Chrome on Android');
  expect(
    browserOf('Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1'),
  ).toBe('Safari on iPhone');
  expect(browserOf('curl/8.14')).toBe('curl');
  expect(browserOf('')).toBe('not known');
});

describe('charts', () => {
  const kinds = [
    ['network.received', 'Received'],
    ['network.sent', 'Sent'],
  ] as const;

  it('are there for what is measured, and one for each interface', () => {
    const names = ['network.sent{wg0}', 'network.received{eth0}', 'network.sent{eth0}', 'cpu.used'];
    const found = sets([{ title: '{}', kinds, each: true }], names);
    expect(found.map(({ title }) => title)).toEqual(['eth0', 'wg0']);
    expect(found[0]?.series.map(({ title }) => title)).toEqual(['Received', 'Sent']);
    expect(sets([{ title: 'Heat', kinds: [['heat.temperature', 'Hottest']] }], names)).toEqual([]);
  });

  it('have at most as many lines as there are colours', () => {
    const names = Array.from({ length: 20 }, (_, index) => `firewall.packets{c${index}}`);
    expect(
      sets([{ title: 'Packets', kinds: [['firewall.packets', '{}']] }], names)[0]?.series,
    ).toHaveLength(6);
  });
});
