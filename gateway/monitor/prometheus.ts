import { type Entry, entryOf, type Measure, type Sample } from './catalogue.ts';
import type { Alert, Check } from './monitor.ts';

export type Exposed = {
  samples: readonly Sample[];
  checks: readonly Check[];
  alerts: readonly Alert[];
  image: string;
};

/**
 * What is known now, in Prometheus's exposition format 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats): a family's lines stand together, below its HELP and TYPE.
 */
export function exposition({ samples, checks, alerts, image }: Exposed): string {
  const families: string[] = [
    family('image_info', 'gauge', 'The image that this device runs.', [[{ name: image }, 1]]),
  ];
  for (const [measure, group] of grouped(samples)) {
    const entry = entryOf(measure);
    const rows = (value: (sample: Sample) => number | undefined): Row[] =>
      group.flatMap((sample) => {
        const number = value(sample);
        return number === undefined ? [] : [[labelsOf(entry, sample), number]];
      });
    const help = `${entry.title}.`;
    families.push(
      family(
        entry.metric,
        'gauge',
        help,
        rows(({ value }) => value),
      ),
    );
    if (entry.counter !== undefined)
      families.push(
        family(
          `${entry.counter}_total`,
          'counter',
          `${help} Since boot.`,
          rows(({ total }) => total),
        ),
      );
  }
  families.push(
    family(
      'check_ok',
      'gauge',
      '1 if the check is well, 0 if it has failed or warns; nothing if it is not known.',
      checks
        .filter(({ health }) => health !== 'unknown')
        .map(({ id, health }): Row => [{ check: id }, health === 'ok' ? 1 : 0]),
    ),
    family(
      'alert_firing',
      'gauge',
      'Alerts that have fired and are not resolved.',
      alerts
        .filter(({ resolvedAt }) => resolvedAt === undefined)
        .map(({ source, severity }): Row => [{ alert: source, severity }, 1]),
    ),
  );
  return families.join('');
}

type Row = readonly [labels: Record<string, string>, value: number];

function grouped(samples: readonly Sample[]): Map<Measure, Sample[]> {
  const groups = new Map<Measure, Sample[]>();
  for (const sample of samples) {
    const group = groups.get(sample.measure);
    if (group) group.push(sample);
    else groups.set(sample.measure, [sample]);
  }
  return groups;
}

const labelsOf = ({ label }: Entry, sample: Sample): Record<string, string> =>
  label === undefined || sample.label === undefined ? {} : { [label]: sample.label };

function family(
  name: string,
  type: 'gauge' | 'counter',
  help: string,
  rows: readonly Row[],
): string {
  const lines = new Map<string, number>();
  // Two clients of one name: the same line twice would be refused as a whole.
  for (const [labels, value] of rows) lines.set(`pi_gateway_${name}${labelText(labels)}`, value);
  if (lines.size === 0) return '';
  return [
    `# HELP pi_gateway_${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
    `# TYPE pi_gateway_${name} ${type}`,
    ...[...lines].map(([line, value]) => `${line} ${value}`),
    '',
  ].join('\n');
}

function labelText(labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length > 0 ? `{${pairs.join(',')}}` : '';
}

const escaped = (value: string) =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
