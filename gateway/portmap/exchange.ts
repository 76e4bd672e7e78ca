import { createSocket } from 'node:dgram';

/** A way to the router: nobody else is ever asked, and nobody else's answer is read. */
export type RouterPath = {
  /** Its address; of IPv6 a link-local one with its interface, `fe80::1%eth0`. */
  router: string;
  /** The address that the question comes from; undefined: whichever leads there. */
  own?: string;
  port: number;
};

/** RFC 6886, 3.1: 250 ms, doubled each time; RFC 6887 (8.1.1) is more patient, but the router is next door. */
const waits = [250, 500, 1000, 2000];

/**
 * Asks by UDP until `read` takes an answer. The socket is connected, so that the kernel drops what comes from any
 * other address or port.
 * @returns undefined if no answer came.
 */
export function ask<T>(
  path: RouterPath,
  message: Buffer,
  read: (answer: Buffer) => T | undefined,
  patience: readonly number[] = waits,
): Promise<T | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(path.router.includes(':') ? 'udp6' : 'udp4');
    let timer: NodeJS.Timeout | undefined;
    const done = (answer: T | undefined) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      // A late refusal is nobody's business any more.
      socket.on('error', () => undefined);
      socket.close();
      resolve(answer);
    };
    // A refusal (ICMP) is an answer, too: nothing listens there.
    socket.on('error', () => done(undefined));
    socket.on('message', (answer) => {
      const taken = read(answer);
      if (taken !== undefined) done(taken);
    });
    socket.bind(path.own === undefined ? {} : { address: path.own }, () =>
      socket.connect(path.port, path.router, () => {
        const [...left] = patience;
        const send = () => {
          const wait = left.shift();
          if (wait === undefined) return done(undefined);
          socket.send(message);
          timer = setTimeout(send, wait);
        };
        send();
      }),
    );
  });
}
