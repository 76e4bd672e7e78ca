import { describe, expect, test } from 'vitest';
import { catalogue, type Measure, type Sample } from './catalogue.ts';
import type { Alert, Check } from './monitor.ts';
import { exposition } from './prometheus.ts';

type Family = { type: string; help: string; rows: Map<string, number> };

/**
 * A strict reader of the exposition format 0.0.4: what it does not take, Prometheus need not take either. Names
 * and labels by prometheus.io/docs/concepts/data_model, escapes and order by its "exposition formats".
 */
function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  let name = '';
  let help: string | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const [, keyword, of = '', rest = ''] =
      /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line) ?? [];
    if (keyword === 'HELP') {
      if (families.has(of)) throw new Error(`${of} begins twice`);
      if (/\\(?![\\n])/.test(rest)) throw new Error(`wrong escape in the help of ${of}`);
      name = of;
      help = rest;
      continue;
    }
    if (keyword === 'TYPE') {
      if (of !== name || help === undefined || families.has(of))
        throw new Error(`TYPE of ${of} out of place`);
      if (!/^(counter|gauge)$/.test(rest)) throw new Error(`${of} is a ${rest}`);
      if ((rest === 'counter') !== of.endsWith('_total')) throw new Error(`${of} is a ${rest}`);
      families.set(of, { type: rest, help, rows: new Map() });
      continue;
    }
    const [, metric = '', labels, value = ''] =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$/.exec(line) ?? [];
    const family = families.get(metric);
    if (!family || metric !== name) throw new Error(`a line of no family: ${line}`);
    if (!/^[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|Inf)$|^NaN$/.test(value))
      throw new Error(`no number: ${line}`);
    const key = JSON.stringify(labels === undefined ? [] : parseLabels(labels));
    if (family.rows.has(key)) throw new Error(`twice: ${line}`);
    family.rows.set(key, Number(value));
  }
  for (const [of, { rows }] of families)
    if (rows.size === 0) throw new Error(`${of} has no values`);
  return families;
}

function parseLabels(text: string): [string, string][] {
  const labels: [string, string][] = [];
  let rest = text.slice(1, -1);
  while (rest !== '') {
    const match = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/.exec(rest);
    const [all, label = '', value = ''] = match ?? [];
    if (all === undefined || label.startsWith('__')) throw new Error(`no labels: ${text}`);
    labels.push([
      label,
      value.replaceAll(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : escaped)),
    ]);
    rest = rest.slice(all.length);
  }
  return labels;
}

const nothing = { samples: [], checks: [], alerts: [], image: 'attic' };
const measures = Object.keys(catalogue) as Measure[];

describe('the reader of this test', () => {
  test.each([
    'pi_x 1',
    '# HELP a b\n# TYPE a gauge\n',
    '# TYPE a gauge\na 1\n',
    '# HELP a b\n# TYPE a gauge\na 1\na 1\n',
    '# HELP a b\n# TYPE a gauge\na{x="\n"} 1\n',
    '# HELP a b\n# TYPE a gauge\na{x="""} 1\n',
    '# HELP a b\n# TYPE a gauge\na{x="\\t"} 1\n',
    '# HELP a b\n# TYPE a gauge\na undefined\n',
    '# HELP a b\n# TYPE a counter\na 1\n',
    '# HELP a b\n# TYPE a gauge\na 1\n# HELP a b\n# TYPE a gauge\na 2\n',
  ])('refuses %j', (text) => {
    expect(() => parse(text)).toThrow();
  });
});

test('everything in the catalogue comes out in the format, each name once', () => {
  const samples: Sample[] = measures.flatMap((measure, index) => {
    const { label, counter } = catalogue[measure];
    const sample = { measure, value: index / 7, ...(counter ? { total: 1e15 + index } : {}) };
    return label ? ['a', 'b'].map((one) => ({ ...sample, label: one })) : [sample];
  });
  const families = parse(exposition({ ...nothing, samples }));
  for (const measure of measures) {
    const { metric, counter, label } = catalogue[measure];
    expect(families.get(`pi_gateway_${metric}`)?.rows.size, measure).toBe(label ? 2 : 1);
    if (counter) expect(families.get(`pi_gateway_${counter}_total`)?.type).toBe('counter');
  }
  expect(families.get('pi_gateway_image_info')?.rows.get('[["name","attic"]]')).toBe(1);
});

test('names that owners give come out unharmed, whatever is in them', () => {
  const hostile = [
    'plain',
    'with "quotes"',
    'back\\slash',
    'new\nline',
    'ü ✓ 日本',
    '}',
    'a,b="c"',
    '',
  ];
  const samples = hostile.map(
    (label, index): Sample => ({
      measure: 'vpn.received',
      label,
      value: index,
      total: index,
    }),
  );
  const rows = parse(exposition({ ...nothing, samples })).get(
    'pi_gateway_wireguard_received_bytes_total',
  )?.rows;
  expect([...(rows?.keys() ?? [])].map((key) => JSON.parse(key)[0][1])).toEqual(hostile);
});

test('what was not measured has no line, nor a head', () => {
  const samples: Sample[] = [
    { measure: 'cpu.used', value: undefined },
    { measure: 'network.sent', label: 'eth0', value: undefined, total: 5 },
  ];
  const families = parse(exposition({ ...nothing, samples }));
  expect([...families.keys()]).toEqual([
    'pi_gateway_image_info',
    'pi_gateway_network_sent_bytes_total',
  ]);
});

test('two clients of one name are one line: twice the same would be refused as a whole', () => {
  const samples: Sample[] = [1, 2].map((value) => ({ measure: 'vpn.sent', label: 'phone', value }));
  expect(() => parse(exposition({ ...nothing, samples }))).not.toThrow();
});

test('checks and alerts are there', () => {
  const check = (id: string, health: Check['health']): Check => ({
    id,
    title: id,
    health,
    detail: '',
    since: 0,
    needs: [],
  });
  const alert = (source: string, resolvedAt?: number): Alert => ({
    id: source,
    source,
    severity: 'critical',
    text: '',
    firedAt: 1,
    resolvedAt,
    suppressedBy: undefined,
  });
  const families = parse(
    exposition({
      ...nothing,
      checks: [
        check('unit:ssh.service', 'ok'),
        check('uplink', 'failed'),
        check('ddns', 'unknown'),
      ],
      alerts: [alert('threshold:memory'), alert('check:uplink', 5)],
    }),
  );
  expect([...(families.get('pi_gateway_check_ok')?.rows ?? [])]).toEqual([
    ['[["check","unit:ssh.service"]]', 1],
    ['[["check","uplink"]]', 0],
  ]);
  expect([...(families.get('pi_gateway_alert_firing')?.rows.keys() ?? [])]).toEqual([
    '[["alert","threshold:memory"],["severity","critical"]]',
  ]);
});
