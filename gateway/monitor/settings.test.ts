import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { project } from '../../builder/testing/build.ts';
import { catalogue, type Measure, parseSeriesName, seriesName, titleOf } from './catalogue.ts';
import { allChecks } from './checks/all.ts';
import { Clock } from './checks/clock.ts';
import { Uplink } from './checks/network.ts';
import { Systemd } from './checks/units.ts';
import { Files } from './files.ts';
import { checkSettings, monitorSettings, thresholdNames } from './settings.ts';
import { thinned } from './thin.ts';
import { quantity, span } from './words.ts';

describe('settings', () => {
  test('nothing said is everything watched', () => {
    expect(monitorSettings.parse({})).toMatchObject({
      intervals: { system: 10, wireguard: 30 },
      history: { save: 600 },
      checks: [],
      hints: true,
    });
  });

  test.each([
    { intervals: { system: 1 } },
    { thresholds: { heat: 'off' } },
    { thresholds: { memory: 90 } },
    { targets: [{ host: 'example.org' }] },
    { checks: [{ type: 'ping', name: 'x' }] },
    { checks: [{ type: 'http', name: 'x', url: 'ftp://x/' }] },
    { checks: [{ type: 'http', name: 'x', url: 'https://ann:secret@x/' }] },
    { checks: [{ type: 'http', name: 'x', url: 'https://x/', status: [99] }] },
    { checks: [{ type: 'tcp', name: 'X y', port: 1 }] },
    { checks: [{ type: 'unit', unit: '../x.service' }] },
    { checks: [{ type: 'tcp', name: 'x', port: 1, restart: 'ssh.service; reboot' }] },
    { checks: [1, 2].map(() => ({ type: 'tcp', name: 'x', port: 1 })) },
    { check: [] },
  ])('refuses %j', (settings) => {
    expect(monitorSettings.safeParse(settings).success).toBe(false);
  });
});

describe('docs/monitoring.md', () => {
  const docs = readFile(join(project, 'docs/monitoring.md'), 'utf8');

  test('has every limit and every kind of check', async () => {
    const text = await docs;
    for (const name of thresholdNames) expect(text).toContain(`\`${name}\``);
    for (const { shape } of checkSettings.options)
      expect(text).toContain(`{ type: ${shape.type.value},`);
  });

  test('shows settings that are right', async () => {
    const [, example = ''] = /```yaml\n(monitor:[\s\S]*?)```/.exec(await docs) ?? [];
    expect(monitorSettings.parse(parse(example).monitor).checks).toHaveLength(5);
  });
});

