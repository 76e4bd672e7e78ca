import type { Files } from '../files.ts';
import { type CheckDefinition, failed, ok } from './check.ts';

export type WatchedPort = { name: string; port: number; protocol: 'tcp' | 'udp' };

/**
 * Whether anything listens, as the kernel says (proc_pid_net(5), net/tcp): a connection would leave a line in
 * sshd's log each time, and count as an attempt to log in.
 */
export function portCheck(
  files: Files,
  { name, port, protocol }: WatchedPort,
  needs: readonly string[],
  every: number,
  /** The port as it is now, where that may change. */
  now: () => number | undefined = () => undefined,
): CheckDefinition {
  const what = (at = port) => `${protocol.toUpperCase()} port ${at}`;
  return {
    id: `port:${name}/${protocol}`,
    title: `${what()} (${name})`,
    needs,
    every,
    confirm: 2,
    look: async () => {
      const at = now() ?? port;
      return listens(files, at, protocol)
        ? ok(`${what(at)} is open`)
        : failed(`Nothing listens on ${what(at)}`);
    },
  };
}

/** States of net/tcp_states.h: 0A is TCP_LISTEN; a UDP socket that takes from anybody is 07, TCP_CLOSE. */
const states = { tcp: '0A', udp: '07' } as const;

function listens(files: Files, port: number, protocol: 'tcp' | 'udp'): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return [protocol, `${protocol}6`].some((table) =>
    (files.text(`/proc/net/${table}`) ?? '').split('\n').some((line) => {
      const [, address, , state] = line.trim().split(/ +/, 4);
      return state === states[protocol] && address?.endsWith(local);
    }),
  );
}
