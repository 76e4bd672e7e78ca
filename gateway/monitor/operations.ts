import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { thinned } from './thin.ts';

const seriesName = z
  .string()
  .describe('`area.what`, with a label where there are several: network.received{eth0}');

const unit = z.string().describe('%, By, By/s, Cel, s, 1/s or 1');

/** Seconds of the longest history: 30 days. */
export const longestSpan = 30 * 86_400;

export const metricsCurrent = defineOperation({
  id: 'metricsCurrent',
  method: 'get',
  path: '/metrics/current',
  area: 'metrics',
  summary: 'The newest value of everything that is measured',
  role: 'viewer',
  response: z.object({
    time: z.iso.datetime(),
    series: z.array(
      z.object({
        name: seriesName,
        unit,
        value: z.number().nullable().describe('null: not measured yet, or it cannot be'),
      }),
    ),
  }),
  run: async ({ monitor }) => ({
    time: new Date().toISOString(),
    series: monitor.series().map(({ name, unit, value }) => ({ name, unit, value: value ?? null })),
  }),
});

export const metricsHistory = defineOperation({
  id: 'metricsHistory',
  method: 'get',
  path: '/metrics/history',
  area: 'metrics',
  summary: 'What was measured: up to 30 days back, coarser the longer it is ago',
  role: 'viewer',
  query: z.strictObject({
    series: z
      .string()
      .min(1)
      .max(2000)
      .describe('Names with commas between them, at most 32: cpu.used,memory.used'),
    span: z.coerce
      .number()
      .int()
      .min(60)
      .max(longestSpan)
      .default(3600)
      .describe('Seconds back from now'),
    points: z.coerce
      .number()
      .int()
      .min(2)
      .max(2880)
      .default(360)
      .describe('At most so many values of each; what is finer is averaged'),
  }),
  response: z.object({
    series: z
      .array(
        z.object({
          name: seriesName,
          unit,
          start: z.iso.datetime().describe('Of the first value'),
          step: z.number().describe('Seconds from one value to the next'),
          values: z.array(z.number().nullable()).describe('null: nothing was measured'),
        }),
      )
      .describe('Without those that there are not'),
  }),
  run: async ({ monitor }, { query }) => {
    const units = new Map(monitor.series().map(({ name, unit }) => [name, unit]));
    const names = [...new Set(query.series.split(','))].slice(0, 32);
    return {
      series: names.flatMap((name) => {
        const history = monitor.history(name, query.span);
        if (!history) return [];
        const { start, step, values } = thinned(history, query.points);
        return [
          {
            name,
            unit: units.get(name) ?? '1',
            start: new Date(start * 1000).toISOString(),
            step,
            values,
          },
        ];
      }),
    };
  },
});

export const monitorOperations = [metricsCurrent, metricsHistory] as const;
