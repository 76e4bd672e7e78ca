import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { median } from '../bench/measure.ts';
import { recordFigure } from '../lab/figures.ts';
import { bootSeconds, ownerFile } from './harness-facts.ts';
import { makeSshKey } from './ssh.ts';
import { startVm } from './vm.ts';

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
