import { expect, test } from 'vitest';
import { hardenedFstab } from './fstab.ts';

test("an image's fstab: nothing runs from the boot partition, shared memory or /dev, all else stays", () => {
  const before = [
    'proc            /proc           proc    defaults          0       0',
    'PARTUUID=1-01  /boot/firmware  vfat    defaults,uid=0          0       2',
    'PARTUUID=1-02  /               ext4    defaults,noatime  0       1',
    '# a swapfile is not a swap partition',
    '',
  ].join('\n');
  const after = hardenedFstab(before);
  expect(after.split('\n')).toEqual([
    before.split('\n')[0],
    'PARTUUID=1-01  /boot/firmware  vfat  defaults,noatime,nodev,nosuid,noexec,umask=0077,nofail,x-systemd.device-timeout=5min,uid=0  0  2',
    ...before.split('\n').slice(2, 4),
    expect.stringMatching(/^tmpfs +\/dev\/shm +tmpfs +rw,nodev,nosuid,noexec +0 0$/),
    expect.stringMatching(/^devtmpfs +\/dev +devtmpfs +rw,nosuid,noexec +0 0$/),
    '',
  ]);
  expect(hardenedFstab(after)).toBe(after);
});
