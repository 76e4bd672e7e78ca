import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  connect,
  type LabHost,
  makeHost,
  type Running,
  removeHosts,
} from '../../builder/lab/namespace.ts';
import { requestFile } from './request.ts';
import type { PortmapStatus } from './view.ts';

/** A home network in namespaces of its own: the gateway, its router, and a host beyond it. */
export const home = {
  router: '192.168.77.1',
  gateway: '192.168.77.2',
  router6: '2a00:1450:77::1',
  gateway6: '2a00:1450:77::2',
  /** Public addresses, as miniupnpd refuses to work with others; no packet of them leaves the namespaces. */
  outside: '5.5.5.5',
  stranger: '5.5.5.6',
  port: 51_820,
} as const;

const hostileMain = fileURLToPath(new URL('./hostile-main.ts', import.meta.url));
const main = fileURLToPath(new URL('./main.ts', import.meta.url));

export class Home {
  readonly router: LabHost;
  readonly gateway: LabHost;
  readonly stranger: LabHost;
  /** The gateway's root file system, as far as the service reads it. */
  readonly root: string;

  private constructor(o: { router: LabHost; gateway: LabHost; stranger: LabHost; root: string }) {
    this.router = o.router;
    this.gateway = o.gateway;
    this.stranger = o.stranger;
    this.root = o.root;
  }

  static async open(): Promise<Home> {
    const [router, gateway, stranger] = await Promise.all(
      ['rt', 'gw', 'out'].map((name) => makeHost(`${name}${Math.floor(Math.random() * 1e6)}`)),
    );
    if (!router || !gateway || !stranger) throw new Error('No namespaces');
    await connect(
      { host: router, link: 'lan', addresses: [`${home.router}/24`, `${home.router6}/64`] },
      { host: gateway, link: 'eth0', addresses: [`${home.gateway}/24`, `${home.gateway6}/64`] },
    );
    await connect(
      { host: router, link: 'ext', addresses: [`${home.outside}/24`] },
      { host: stranger, link: 'eth0', addresses: [`${home.stranger}/24`] },
    );
    await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    await gateway.run('ip', ['route', 'add', 'default', 'via', home.router]);
    await gateway.run('ip', ['-6', 'route', 'add', 'default', 'via', home.router6]);
    // node lists addresses of interfaces that have carrier alone.
    for (const host of [router, gateway, stranger]) await up(host);
    const root = await mkdtemp(join(tmpdir(), 'pi-gateway-portmap-'));
    await symlink('/proc', join(root, 'proc'));
    const put = async (path: string, value: unknown) => {
      await mkdir(join(root, path, '..'), { recursive: true });
      await writeFile(join(root, path), JSON.stringify(value));
    };
    await put('/usr/share/pi-gateway/ports.json', [
      { name: 'wireguard', port: home.port, protocol: 'udp', zones: ['wan'] },
    ]);
    await put('/usr/share/pi-gateway/firewall.json', {
      zones: [
        { name: 'wan', interfaces: [] },
        { name: 'lan', interfaces: ['eth1', 'br-*'] },
      ],
    });
    await mkdir(join(root, 'etc/pi-gateway'), { recursive: true });
    await mkdir(join(root, 'state'));
    await mkdir(join(root, 'runtime'));
    return new Home({ router, gateway, stranger, root });
  }

  /** What the owner has set; undefined: nothing. */
  async set(request: object | undefined): Promise<void> {
    const path = join(this.root, requestFile);
    if (request === undefined) await rm(path, { force: true });
    else
      await writeFile(
        path,
        JSON.stringify({
          mapping: 'auto',
          lease: 7200,
          ipv6: false,
          external_port: null,
          ...request,
        }),
      );
  }

  /** One run of the service, as its unit would start it. */
  async service(): Promise<PortmapStatus> {
    await this.gateway.run(process.execPath, [main], {
      env: {
        PI_GATEWAY_ROOT: this.root,
        STATE_DIRECTORY: join(this.root, 'state'),
        RUNTIME_DIRECTORY: join(this.root, 'runtime'),
      },
      okCodes: [1],
      timeout: 60_000,
    });
    return JSON.parse(
      await readFile(join(this.root, 'runtime/status.json'), 'utf8'),
    ) as PortmapStatus;
  }

