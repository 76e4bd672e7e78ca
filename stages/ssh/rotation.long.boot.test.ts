import { expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { bootDevice } from '../../builder/qemu/harness.ts';

test('host keys rotate: the next ones are offered beside the old, then take over', async () => {
  // A device of its own: who else talks to the shared one would not know it again.
  const { device: own } = await bootDevice();
  const offered = async () =>
    (
      await run('ssh-keyscan', ['-t', 'ed25519', '-p', String(own.sshPort), own.host], {
        timeout: 120_000,
      })
    ).stdout.trim();
  const old = await offered();
  const begun = JSON.parse(
    await own.ssh('sudo pi-gateway ssh rotate-host-keys --overlap 1 --json'),
  ) as { keys: { state: string }[] };
  expect(begun.keys.filter(({ state }) => state === 'next')).toHaveLength(2);
  // Clients still meet the key that they know.
  expect(await offered()).toBe(old);
  expect(await own.ssh('sudo sshd -T')).toContain('ssh_host_ed25519_key_next');
  await own.ssh('sudo pi-gateway ssh finish-rotation --now');
  expect(await offered()).not.toBe(old);
});
