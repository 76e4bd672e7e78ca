import { Resolver } from 'node:dns/promises';
import type { Sample } from '../catalogue.ts';
import type { Files } from '../files.ts';
import type { MonitorSettings } from '../settings.ts';
import { since, tryTcp } from './answers.ts';
import { type CheckDefinition, failed, ok, unknown, warning } from './check.ts';

/**
 * The way to the Internet, link by link, each needing the one before it: a line that is down is one alert.
 * By TCP and DNS alone: ICMP needs a privilege or a process for each attempt, and says less of what works.
 */

/** Attempts that the loss is counted over. */
const lossWindow = 20;

/** Milliseconds; TCP tries a second time after one (RFC 6298 §2). */
const targetTimeout = 3000;

/**
 * Milliseconds to wait for the router: the kernel asks three times, a second apart, for its hardware address
 * (arp(7), mcast_solicit), then says EHOSTUNREACH. A router that is there but drops what is sent to it says nothing.
 */
const gatewayTimeout = 4500;

export function routeCheck(files: Files, every: number): CheckDefinition {
  return {
    id: 'route',
    title: 'Way out',
    needs: [],
    every,
    confirm: 2,
    look: async () => {
      const routes = defaultRoutes(files);
      if (routes.length === 0)
        return failed(
          'There is no default route: is the cable in, has the router given an address?',
        );
      const devices = [...new Set(routes.map(({ device }) => device))];
      const down = devices.filter((device) => carrier(files, device) === 0);
      return down.length === devices.length
        ? failed(`No signal on ${down.join(', ')}: is the cable in?`)
        : ok(
            `By ${routes.map(({ device, gateway }) => (gateway ? `${gateway} on ${device}` : device)).join(', ')}`,
          );
    },
  };
}

export function gatewayCheck(files: Files, every: number): CheckDefinition {
  return {
    id: 'router',
    title: 'Router of the uplink',
    needs: ['route'],
    every,
    confirm: 2,
    look: async () => {
      const routes = defaultRoutes(files).filter(({ gateway }) => gateway !== '');
      // PPP has none: what is sent into it comes out at the provider.
      if (routes.length === 0) return unknown('The uplink has no router');
      const found = await Promise.all(
        routes.map(async ({ gateway, device }) => {
          const host = gateway.startsWith('fe80:') ? `${gateway}%${device}` : gateway;
          // Any port: a refusal is an answer, too.
          const attempt = await tryTcp(host, 53, gatewayTimeout);
          return {
            gateway,
            alive: attempt.alive || !/unreachable/.test(attempt.reason),
          };
        }),
      );
      const dead = found.filter(({ alive }) => !alive).map(({ gateway }) => gateway);
      if (dead.length === found.length) return failed(`${dead.join(', ')} cannot be reached`);
      return dead.length > 0
        ? warning(`${dead.join(', ')} cannot be reached; the others can`)
        : ok(`${found.map(({ gateway }) => gateway).join(', ')} is there`);
    },
  };
}

/** Whether any of the targets answers; how quickly, and how often not. */
export class Uplink {
  /** Of each target the last attempts: 1 answered, 0 not. */
  readonly #attempts = new Map<string, number[]>();

