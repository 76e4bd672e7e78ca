import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { median } from '../bench/measure.ts';
import { bootSeconds, ownerFile } from '../qemu/harness-facts.ts';
import { makeSshKey } from '../qemu/ssh.ts';
import { startVm } from '../qemu/vm.ts';
import { recordFigure } from './figures.ts';
import { lab } from './harness.ts';

const { ssh } = lab();
// The login on the serial line hangs it up (TTYVHangup=, systemd.exec(5)) while systemd writes to it.
const showTargets = 'systemd.show_status=1 systemd.mask=serial-getty@ttyAMA0.service';
const multiUser = /Reached target .*multi-user\.target/;

/** Seconds from power to multi-user.target of a card that has had its first boot. */
async function secondBoot(image: string, bootFiles: Record<string, string>): Promise<number> {
  const first = await startVm({ image, diskSize: '4G', bootFiles, kernelArguments: showTargets });
  let last = first;
  try {
    await first.waitForConsole(multiUser, bootSeconds);
    await first.powerCut();
    const begun = performance.now();
    last = await startVm({ image, reuse: first.directory, kernelArguments: showTargets });
    await last.waitForConsole(multiUser, bootSeconds);
    return (performance.now() - begun) / 1000;
  } finally {
    await last.stop();
  }
}

test('the gateway starts in at most 1.3 times the time of the bare base', {
  timeout: 12 * bootSeconds * 1000,
}, async () => {
  const key = await makeSshKey();
  try {
    const pairs: { bare: number; gateway: number }[] = [];
    // One after the other, so that what else this machine does meets both.
    for (let round = 0; round < 3; round++)
      pairs.push({
        bare: await secondBoot(resolve('output/bare/bare.img'), {}),
        gateway: await secondBoot(
          resolve('output/pi-gateway/pi-gateway.img'),
          ownerFile(key.publicKey),
        ),
      });
    const ratio = median(pairs.map(({ bare, gateway }) => gateway / bare));
    await recordFigure('boot', { unit: 's', pairs, ratio });
    expect(ratio).toBeLessThanOrEqual(1.3);
  } finally {
    await key.remove();
  }
});

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
