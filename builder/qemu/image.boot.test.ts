import { stat } from 'node:fs/promises';
import { describe, expect, inject, test } from 'vitest';
import { sha256 } from '../testing/build.ts';
import { bootDevice, device } from './harness.ts';
import { startVm } from './vm.ts';

/** What must be a device's own; read over SSH. */
const secrets =
  'cat /etc/machine-id; sudo cat /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_rsa_key.pub /etc/wireguard/server.pub';

describe('the image, flashed and booted', () => {
  test('reaches multi-user.target with no failed unit', async () => {
    expect((await device().ssh('systemctl is-system-running --wait')).trim()).toBe('running');
    expect((await device().ssh('systemctl is-active multi-user.target')).trim()).toBe('active');
    expect((await device().ssh('systemctl --failed --plain --no-legend')).trim()).toBe('');
  });

  test("has grown its root file system to the disk's size, and the disk identifier is the image's", async () => {
    // 4 GiB card, less the boot partition and what ext4 needs for itself.
    expect(Number(await device().ssh('df --output=size -B1M / | tail -n 1'))).toBeGreaterThan(3400);
    const root = (
      await device().ssh(
        'findmnt -no SOURCE /; grep -o "root=[^ ]*" /proc/cmdline; sudo blkid -s PARTUUID -o value /dev/vda2',
      )
    ).split('\n');
    expect(root[1]).toBe(`root=PARTUUID=${root[2]}`);
  });

  test('says on the boot partition that first boot is complete, and does not run it again', async () => {
    expect(await device().ssh('sudo cat /boot/firmware/gateway-status.txt')).toContain(
      'first boot is complete',
    );
    expect(
      await device().ssh('sudo test -e /var/lib/pi-gateway/firstboot/done && echo yes'),
    ).toContain('yes');
  });

  test('has keys and a machine-id that no other boot of the same image has', async () => {
    const image = inject('image');
    const before = await stat(image);
    const digest = await sha256(image);
    const other = await bootDevice();
    const mine = (await device().ssh(secrets)).trim().split('\n');
    const theirs = (await other.device.ssh(secrets)).trim().split('\n');
    expect(mine).toHaveLength(4);
    expect(theirs).toHaveLength(4);
    for (const [index, value] of mine.entries()) expect(theirs[index]).not.toBe(value);
    const after = await stat(image);
    expect([after.mtimeMs, after.size]).toEqual([before.mtimeMs, before.size]);
    expect(await sha256(image)).toBe(digest);
    await other.vm.stop();
  });

  test('reaches the login prompt on a Raspberry Pi 3 (QEMU raspi3b)', async () => {
    const vm = await startVm({ image: inject('image'), machine: 'raspi3b', diskSize: '4G' });
    try {
      await vm.waitForConsole(/login:/, 540);
    } finally {
      await vm.stop();
    }
  });
});
