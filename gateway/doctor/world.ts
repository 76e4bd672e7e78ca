import { lookup } from 'node:dns/promises';
import { request } from 'node:http';
import { networkInterfaces } from 'node:os';
import { deviceSystem } from '../../firstboot/system.ts';
import { ask } from '../portmap/exchange.ts';
import { natPmpAddressRequest, readNatPmpAddress, routerPort } from '../portmap/packets.ts';
import type { World } from './examination.ts';

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
export function askNatPmp(router: string, port = routerPort): Promise<string | undefined> {
  return ask({ router, port }, natPmpAddressRequest, readNatPmpAddress, waits);
}