  /** Debian's miniupnpd on the router. @param lines further ones of its configuration. */
  miniupnpd(lines: readonly string[] = []): Promise<Running> {
    return startMiniupnpd({
      host: this.router,
      folder: this.root,
      outer: 'ext',
      inner: 'lan',
      lines,
    });
  }

  /** A router that does what no router should: hostile-main.ts has the kinds. */
  async hostile(kind: string): Promise<Running> {
    const server = this.router.start(process.execPath, [hostileMain, kind, home.router]);
    await server.said('ready', 10);
    return server;
  }

  /** Whether a datagram from the internet to that port of the router comes to the gateway's port. */
  async reaches(externalPort: number, internalPort: number = home.port): Promise<boolean> {
    const heard = this.gateway.start(process.execPath, [
      '-e',
      `require('node:dgram').createSocket('udp4').on('message', (m) => console.log('heard ' + m)).bind(${internalPort}, '${home.gateway}', () => console.log('ready'))`,
    ]);
    await heard.said('ready', 10);
    await this.stranger.run(process.execPath, [
      '-e',
      `const s = require('node:dgram').createSocket('udp4'); s.send('hello', ${externalPort}, '${home.outside}', () => s.close())`,
    ]);
    const is = await heard.said('heard hello', 1).then(
      () => true,
      () => false,
    );
    await heard.stop();
    return is;
  }

  /** The router's rules for ports, as nft(8) prints them. */
  async rules(): Promise<string> {
    const { stdout } = await this.router.run('nft', ['list', 'ruleset']);
    return stdout;
  }

  async close(): Promise<void> {
    await removeHosts([this.router, this.gateway, this.stranger]);
    await rm(this.root, { recursive: true, force: true });
  }
}

/** Waits until each interface has carrier. */
export async function up(host: LabHost): Promise<void> {
  const look = async () => (await host.run('ip', ['-o', 'link', 'show', 'up'])).stdout;
  while (/NO-CARRIER|LOWERLAYERDOWN/.test(await look()))
    await new Promise((resolve) => setTimeout(resolve, 20));
  // The routing tables follow a moment later (net/core/link_watch.c).
  await new Promise((resolve) => setTimeout(resolve, 200));
}

/** Runs Debian's miniupnpd on a host that is a router, between two of its interfaces. */
export async function startMiniupnpd(o: {
  host: LabHost;
  folder: string;
  outer: string;
  inner: string;
  lines: readonly string[];
}): Promise<Running> {
  const file = join(o.folder, 'miniupnpd.conf');
  await writeFile(
    file,
    [
      `ext_ifname=${o.outer}`,
      `listening_ip=${o.inner}`,
      'ipv6_disable=no',
      'http_port=0',
      'system_uptime=yes',
      'secure_mode=yes',
      'min_lifetime=120',
      'max_lifetime=86400',
      'uuid=06f14a55-13fb-432d-9c9f-5cd659a769a3',
      'upnp_table_name=miniupnpd',
      'upnp_nat_table_name=miniupnpd',
      'upnp_forward_chain=miniupnpd',
      'upnp_nat_chain=prerouting_miniupnpd',
      'upnp_nat_postrouting_chain=postrouting_miniupnpd',
      ...o.lines,
      'allow 1024-65535 0.0.0.0/0 1024-65535',
      'deny 0-65535 0.0.0.0/0 0-65535',
      '',
    ].join('\n'),
  );
  await o.host.run('nft', ['-f', '-'], { input: tables(o.outer) });
  const server = o.host.start('miniupnpd', ['-d', '-f', file, '-P', join(o.folder, 'pid')]);
  await server.said(/Listening for NAT-PMP|HTTP listening/i, 20);
  return server;
}

/** As Debian's /etc/miniupnpd/nft_init.sh makes them, for one table. */
const tables = (outer: string) => `
table inet miniupnpd
delete table inet miniupnpd
table inet miniupnpd {
  chain forward {
    type filter hook forward priority -25; policy accept;
    iifname "${outer}" jump miniupnpd
  }
  chain miniupnpd { }
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    jump prerouting_miniupnpd
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    jump postrouting_miniupnpd
  }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
}
`;
