import type { History } from './monitor.ts';

/** The same history with at most so many values: each the average of those that it stands for. */
export function thinned(history: History, points: number): History {
  const size = Math.ceil(history.values.length / points);
  if (size <= 1) return history;
  const values: (number | null)[] = [];
  for (let from = 0; from < history.values.length; from += size)
    values.push(average(history.values.slice(from, from + size)));
  return { start: history.start, step: history.step * size, values };
}

function average(values: readonly (number | null)[]): number | null {
  const measured = values.filter((value) => value !== null);
  if (measured.length === 0) return null;
  return measured.reduce((sum, value) => sum + value, 0) / measured.length;
}
