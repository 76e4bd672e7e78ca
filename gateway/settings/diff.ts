import { isPlainObject, type Path, secretPaths } from './secret-paths.ts';
import { redactedText } from './secrets.ts';
import type { SettingsChange } from './view.ts';

const hidden = '(secret)';

/** What differs between two settings as they are written, by dotted key and without secrets. */
export function changesOf(before: unknown, after: unknown): SettingsChange[] {
  const secrets = new Set([...secretPaths(before), ...secretPaths(after)].map((p) => p.join('.')));
  const changes: SettingsChange[] = [];
  const compare = (old: unknown, now: unknown, path: Path): void => {
    if (isPlainObject(old ?? {}) && isPlainObject(now ?? {}) && (old ?? now) !== undefined) {
      const [a, b] = [Object(old), Object(now)] as [object, object];
      for (const key of new Set([...Object.keys(a), ...Object.keys(b)]))
        compare(a[key as keyof object], b[key as keyof object], [...path, key]);
      return;
    }
    if (Array.isArray(old ?? []) && Array.isArray(now ?? []) && (old ?? now) !== undefined) {
      const [a, b] = [(old ?? []) as unknown[], (now ?? []) as unknown[]];
      for (let i = 0; i < Math.max(a.length, b.length); i += 1) compare(a[i], b[i], [...path, i]);
      return;
    }
    if (JSON.stringify(old) === JSON.stringify(now)) return;
    const key = path.join('.');
    const shown = (value: unknown) => (secrets.has(key) ? hidden : value);
    if (old === undefined)
      changes.push({ key, kind: 'added', before: undefined, after: shown(now) });
    else if (now === undefined)
      changes.push({ key, kind: 'removed', before: shown(old), after: undefined });
    else changes.push({ key, kind: 'changed', before: shown(old), after: shown(now) });
  };
  compare(before ?? {}, after ?? {}, []);
  return changes;
}

/** Top-level keys of changes, each once. */
export function areasOf(changes: readonly SettingsChange[]): string[] {
  return [...new Set(changes.map(({ key }) => key.split('.')[0] ?? key))];
}

/** Unified diff of two texts of settings, without their secrets; empty if they are the same. */
export function textDiff(before: string, after: string): string {
  return unified(redactedText(before).split('\n'), redactedText(after, before).split('\n'));
}

type Line = { mark: ' ' | '-' | '+'; text: string };

/** Lines around a change that are shown with it, as diff -u does. */
const around = 3;
/** Above so many pairs of lines the whole middle is shown as replaced: no node of a Pi should think for long. */
const most = 1_000_000;

function unified(before: readonly string[], after: readonly string[]): string {
  const lines = compareLines(before, after);
  const near = lines.map((_, index) =>
    lines.slice(Math.max(0, index - around), index + around + 1).some((line) => line.mark !== ' '),
  );
  const out: string[] = [];
  let [a, b] = [1, 1];
  for (let i = 0; i < lines.length; ) {
    if (!near[i]) {
      a += 1;
      b += 1;
      i += 1;
      continue;
    }
    let end = i;
    while (end < lines.length && near[end]) end += 1;
    const hunk = lines.slice(i, end);
    const olds = hunk.filter((line) => line.mark !== '+').length;
    const news = hunk.filter((line) => line.mark !== '-').length;
    out.push(`@@ -${a},${olds} +${b},${news} @@`, ...hunk.map((line) => line.mark + line.text));
    a += olds;
    b += news;
    i = end;
  }
  return out.length === 0 ? '' : ['--- in force', '+++ new', ...out, ''].join('\n');
}

/** By the longest common subsequence of what differs between common ends. */
function compareLines(before: readonly string[], after: readonly string[]): Line[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  while (
    tail < before.length - head &&
    tail < after.length - head &&
    before[before.length - 1 - tail] === after[after.length - 1 - tail]
  )
    tail += 1;
  const same = (text: string): Line => ({ mark: ' ', text });
  return [
    ...before.slice(0, head).map(same),
    ...middle(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...before.slice(before.length - tail).map(same),
  ];
}

function middle(a: readonly string[], b: readonly string[]): Line[] {
  const removed = (text: string): Line => ({ mark: '-', text });
  const added = (text: string): Line => ({ mark: '+', text });
  if (a.length * b.length > most) return [...a.map(removed), ...b.map(added)];
  // lengths[i * width + j]: of the longest common subsequence of a from i and b from j.
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  const length = (i: number, j: number) => lengths[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      lengths[i * width + j] =
        a[i] === b[j] ? length(i + 1, j + 1) + 1 : Math.max(length(i + 1, j), length(i, j + 1));
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push({ mark: ' ', text: a[i] ?? '' });
      i += 1;
      j += 1;
    } else if (i < a.length && (j >= b.length || length(i + 1, j) >= length(i, j + 1))) {
      lines.push(removed(a[i] ?? ''));
      i += 1;
    } else {
      lines.push(added(b[j] ?? ''));
      j += 1;
    }
  }
  return lines;
}
