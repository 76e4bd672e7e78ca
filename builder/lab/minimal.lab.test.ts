import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { run } from '../exec.ts';
import { bootSeconds } from '../qemu/harness-facts.ts';
import { startVm } from '../qemu/vm.ts';

test('the minimal image (ssh, firewall and what they need) boots: SSH answers, nothing else, no unit fails', {
  timeout: 2 * bootSeconds * 1000,
}, async () => {
  const closed = 9100;
  const vm = await startVm({
    image: resolve('output/minimal/minimal.img'),
    forwards: { 22: 0, [closed]: 0 },
    kernelArguments: 'systemd.show_status=1',
  });
  try {
    await vm.waitForConsole(/Reached target .*multi-user\.target/, bootSeconds);
    await vm.waitForConsole('login:', 60);
    // Without first boot the host keys are those that Debian makes.
    const keys = await run(
      'ssh-keyscan',
      ['-t', 'ed25519', '-p', String(vm.ports[22]), '127.0.0.1'],
      {
        timeout: 60_000,
      },
    );
    expect(keys.stdout).toMatch(/ssh-ed25519 AAAA/);
    // QEMU accepts the connection for its guest, so a packet that is dropped shows as silence.
    const silent = await run(
      'ssh-keyscan',
      ['-T', '5', '-p', String(vm.ports[closed]), '127.0.0.1'],
      {
        okCodes: [1],
        timeout: 60_000,
      },
    );
    expect(silent.stdout).toBe('');
    expect(await vm.consoleText()).not.toMatch(/\[\S*FAILED/);
  } finally {
    await vm.stop();
  }
});
