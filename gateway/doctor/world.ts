import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { request } from 'node:http';
import { networkInterfaces } from 'node:os';
import { deviceSystem } from '../../firstboot/system.ts';
import type { World } from './examination.ts';

/** RFC 6886, 3.2: the port of a router, the request for its address outside, and the reply's length. */
const natPmpPort = 5351;
const externalAddressRequest = Buffer.from([0, 0]);
const replyLength = 12;
/** RFC 6886, 3.1: 250 ms, doubled each time; three times are enough for a router that is next door. */
const waits = [250, 500, 1000];

/** Milliseconds until the daemon must have answered; on a small Pi it may be busy. */
const patience = 10_000;

export function realWorld(): World {
  return {
    system: deviceSystem((text) => process.stderr.write(`${text}\n`)),
    interfaces: networkInterfaces(),
    lookup: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
    get: (socketPath, path) =>
      new Promise((resolve, reject) => {
        const sent = request({ socketPath, path, timeout: patience }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        });
        sent.on('timeout', () => sent.destroy(new Error(`no answer within ${patience / 1000} s`)));
        sent.on('error', reject);
        sent.end();
      }),
    outside: (router) => askNatPmp(router),
    now: Date.now,
  };
}

/** @param port tests have a router of their own. */
export function askNatPmp(router: string, port = natPmpPort): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    let timer: NodeJS.Timeout | undefined;
    const done = (address: string | undefined) => {
      clearTimeout(timer);
      socket.close();
      resolve(address);
    };
    // A refusal is an answer, too: the router has no NAT-PMP.
    socket.on('error', () => done(undefined));
    socket.on('message', (reply) => done(parseNatPmp(reply)));
    // Connected, so that the kernel drops what comes from anybody else.
    socket.connect(port, router, () => {
      const [...left] = waits;
      const send = () => {
        const wait = left.shift();
        if (wait === undefined) return done(undefined);
        socket.send(externalAddressRequest);
        timer = setTimeout(send, wait);
      };
      send();
    });
  });
}

/** Version, operation 128, result 0, seconds since its start, address. */
function parseNatPmp(reply: Buffer): string | undefined {
  if (reply.length < replyLength || reply[0] !== 0 || reply[1] !== 128) return undefined;
  if (reply.readUInt16BE(2) !== 0) return undefined;
  const address = [...reply.subarray(8, replyLength)].join('.');
  return address === '0.0.0.0' ? undefined : address;
}