describe('checks', () => {
  const files = new Files('/nonexistent');
  const all = (settings: unknown) =>
    allChecks({
      root: '/nonexistent',
      files,
      image: {
        limits: { temperature: 80, memory: 90, disk: 90, wear: 80 },
        ports: [
          { name: 'ssh', port: 22, protocol: 'tcp' },
          { name: 'dns', port: 53, protocol: 'udp' },
          { name: 'dns', port: 53, protocol: 'tcp' },
        ],
      },
      settings: monitorSettings.parse(settings),
      systemd: new Systemd(),
      uplink: new Uplink(),
      clock: new Clock(files),
      now: () => 0,
    });

  test('of the image: services, their ports, and the way out link by link', () => {
    const checks = all({});
    const ids = checks.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const needs = new Map(checks.map((check) => [check.id, check.needs]));
    expect(needs.get('port:ssh/tcp')).toEqual(['unit:ssh.service']);
    expect(needs.get('route')).toEqual([]);
    expect(needs.get('router')).toEqual(['route']);
    expect(needs.get('uplink')).toEqual(['route', 'router']);
    expect(needs.get('dns')).toEqual(['uplink', 'unit:systemd-resolved.service']);
    for (const id of ['ddns', 'clock']) expect(needs.get(id)).toEqual(['uplink', 'dns']);
    // Nothing needs what there is not.
    for (const list of needs.values()) for (const need of list) expect(ids).toContain(need);
  });

  test('of the owner need what their server is reached by, or what they say', () => {
    const checks = all({
      checks: [
        { type: 'tcp', name: 'here', port: 80 },
        { type: 'tcp', name: 'lan', host: '192.168.1.5', port: 80 },
        { type: 'tls', name: 'net', host: '203.0.113.5' },
        { type: 'http', name: 'name', url: 'https://example.org/' },
        { type: 'http', name: 'local', url: 'http://nas.lan/' },
        { type: 'http', name: 'six', url: 'http://[fd00::1]/' },
        { type: 'command', name: 'own', program: 'mine', needs: ['tcp:here', 'nothing'] },
      ],
    });
    const needs = (id: string) => checks.find((check) => check.id === id)?.needs;
    expect(needs('tcp:here')).toEqual([]);
    expect(needs('tcp:lan')).toEqual([]);
    expect(needs('tls:net')).toEqual(['uplink']);
    expect(needs('http:name')).toEqual(['uplink', 'dns']);
    expect(needs('http:local')).toEqual(['dns']);
    expect(needs('http:six')).toEqual([]);
    expect(needs('command:own')).toEqual(['tcp:here']);
  });

  test('that are ignored are not made, and explain nothing', () => {
    const checks = all({ ignore: ['unit:fail2ban.service', 'uplink', 'port:dns/udp'] });
    const ids = checks.map(({ id }) => id);
    expect(ids).not.toContain('unit:fail2ban.service');
    expect(ids).not.toContain('uplink');
    expect(ids).toContain('port:dns/tcp');
    expect(checks.find(({ id }) => id === 'dns')?.needs).toEqual(['unit:systemd-resolved.service']);
  });

  test("of a unit of one's own replace the image's", () => {
    const checks = all({
      checks: [
        { type: 'unit', unit: 'ssh.service', runs: false },
        { type: 'unit', unit: 'nginx.service' },
      ],
    });
    expect(checks.filter(({ id }) => id === 'unit:ssh.service')).toHaveLength(1);
    expect(checks.find(({ id }) => id === 'unit:nginx.service')?.title).toBe('nginx');
  });
});

test('names of series are read as they are written, whatever the label', () => {
  for (const label of ['eth0', 'a{b},c"d', 'x y', 'ü', '{}'.repeat(60)]) {
    const name = seriesName({ measure: 'vpn.sent', label });
    expect(name).not.toContain(',');
    expect(parseSeriesName(name)?.measure).toBe('vpn.sent');
    expect(seriesName({ measure: 'vpn.sent', label: parseSeriesName(name)?.label ?? '' })).toBe(
      name,
    );
  }
  for (const name of ['nothing.here', 'cpu.used{', 'constructor', '', 'cpu.used{}'])
    expect(parseSeriesName(name)).toBeUndefined();
  expect(titleOf('network.sent{eth0}')).toBe('Sent (eth0)');
});

test('no two measures have one name in /metrics', () => {
  const names = (Object.keys(catalogue) as Measure[]).flatMap((measure) => {
    const { metric, counter } = catalogue[measure];
    return counter ? [metric, `${counter}_total`] : [metric];
  });
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[a-z][a-z0-9_]*$/);
});

test('a long history is thinned by averages, without holes where something was measured', () => {
  const history = { start: 0, step: 10, values: [1, 3, null, 5, null, null, 7] };
  expect(thinned(history, 100)).toBe(history);
  expect(thinned(history, 4)).toEqual({ start: 0, step: 20, values: [2, 5, null, 7] });
  expect(thinned({ start: 0, step: 10, values: Array(2880).fill(1) }, 360).values).toHaveLength(
    360,
  );
});

test('numbers are for people', () => {
  expect(quantity(3_600_000, 'By/s')).toBe('3.6 MB/s');
  expect(quantity(0.0123, 's')).toBe('12.3 ms');
  expect(quantity(82, 'Cel')).toBe('82 °C');
  expect(quantity(93.333, '%')).toBe('93.3 %');
  expect(span(90)).toBe('90 seconds');
  expect(span(1)).toBe('1 second');
  expect(span(7200)).toBe('2 hours');
  expect(span(5 * 86_400 + 40_000)).toBe('5 days');
});
