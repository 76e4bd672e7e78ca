import { mkdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bootSeconds, ownerFile } from '../qemu/harness-facts.ts';
import { makeSshKey } from '../qemu/ssh.ts';
import { startVm } from '../qemu/vm.ts';
import { lab } from './harness.ts';

const { ssh } = lab();
const figures: Record<string, unknown> = {};

afterAll(async () => {
  await mkdir(resolve('output/lab'), { recursive: true });
  await writeFile(resolve('output/lab/figures.json'), `${JSON.stringify(figures, null, 2)}\n`);
});

const showTargets = 'systemd.show_status=1';
const multiUser = /Reached target .*multi-user\.target/;

/** Seconds from power to multi-user.target of a card that has had its first boot. */
async function secondBoots(
  image: string,
  bootFiles: Record<string, string>,
  times: number,
): Promise<number[]> {
  const first = await startVm({ image, diskSize: '4G', bootFiles, kernelArguments: showTargets });
  const seconds: number[] = [];
  let last = first;
  try {
    await first.waitForConsole(/ login: /, bootSeconds);
    await first.waitForConsole(multiUser, bootSeconds);
    for (let n = 0; n < times; n++) {
      await last.powerCut();
      const begun = performance.now();
      last = await startVm({ image, reuse: first.directory, kernelArguments: showTargets });
      await last.waitForConsole(multiUser, bootSeconds);
      seconds.push((performance.now() - begun) / 1000);
    }
    return seconds;
  } finally {
    await last.stop();
  }
}

test('the gateway starts in at most 1.3 times the time of the bare base', {
  timeout: 6 * bootSeconds * 1000,
}, async () => {
  const key = await makeSshKey();
  try {
    const bare = await secondBoots(resolve('output/bare/bare.img'), {}, 2);
    const gateway = await secondBoots(
      resolve('output/pi-gateway/pi-gateway.img'),
      ownerFile(key.publicKey),
      2,
    );
    const ratio = Math.min(...gateway) / Math.min(...bare);
    figures.boot = { bare, gateway, ratio };
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
    `sudo sh -c 'for p in /proc/[0-9]*; do pss=$(sed -n "s/^Pss: *\\([0-9]*\\) kB/\\1/p" $p/smaps_rollup 2>/dev/null); [ -n "$pss" ] && echo "$pss $(sed "s/.*\\///" $p/cgroup)"; done'`,
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
  figures.memory = { mebibytes: sum, byUnit: Object.fromEntries(added) };
  expect(added.length).toBeGreaterThan(2);
  expect(sum).toBeLessThanOrEqual(120);
});
