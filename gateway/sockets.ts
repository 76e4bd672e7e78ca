/** A listening socket that systemd has opened: systemd.socket(5). */
export type InheritedSocket = { fd: number; name: string };

/** The first of them: sd_listen_fds(3), SD_LISTEN_FDS_START. */
const firstFd = 3;

/**
 * The sockets that systemd gives to this process, with their names (FileDescriptorName=); none when the
 * variables are for another process.
 */
export function inheritedSockets(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): InheritedSocket[] {
  const count = Number(env.LISTEN_FDS ?? 0);
  if (env.LISTEN_PID !== String(pid) || !Number.isInteger(count)) return [];
  const names = (env.LISTEN_FDNAMES ?? '').split(':');
  return Array.from({ length: count }, (_, i) => ({
    fd: firstFd + i,
    name: names[i] ?? 'unknown',
  }));
}
