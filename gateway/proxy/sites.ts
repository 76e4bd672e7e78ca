import { hostsMark, localNames } from '../../firstboot/hosts.ts';
import type { Wanted } from '../pki/issue.ts';
import { mayBeNamed } from '../tls/names.ts';
import type { ProxyFacts, ProxyZone } from './facts.ts';
import { isLoopback, type ProxySettings, type Target, targetOf } from './settings.ts';

/** What the proxy serves under a set of names. */
export type Site = {
  /** `dashboard`, or of the service. */
  name: string;
  /** Names that the device's CA vouches for, and those for which a public one must. */
  internal: readonly string[];
  public: readonly string[];
  to: Target;
  zones: readonly ProxyZone[];
  mtls: boolean | readonly string[];
  hsts: boolean;
  bodyMegabytes: number;
  timeoutSeconds: number;
  connections: number;
  /** How its own certificate is proven, if it is reached by TLS. */
  upstream: 'system' | 'own' | 'gateway' | 'none';
};

/** The API answers to itself on loopback; it takes 32 connections of one address (gateway/api/server.ts). */
const dashboardConnections = 30;

/** Everything that is served, the dashboard first. Pure. @param host the gateway's name. */
export function sitesOf(
  settings: ProxySettings,
  host: string,
  dashboardPort: number | undefined,
): Site[] {
  const dashboard: Site[] =
    settings.dashboard && dashboardPort !== undefined
      ? [
          {
            name: 'dashboard',
            internal: localNames(host),
            public: [],
            to: { tls: true, address: '127.0.0.1', port: dashboardPort },
            zones: ['lan', 'vpn'],
            mtls: false,
            hsts: true,
            bodyMegabytes: 16,
            timeoutSeconds: 300,
            connections: dashboardConnections,
            upstream: 'gateway',
          },
        ]
      : [];
  const services = Object.entries(settings.services).map(([name, one]): Site => {
    const to = targetOf(one.to) ?? { tls: false, address: '127.0.0.1', port: 1 };
    const further = one.names.map((other) => other.toLowerCase());
    const internal = [`${name}.home.arpa`, ...further.filter(mayBeNamed)];
    return {
      name,
      internal: [...new Set(internal)],
      public: [...new Set(further.filter((other) => !mayBeNamed(other)))],
      to,
      zones: one.zones,
      mtls: one.mtls,
      hsts: one.hsts,
      bodyMegabytes: one.body_megabytes,
      timeoutSeconds: one.timeout_seconds,
      connections: one.connections,
      upstream: !one.verify
        ? 'none'
        : one.ca !== undefined
          ? 'own'
          : // On the gateway itself nobody is between; without `ca` there is nothing to hold it to.
            isLoopback(to.address)
            ? 'none'
            : 'system',
    };
  });
  return [...dashboard, ...services];
}

/** Prefix of the proxy's own among the names of certificates; no service's name has two hyphens there. */
export const certificateOf = (site: Pick<Site, 'name'>): string => `proxy-${site.name}`;

/** Certificates of the device's own CA. */
export function wantedBy(sites: readonly Site[]): Wanted[] {
  return sites.map((site) => ({
    name: certificateOf(site),
    purpose: 'proxy',
    dns: site.internal,
    addresses: [],
  }));
}

/**
 * hosts(5) with the names of services; systemd-resolved, which VPN clients and served zones ask, answers by it.
 * The gateway's own names are first boot's.
 */
export function hostsWithSites(
  before: string,
  sites: readonly Site[],
  { zones }: Pick<ProxyFacts, 'zones'>,
): string {
  const others = before.split('\n').filter((line) => line !== '' && !line.endsWith(hostsMark));
  const own = sites
    .filter(({ name }) => name !== 'dashboard')
    .flatMap((site) =>
      zones
        .filter(({ name }) => site.zones.includes(name))
        .flatMap(({ addresses }) =>
          addresses.map(
            (address) => `${address} ${[...site.internal, ...site.public].join(' ')} ${hostsMark}`,
          ),
        ),
    );
  return `${[...others, ...own].join('\n')}\n`;
}
