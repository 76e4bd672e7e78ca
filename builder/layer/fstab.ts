/**
 * FAT has no owners: root alone sees the boot partition, and nothing on it runs. A card that is slow to
 * show it, or has lost it, still starts (nofail, systemd.mount(5)): emergency mode wants a password, which
 * nobody has.
 */
export const bootMountOptions =
  'defaults,noatime,nodev,nosuid,noexec,umask=0077,nofail,x-systemd.device-timeout=5min';

/** systemd mounts it without noexec (CIS 1.1.2.2.4); systemd-remount-fs(8) adds what fstab says. */
export const sharedMemoryMount =
  'tmpfs                 /dev/shm        tmpfs   rw,nodev,nosuid,noexec                     0 0';

/** The kernel mounts it without noexec; nothing runs from there: the same. */
export const deviceMount =
  'devtmpfs              /dev            devtmpfs rw,nosuid,noexec                           0 0';

/** An image base's fstab with the mount options that the Debian base gets; what is there stays. */
export function hardenedFstab(text: string): string {
  const lines = text.split('\n').map((line) => {
    const [source, target, type, options, ...rest] = line.trim().split(/\s+/);
    if (
      !source ||
      source.startsWith('#') ||
      !/^\/boot(\/firmware)?$/.test(target ?? '') ||
      type !== 'vfat'
    )
      return line;
    const wanted = bootMountOptions.split(',');
    const names = new Set(wanted.map((option) => option.split('=')[0]));
    const others = (options ?? '').split(',').filter((option) => !names.has(option.split('=')[0]));
    return [source, target, type, [...wanted, ...others].join(','), ...rest].join('  ');
  });
  const missing = [sharedMemoryMount, deviceMount].filter((mount) => {
    const [, target] = mount.split(/\s+/);
    return !lines.some((line) => line.split(/\s+/)[1] === target);
  });
  if (missing.length === 0) return lines.join('\n');
  return `${lines.join('\n').trimEnd()}\n${missing.join('\n')}\n`;
}
