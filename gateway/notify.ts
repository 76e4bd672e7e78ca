import { execFile } from 'node:child_process';

/** What systemd is told: sd_notify(3). */
export type Notifier = {
  ready(): Promise<void>;
  stopping(): Promise<void>;
  /** No more signs of life. */
  end(): void;
};

/**
 * Tells systemd that the service is ready and, from then on, that it lives, in a third of the time that
 * its WatchdogSec= allows. By systemd-notify(1), a few milliseconds once a minute: node has no datagram
 * sockets of AF_UNIX, and an add-on in C for one line of text would be compiled for each machine. The unit
 * needs NotifyAccess=all, as it is another process that says it. Does nothing where no systemd listens.
 */
export function systemdNotifier(
  env: Readonly<Record<string, string | undefined>>,
  say: (text: string) => void,
): Notifier {
  const { NOTIFY_SOCKET: socket } = env;
  // In microseconds; systemd.service(5), WatchdogSec=.
  const patience = Number(env.WATCHDOG_USEC ?? 0) / 1000;
  let timer: NodeJS.Timeout | undefined;
  const tell = (word: string) =>
    new Promise<void>((resolve) => {
      if (socket === undefined) return resolve();
      const environment = { PATH: '/usr/bin:/bin', NOTIFY_SOCKET: socket };
      execFile('systemd-notify', [word], { env: environment, timeout: 10_000 }, (error) => {
        if (error) say(`systemd could not be told ${word}: ${error.message.trim()}`);
        resolve();
      });
    });
  return {
    ready: async () => {
      await tell('READY=1');
      if (patience > 0) timer = setInterval(() => void tell('WATCHDOG=1'), patience / 3).unref();
    },
    stopping: () => tell('STOPPING=1'),
    end: () => clearInterval(timer),
  };
}
