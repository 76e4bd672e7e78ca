import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { eventKinds } from './engine.ts';
import { alertSettings } from './settings.ts';

const page = await readFile(new URL('../../docs/alerts.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text);

test('every example of docs/alerts.md is taken as it is', () => {
  expect(blocks.length).toBeGreaterThanOrEqual(6);
  for (const block of blocks) {
    // A further channel of the list that the page begins with.
    const whole = block.startsWith('alerts:') ? block : `alerts:\n  channels:\n${block}`;
    const { alerts } = parse(whole) as { alerts: unknown };
    expect(alertSettings.safeParse(alerts).error).toBeUndefined();
  }
});

test('docs/alerts.md has every event, and the usual value of every key that it names', () => {
  for (const kind of eventKinds) expect(page).toContain(`\`${kind}\``);
  const usual = alertSettings.parse({});
  for (const [words, key] of [
    [/within (\d+) s \(`group_seconds`\)/, 'group_seconds'],
    [/waits (\d+) s \(`settle_seconds`\)/, 'settle_seconds'],
    [/lasts for (\d+) s .*\(`outlive_seconds`\)/, 'outlive_seconds'],
    [/more than (\d+) times in an hour \(`flapping_count`\)/, 'flapping_count'],
    [/for (\d+) min \(`stable_minutes`\)/, 'stable_minutes'],
  ] as const)
    expect(Number(words.exec(page)?.[1])).toBe(usual[key]);
});
