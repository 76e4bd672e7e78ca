import type { Condition } from '../alerts/condition.ts';
import { type Sample, seriesName, titleOf } from './catalogue.ts';
import type { Hint } from './hints.ts';
import type { Check } from './monitor.ts';
import type { Keeper } from './restarts.ts';
import { span } from './words.ts';

/** Checks as conditions: each is told when it has failed or warns, unless what it needs explains it. */
export function checkConditions(checks: readonly Check[], keeper: Keeper): Condition[] {
  return (
    checks
      // What cannot be told now is as it was: nobody hears of an end that nobody has seen.
      .filter(({ health }) => health !== 'unknown')
      .map((check) => ({
        source: `check:${check.id}`,
        active: check.health !== 'ok',
        severity: check.health === 'failed' ? 'critical' : 'warning',
        text: `${check.title}: ${check.detail}${keeper.note(check.id)}`,
        needs: check.needs.map((id) => `check:${id}`),
      }))
  );
}

export function hintConditions(hints: readonly Hint[]): Condition[] {
  return hints.map(({ series, text }) => ({
    source: `unusual:${series}`,
    active: text !== '',
    severity: 'info',
    text: text || `${titleOf(series)}: as usual again`,
    needs: [],
  }));
}

/** A file system that will be full soon, and one that takes no writes any more. */
export function diskConditions(samples: readonly Sample[], forecastDays: number): Condition[] {
  return samples.flatMap((sample): Condition[] => {
    const { measure, label = '', value } = sample;
    if (measure === 'disk.read_only' && value !== undefined)
      return [
        {
          source: `threshold:read_only{${label}}`,
          active: value === 1,
          severity: 'critical',
          text:
            value === 1
              ? `The file system of ${label} takes no writes any more: the card may be at its end. Save what you need, then look at: journalctl -k`
              : `The file system of ${label} takes writes`,
          needs: [],
        },
      ];
    if (measure !== 'disk.used' || value === undefined || forecastDays === 0) return [];
    const full = samples.find(
      (one) => one.measure === 'disk.full_in' && one.label === label,
    )?.value;
    const active = full !== undefined && full <= forecastDays * 86_400;
    return [
      {
        source: `forecast:${seriesName(sample)}`,
        active,
        severity: 'warning',
        text: active
          ? `The file system of ${label} is full to ${Math.round(value)} % and, if it grows as in the last week, full in ${span(full)}`
          : `The file system of ${label} will not be full soon`,
        needs: [],
      },
    ];
  });
}