  check(settings: MonitorSettings): CheckDefinition {
    return {
      id: 'uplink',
      title: 'Internet',
      needs: ['route', 'router'],
      every: settings.intervals.network,
      confirm: 2,
      look: async () => {
        if (settings.targets.length === 0) return unknown('No targets are set (monitor.targets)');
        const found = await Promise.all(
          settings.targets.map(async ({ host, port }) => {
            const attempt = await tryTcp(host, port, targetTimeout);
            // Refused, so somebody was there to refuse.
            const alive = attempt.alive || /refused/.test(attempt.reason);
            return { host, attempt, alive, loss: this.#loss(host, alive) };
          }),
        );
        const samples = found.flatMap(({ host, attempt, loss }): Sample[] => [
          { measure: 'uplink.loss', label: host, value: loss },
          {
            measure: 'uplink.latency',
            label: host,
            value: attempt.alive ? attempt.seconds : undefined,
          },
        ]);
        const alive = found.filter((one) => one.alive);
        const names = (list: readonly { host: string }[]) =>
          list.map(({ host }) => host).join(', ');
        return alive.length > 0
          ? ok(`${names(alive)} ${alive.length > 1 ? 'answer' : 'answers'}`, samples)
          : failed(`None of ${names(found)} answers`, samples);
      },
    };
  }

  #loss(host: string, alive: boolean): number {
    const attempts = [...(this.#attempts.get(host) ?? []), alive ? 1 : 0].slice(-lossWindow);
    this.#attempts.set(host, attempts);
    return (100 * attempts.filter((one) => one === 0).length) / attempts.length;
  }
}

export function dnsCheck(settings: MonitorSettings, servers?: readonly string[]): CheckDefinition {
  return {
    id: 'dns',
    title: 'Name resolution',
    needs: ['uplink', 'unit:systemd-resolved.service'],
    every: settings.intervals.network,
    confirm: 2,
    restart: 'dns',
    look: async () => {
      // A new one each time: it reads /etc/resolv.conf when it is made.
      const resolver = new Resolver({ timeout: 2000, tries: 2 });
      if (servers) resolver.setServers([...servers]);
      const started = performance.now();
      const name = settings.dns_name;
      try {
        await resolver.resolve4(name);
      } catch (error) {
        const { code = 'unknown' } = error as NodeJS.ErrnoException;
        // That there is no such name, or no such record, is an answer.
        if (code !== 'ENOTFOUND' && code !== 'ENODATA')
          return failed(`${name} cannot be resolved: ${reasons[code] ?? code}`);
      }
      const seconds = since(started);
      return ok(`${name} is resolved`, [{ measure: 'dns.time', value: seconds }]);
    },
  };
}

/** Error codes of node:dns. */
const reasons: Record<string, string> = {
  ETIMEOUT: 'the name server does not answer',
  ECONNREFUSED: 'the name server does not run',
  ESERVFAIL: 'the name server finds no answer',
  EREFUSED: 'the name server refuses to answer',
};

/** `gateway` is empty where the device itself is the way, as with PPP. */
type Route = { gateway: string; device: string };

/** Flags of route(8). */
const flag = { up: 0x1, gateway: 0x2, reject: 0x200 } as const;

/** proc_pid_net(5): addresses in hexadecimal, IPv4's in the machine's byte order (a Pi's is little endian). */
export function defaultRoutes(files: Files): Route[] {
  const four = (files.text('/proc/net/route') ?? '').split('\n').flatMap((line): Route[] => {
    const [device = '', destination, gateway = '', flags = '0', , , , mask] = line.split('\t');
    const bits = Number.parseInt(flags, 16);
    if (destination !== '00000000' || mask !== '00000000' || !leadsOut(bits)) return [];
    const bytes = [...Buffer.from(gateway, 'hex')].toReversed();
    return [{ device, gateway: bits & flag.gateway ? bytes.join('.') : '' }];
  });
  const six = (files.text('/proc/net/ipv6_route') ?? '').split('\n').flatMap((line): Route[] => {
    const [destination, prefix, , , gateway = '', , , , flags = '0', device = ''] =
      line.split(/ +/);
    const bits = Number.parseInt(flags, 16);
    if (destination !== '0'.repeat(32) || prefix !== '00' || !leadsOut(bits)) return [];
    if (!(bits & flag.gateway)) return device === 'lo' ? [] : [{ device, gateway: '' }];
    const groups = gateway.match(/.{4}/g) ?? [];
    const { hostname } = new URL(`http://[${groups.join(':')}]`);
    return [{ device, gateway: hostname.slice(1, -1) }];
  });
  const routes = [...four, ...six];
  return routes.filter(
    (route, index) =>
      routes.findIndex(
        ({ gateway, device }) => gateway === route.gateway && device === route.device,
      ) === index,
  );
}

const leadsOut = (bits: number) => (bits & flag.up) > 0 && (bits & flag.reject) === 0;

const carrier = (files: Files, device: string) => files.number(`/sys/class/net/${device}/carrier`);
