import { expect, test } from 'vitest';
import { recordFigure } from './figures.ts';
import { lab } from './harness.ts';

const { ssh } = lab();

/** Units that the bare base runs too. */
const ofTheBase =
  /^(init\.scope|systemd-.*|dbus\.service|getty@.*|serial-getty@.*|user@.*|user-.*|session-.*|wpa_supplicant\.service)$/;

test('what the gateway adds to the base takes at most 120 MB of memory when idle', async () => {
  // Pss (proc_pid_smaps_rollup(5)): shared pages are counted once, split among who shares them.
  const text = await ssh(
    `sudo sh -c 'for p in /proc/[0-9]*; do pss=$(sed -n "s/^Pss: *\\([0-9]*\\) kB/\\1/p" $p/smaps_rollup 2>/dev/null); [ -n "$pss" ] && echo "$pss $(sed "s/.*\\///" $p/cgroup)"; done; true'`,
    120,
  );
  const byUnit: Record<string, number> = {};
  for (const line of text.trim().split('\n')) {
    const [kilobytes = '', unit = ''] = line.split(' ');
    byUnit[unit] = (byUnit[unit] ?? 0) + Number(kilobytes) / 1024;
  }
  const added = Object.entries(byUnit).filter(
    ([unit]) => unit.endsWith('.service') && !ofTheBase.test(unit),
  );
  const sum = added.reduce((total, [, mebibytes]) => total + mebibytes, 0);
  await recordFigure('memory', { unit: 'MiB', sum, byUnit: Object.fromEntries(added) });
  expect(added.length).toBeGreaterThan(2);
  expect(sum).toBeLessThanOrEqual(120);
});

/** Waits until the device has done with its start: at most a tenth of its processor is busy for 10 s. */
async function untilIdle(): Promise<void> {
  const share = 'cat /proc/stat | head -n 1; sleep 10; cat /proc/stat | head -n 1';
  for (let tries = 0; tries < 40; tries++) {
    const [before = [], after = []] = (await ssh(share, 60))
      .trim()
      .split('\n')
      .map((line) => line.split(/\s+/).slice(1).map(Number));
    // proc_stat(5): the fourth and fifth columns are idle and waiting for disks.
    const spent = after.map((value, column) => value - (before[column] ?? 0));
    const all = spent.reduce((sum, value) => sum + value, 0);
    if ((spent[3] ?? 0) / all > 0.9) return;
  }
  throw new Error('the device is never idle');
}

test('the compliance report of an idle device takes ten seconds at most', async () => {
  await untilIdle();
  // On the device's own clock: the connection is not part of it.
  const seconds =
    Number(
      await ssh(
        'begun=$(date +%s%N); sudo pi-gateway compliance --json > /dev/null; echo $((($(date +%s%N) - begun) / 1000000))',
        120,
      ),
    ) / 1000;
  await recordFigure('compliance', { unit: 's', seconds });
  expect(seconds).toBeLessThanOrEqual(10);
});
