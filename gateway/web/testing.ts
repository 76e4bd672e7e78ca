import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { bundleAssets } from '../../builder/overlay/assets.ts';
import { deviceSystem, type System } from '../../firstboot/system.ts';
import type { Operation } from '../api/operation.ts';
import { type OperationId, operations } from '../api/operations.ts';
import { type Api, startApi } from '../api/server.ts';
import { testCertificate } from '../api/testing.ts';
import { GatewayError } from '../errors.ts';
import { routeOperations } from '../extensions/routes.ts';
import type { Helper } from '../helper/protocol.ts';
import type { KernelState } from '../kernel-state.ts';
import type { Monitor, MonitorEvent, Series } from '../monitor/monitor.ts';
import type { Answer } from './lib/api.ts';
import { catalogNow, containersNow } from './testing-containers.ts';
import { desktopNow, routerNow, tuningNow } from './testing-network.ts';

/** What the browser tests talk to: the real API server, with a gateway behind it that is made up. */

type Client = Answer<'get', '/vpn/clients'>['clients'][number];
type Forward = Answer<'get', '/firewall/forwards'>['forwards'][number];

export const claimCode = 'KXR2-9QPF-7TLM';

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString();

/** As WireGuard writes keys, but of nothing. */
const keyOf = (text: string) => {
  const bytes = createHash('sha256').update(text).digest();
  bytes[31] = (bytes[31] ?? 0) & 0xfc;
  return bytes.toString('base64').replace(/.=$/, 'A=');
};

const names = [
  ['anns-phone', "Ann's phone"],
  ['anns-laptop', ''],
  ['bens-phone', "Ben's phone"],
  ['office-printer', 'Second floor'],
  ['summer-house', 'Router there'],
  ['tablet-kitchen', ''],
  ['guest-marie', 'Until the end of the month'],
  ['backup-server', 'Off-site copies'],
] as const;

export class World {
  readonly clients = new Map<string, Client>();
  readonly forwards: Forward[] = [];
  readonly restarted: string[] = [];
  readonly calls: string[] = [];
  config = `# Settings of this gateway; every key is optional.
monitor:
  thresholds:
    temperature: { limit: 75, for: 300 }
  checks:
    - { type: http, name: wiki, url: 'https://wiki.lan/' }
alerts:
  channels:
    - type: ntfy
      topic: (secret unchanged)
  quiet_hours: { from: '22:00', to: '07:00' }
vpn:
  endpoint: attic.duckdns.org
`;
  version = 4;
  problem: { line: number; column: number; key: string; message: string } | undefined;
  readonly #begin = Date.now();

  constructor(clients: number) {
    for (let index = 0; index < clients; index++) {
      const [name, note] = names[index] ?? [`device-${String(index + 1).padStart(4, '0')}`, ''];
      this.add({ name, note }, index);
    }
    const guest = this.clients.get('guest-marie');
    if (guest) {
      guest.zones = ['wan'];
      guest.expires_at = new Date(Date.now() + 5 * 86_400_000).toISOString();
    }
    const printer = this.clients.get('office-printer');
    if (printer) {
      printer.enabled = false;
      printer.state = 'disabled';
      printer.live = null;
    }
  }

  add(o: Partial<Client> & { name: string }, index = this.clients.size): Client {
    if (this.clients.has(o.name))
      throw new GatewayError(`There is a client ${o.name}`, 'Take another name', 'conflict');
    const client: Client = {
      note: '',
      enabled: true,
      addresses: [
        `10.66.${Math.floor((index + 2) / 256)}.${(index + 2) % 256}`,
        `fd66:6761:7465::${(index + 2).toString(16)}`,
      ],
      public_key: keyOf(o.name),
      preshared_key: true,
      zones: null,
      tunnel: 'full',
      dns: null,
      created_at: ago(86_400 * (20 + index)),
      expires_at: null,
      config_held: false,
      rotation: null,
      state: 'active',
      ...o,
      live:
        index % 3 === 2
          ? {
              online: false,
              last_handshake_at: index % 2 ? null : ago(7300),
              endpoint: null,
              received_bytes: 0,
              sent_bytes: 0,
            }
          : this.#live(index),
    };
    this.clients.set(client.name, client);
    return client;
  }

  #live(index: number): NonNullable<Client['live']> {
    const seconds = (Date.now() - this.#begin) / 1000;
    return {
      online: true,
      last_handshake_at: ago(20 + ((index * 37) % 100)),
      endpoint: `198.51.100.${(index % 250) + 1}:${40_000 + index}`,
      received_bytes: Math.round(3_200_000 * (index + 1) + seconds * 21_000 * ((index % 5) + 1)),
      sent_bytes: Math.round(41_000_000 * (index + 1) + seconds * 180_000 * ((index % 4) + 1)),
    };
  }

  client(name: string): Client {
    const found = this.clients.get(name);
    if (!found) throw new GatewayError(`There is no client ${name}`, 'See the list', 'missing');
    return found;
  }

  list(): Client[] {
    for (const [index, client] of [...this.clients.values()].entries())
      if (client.state === 'active' && client.live?.online) client.live = this.#live(index);
    return [...this.clients.values()];
  }

  readonly kernel: KernelState = {
    wireguard: async () =>
      this.list().flatMap(({ public_key, live, addresses }) =>
        live
          ? [
              {
                interface: 'wg0',
                publicKey: public_key,
                endpoint: live.endpoint ?? undefined,
                allowedIps: addresses,
                handshake:
                  live.last_handshake_at === null
                    ? 0
                    : Math.floor(Date.parse(live.last_handshake_at) / 1000),
                received: live.received_bytes,
                sent: live.sent_bytes,
              },
            ]
          : [],
      ),
    counters: async () => ({}),
  };
}

/** Measured values that move as on a device with little to do. */
function value(name: string, time: number): number {
  const seed = [...name].reduce((sum, one) => sum + one.charCodeAt(0), 0);
  const t = time / 1000;
  const wave = (period: number, shift = 0) =>
    (Math.sin((t / period) * 2 * Math.PI + seed + shift) + 1) / 2;
  const noise = (((Math.sin(t * 12.9898 + seed) * 43_758.5453) % 1) + 1) % 1;
  const busy = (wave(5400) * wave(700, 2) + noise * 0.25) * (wave(86_400) * 0.7 + 0.3);
  if (name === 'cpu.used') return 4 + busy * 38;
  if (name === 'cpu.busiest') return 9 + busy * 70;
  if (name === 'cpu.iowait') return noise * 1.5;
  if (name === 'memory.used') return 31 + wave(9000) * 4 + noise;
  if (name === 'swap.used') return 1.2;
  if (name === 'heat.temperature') return 47 + busy * 9 + wave(86_400) * 3;
  if (name === 'load.1m') return busy * 1.4;
  if (name.startsWith('pressure.')) return busy * 3 * noise;
  if (name === 'daemon.memory') return 52_000_000 + wave(4000) * 2_000_000;
  if (name === 'disk.used{/}') return 23.4;
  if (name.startsWith('disk.used')) return 41;
  if (name.startsWith('disk.')) return noise > 0.8 ? noise * 400_000 : 2000;
  if (name.startsWith('wear.')) return 10;
  if (name.startsWith('uplink.latency')) return 0.011 + noise * 0.006 + busy * 0.01;
  if (name.startsWith('uplink.loss')) return 0;
  if (name === 'dns.time') return 0.004 + noise * 0.01;
  if (name === 'conntrack.count') return 90 + Math.round(busy * 180);
  if (name === 'vpn.connected') return 5 + Math.round(wave(3000) * 1.4);
  if (name.startsWith('firewall.packets')) return noise * 2;
  if (name.startsWith('vpn.')) return busy * 900_000 * ((seed % 5) + 0.2);
  return busy * 6_200_000 * (name.includes('received') ? 1 : 0.3);
}

const measuredUnits: Record<string, string> = {
  'cpu.used': '%',
  'cpu.busiest': '%',
  'cpu.iowait': '%',
  'memory.used': '%',
  'swap.used': '%',
  'heat.temperature': 'Cel',
  'load.1m': '1',
  'pressure.cpu': '%',
  'pressure.memory': '%',
  'pressure.io': '%',
  'daemon.memory': 'By',
  'disk.used{/}': '%',
  'disk.used{/boot/firmware}': '%',
  'disk.written{mmcblk0}': 'By/s',
  'disk.read{mmcblk0}': 'By/s',
  'wear.used{mmcblk0}': '%',
  'network.received{eth0}': 'By/s',
  'network.sent{eth0}': 'By/s',
  'network.received{wg0}': 'By/s',
  'network.sent{wg0}': 'By/s',
  'uplink.latency{1.1.1.1}': 's',
  'uplink.latency{9.9.9.9}': 's',
  'uplink.loss{1.1.1.1}': '%',
  'uplink.loss{9.9.9.9}': '%',
  'dns.time': 's',
  'conntrack.count': '1',
  'vpn.connected': '1',
  'firewall.packets{dropped}': '1/s',
};

class StandInMonitor implements Monitor {
  readonly #units: Map<string, string>;
  readonly #listeners = new Set<(event: MonitorEvent) => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(world: World) {
    this.#units = new Map(Object.entries(measuredUnits));
    for (const { name } of world.clients.values()) {
      this.#units.set(`vpn.received{${name}}`, 'By/s');
      this.#units.set(`vpn.sent{${name}}`, 'By/s');
    }
  }

  /** @param every milliseconds */
  start(every: number): void {
    this.#timer = setInterval(() => {
      const event: MonitorEvent = { type: 'series', series: this.series() };
      for (const listener of this.#listeners) listener(event);
    }, every);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  series(): readonly Series[] {
    return [...this.#units].map(([name, unit]) => ({ name, unit, value: value(name, Date.now()) }));
  }

  checks = () => [];
  alerts = () => [];
  prometheus = () => '';

  history(name: string, span: number) {
    if (!this.#units.has(name)) return undefined;
    const step = span <= 3600 ? 10 : span <= 86_400 ? 240 : span / 360;
    const start = Date.now() / 1000 - span;
    const count = Math.floor(span / step);
    return {
      start,
      step,
      values: Array.from({ length: count }, (_, index) =>
        value(name, (start + index * step) * 1000),
      ),
    };
  }

  subscribe(listener: (event: MonitorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

/** A picture of the size and look of a QR code, of no use. */
export function standInQr(text: string): string {
  const size = 53;
  const finder = (x: number, y: number) =>
    [
      [0, 0],
      [size - 7, 0],
      [0, size - 7],
    ].some(([left = 0, top = 0]) => {
      const dx = x - left;
      const dy = y - top;
      if (dx < 0 || dy < 0 || dx > 6 || dy > 6) return false;
      const ring = Math.max(Math.abs(dx - 3), Math.abs(dy - 3));
      return ring === 3 || ring <= 1;
    });
  const quiet = (x: number, y: number) =>
    (x < 8 && y < 8) || (x > size - 9 && y < 8) || (x < 8 && y > size - 9);
  let seed = [...text].reduce((sum, one) => (sum * 31 + one.charCodeAt(0)) % 2_147_483_647, 7);
  let path = '';
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      seed = (seed * 48_271) % 2_147_483_647;
      if (finder(x, y) || (!quiet(x, y) && seed % 2 === 0)) path += `M${x + 4} ${y + 4}h1v1h-1z`;
    }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size + 8} ${size + 8}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size + 8}v${size + 8}H0z"/><path d="${path}"/></svg>`;
}

/** What each operation that needs a device answers here; the others (accounts, sessions, events) are real. */
type StandIn = {
  [I in OperationId]?: (input: { params: never; query: never; body: never }) => unknown;
};

function standIns(world: World): StandIn {
  const services = () =>
    (
      [
        [
          'ssh',
          'SSH',
          'ssh.service',
          ['firewall'],
          [{ port: 22, protocol: 'tcp', zones: ['lan', 'vpn'] }],
          'restart',
          9_800_000,
        ],
        [
          'vpn',
          'VPN',
          'wg-quick@wg0.service',
          ['network'],
          [{ port: 51_820, protocol: 'udp', zones: ['wan', 'lan'] }],
          'reload',
          null,
        ],
        ['firewall', 'Firewall', 'nftables.service', [], [], 'reload', null],
        [
          'dns',
          'Name server',
          'systemd-resolved.service',
          ['network'],
          [{ port: 53, protocol: 'udp', zones: ['vpn', 'lan'] }],
          'restart',
          11_200_000,
        ],
        ['ddns', 'Dynamic DNS', 'pi-gateway-ddns.timer', ['network', 'dns'], [], 'restart', null],
        [
          'api',
          'Dashboard and API',
          'pi-gatewayd.service',
          [],
          [{ port: 8443, protocol: 'tcp', zones: ['lan', 'vpn'] }],
          'restart',
          54_000_000,
        ],
        ['network', 'Network', 'systemd-networkd.service', [], [], 'restart', 6_100_000],
        ['time', 'Clock', 'chrony.service', ['network', 'dns'], [], 'restart', 3_400_000],
        [
          'ban',
          'Ban of who guesses passwords',
          'fail2ban.service',
          ['firewall'],
          [],
          'restart',
          24_000_000,
        ],
        ['audit', 'Audit record', 'auditd.service', [], [], 'no', 2_100_000],
      ] as const
    ).map(([id, title, unit, needs, ports, restart, memory]) => ({
      id,
      title,
      unit,
      state: 'active',
      health: id === 'ddns' ? 'warning' : 'ok',
      detail:
        id === 'ddns'
          ? 'The second provider does not answer; the first has the address'
          : 'Runs, and answers',
      since: ago(world.restarted.includes(id) ? 2 : 90_000),
      restarts: id === 'dns' ? 1 : 0,
      memory_bytes: memory,
      ports,
      needs,
      restart,
      note:
        id === 'vpn'
          ? 'Clients stay connected.'
          : id === 'audit'
            ? 'Its rules are locked until the device restarts'
            : null,
    }));
  const vpn = () => {
    const all = world.list();
    return {
      interface: 'wg0',
      public_key: keyOf('server'),
      port: 51_820,
      mtu: 1420,
      network4: '10.66.0.0/16',
      network6: 'fd66:6761:7465::/64',
      dns: ['10.66.0.1'],
      endpoint: 'attic.duckdns.org',
      endpoint_known: true,
      rotation: null,
      last_rotation: null,
      zones: ['wan', 'lan', 'guest', 'vpn', 'gateway'],
      defaults: { zones: null, tunnel: 'full' },
      free: 65_532 - all.length,
      clients: {
        total: all.length,
        active: all.filter(({ state }) => state === 'active').length,
        online: all.filter(({ live }) => live?.online).length,
      },
    };
  };
  const alert = (
    id: string,
    severity: string,
    text: string,
    source: string,
    since: number,
    until: number | null,
  ) => ({
    id,
    source,
    severity,
    text,
    fired_at: ago(since),
    resolved_at: until === null ? null : ago(until),
    suppressed_by: null,
    flapping: false,
    deliveries: [{ channel: 'phone', event: 'fired', outcome: 'delivered', at: ago(since - 4) }],
  });
  const diff = (text: string) => {
    const before = world.config.trimEnd().split('\n');
    const after = text.trimEnd().split('\n');
    const removed = before.filter((line) => !after.includes(line));
    const added = after.filter((line) => !before.includes(line));
    const bad = after.findIndex((line) => /\bport: *[a-z]/.test(line) || /limti/.test(line));
    const problems =
      bad < 0
        ? []
        : [
            {
              line: bad + 1,
              column: 22,
              key: 'monitor.thresholds.temperature.limti',
              message: "is no key; did you mean 'limit'?",
            },
          ];
    return {
      valid: problems.length === 0,
      problems,
      changes:
        added.length + removed.length === 0
          ? []
          : [
              {
                key: 'monitor.thresholds.temperature.limit',
                kind: 'changed',
                before: 75,
                after: 80,
              },
            ],
      areas: ['monitor'],
      text: [
        '--- in force',
        '+++ new',
        '@@ -1,4 +1,4 @@',
        ' monitor:',
        '   thresholds:',
        ...removed.map((line) => `-${line}`),
        ...added.map((line) => `+${line}`),
        '',
      ].join('\n'),
      confirm_advised: false,
    };
  };
  const digest = () => createHash('sha256').update(world.config).digest('hex');
  const applied = () => ({
    state: 'applied',
    version: world.version,
    digest: digest(),
    areas: ['monitor'],
    seconds_left: null,
    checks: [],
  });
  const zones = ['wan', 'lan', 'guest', 'vpn'];
  return {
    statusGet: () => ({
      name: 'attic',
      device_id: 'e81d-b6f1-19ae',
      model: 'Raspberry Pi 5 Model B Rev 1.0',
      image: { name: 'pi-gateway 0.1.0', base: 'Debian 13 (trixie)', built: ago(86_400 * 12) },
      time: ago(0),
      synchronized: true,
      uptime_seconds: 1_058_000,
      cpus: 4,
      load: [0.21, 0.18, 0.12],
      memory: { total_bytes: 4_200_000_000, available_bytes: 2_870_000_000 },
      disk: { total_bytes: 31_300_000_000, available_bytes: 23_980_000_000 },
      temperature_celsius: 51.2,
      addresses: [
        { zone: 'wan', interface: 'eth0', addresses: ['203.0.113.24', '2001:db8:61::24'] },
        { zone: 'lan', interface: 'eth1', addresses: ['192.168.40.1'] },
        { zone: 'vpn', interface: 'wg0', addresses: ['10.66.0.1'] },
      ],
      health: {
        state: 'warning',
        summary: 'All that matters works; one thing needs a look',
        findings: [
          {
            state: 'warning',
            source: 'ddns',
            text: 'The second dynamic DNS provider does not answer; the first has the address',
          },
        ],
      },
      alerts: { critical: 0, warning: 1, info: 0 },
      vpn: { connected: vpn().clients.online, total: world.clients.size },
      ddns: { state: 'registered', summary: 'attic.duckdns.org has 203.0.113.24' },
      updates: { pending: 3, reboot_required: false },
      firewall: 'active',
      dashboard: [{ zone: 'vpn', url: 'https://attic.home.arpa:8443/' }],
      stages: [
        'backup',
        'ddns',
        'containers',
        'desktop',
        'firewall',
        'gateway',
        'portmap',
        'proxy',
        'ssh',
        'tuning',
        'wireguard',
      ],
      claimed: true,
    }),
    proxyList: () => ({
      available: true,
      acme: false,
      sites: [
        {
          name: 'dashboard',
          urls: ['https://attic.home.arpa/', 'https://attic.internal/'],
          to: 'https://127.0.0.1:8443',
          zones: ['lan', 'vpn'],
          mtls: false,
          origin: 'gateway',
          certificates: [
            { names: ['attic.home.arpa'], by: 'gateway', not_after: ago(-6e6), problem: null },
          ],
        },
        {
          name: 'vault',
          urls: ['https://vault.home.arpa/'],
          to: 'http://127.0.0.1:8200',
          zones: ['vpn'],
          mtls: true,
          origin: 'settings',
          certificates: [
            { names: ['vault.home.arpa'], by: 'gateway', not_after: null, problem: null },
          ],
        },
      ],
    }),
    certificateList: () => ({
      available: true,
      root: {
        name: 'Pi Gateway CA 873f7a0420a6',
        fingerprint: Array.from({ length: 32 }, () => 'A7').join(':'),
        not_after: ago(-3e8),
      },
      trust_url: null,
      certificates: [
        {
          serial: '0A1B',
          kind: 'client',
          name: 'anns-phone',
          purpose: 'owner',
          names: [],
          not_before: ago(86_400),
          not_after: ago(-600_000),
          state: 'ending',
          renewed: false,
          revoked: null,
        },
      ],
    }),
    serviceList: () => ({ services: services() }),
    serviceRestart: ({ params }: { params: { id: string } }) => {
      world.restarted.push(params.id);
      return { id: params.id, did: 'restart', state: 'active' };
    },
    vpnShow: vpn,
    vpnListClients: () => ({ clients: world.list() }),
    vpnShowClient: ({ params }: { params: { name: string } }) => world.client(params.name),
    vpnAddClient: ({ body }: { body: Partial<Client> & { name: string } }) =>
      world.add({ ...body, config_held: true, created_at: ago(0) }),
    vpnChangeClient: ({ params, body }: { params: { name: string }; body: Partial<Client> }) => {
      const client = world.client(params.name);
      world.clients.delete(client.name);
      Object.assign(client, body);
      client.state = client.enabled ? 'active' : 'disabled';
      world.clients.set(client.name, client);
      return client;
    },
    vpnRevokeClient: ({ params }: { params: { name: string } }) => {
      world.client(params.name);
      world.clients.delete(params.name);
      return undefined;
    },
    vpnRotateClient: ({ params }: { params: { name: string } }) => {
      const client = world.client(params.name);
      client.rotation = {
        started_at: ago(0),
        deadline_at: null,
        public_key: keyOf(`${client.name} new`),
        config_held: true,
      };
      return client;
    },
    vpnCancelRotation: ({ params }: { params: { name: string } }) => {
      const client = world.client(params.name);
      client.rotation = null;
      return client;
    },
    vpnClientConfig: ({ params }: { params: { name: string } }) => {
      const client = world.client(params.name);
      if (!client.config_held) throw new GatewayError('Its key is gone', 'Rotate it', 'missing');
      client.config_held = false;
      return {
        type: 'text/plain; charset=utf-8',
        text: `[Interface]\nPrivateKey = ${keyOf(`${client.name} private`)}\nAddress = ${client.addresses.join(', ')}\n`,
      };
    },
    vpnForgetClientKey: ({ params }: { params: { name: string } }) => {
      world.client(params.name).config_held = false;
      return undefined;
    },
    vpnClientQr: ({ params }: { params: { name: string } }) => ({
      type: 'image/svg+xml',
      text: standInQr(params.name),
    }),
    firewallGet: () => ({
      state: 'active',
      pending: null,
      counters: {
        dropped_wan: { packets: 18_412, bytes: 1_204_000 },
        invalid: { packets: 212, bytes: 14_800 },
        forged_source: { packets: 3, bytes: 180 },
      },
      blocked: [{ address: '198.51.100.77', seconds_left: 540 }],
      zones: zones.map((name) => ({
        name,
        interfaces: name === 'wan' ? [] : [name === 'vpn' ? 'wg0' : `br-${name}`],
        networks: name === 'wan' ? [] : ['192.168.40.0/24'],
        gateway: name === 'wan' ? ['wireguard (udp 51820)'] : ['ssh (tcp 22)', 'dns (udp 53)'],
      })),
      table: zones.flatMap((from) =>
        zones.map((to) => ({
          from,
          to,
          passes: from !== 'wan' && (from !== 'guest' || to === 'wan') && from !== to,
          because: 'Own devices use the internet',
          exceptions: [],
        })),
      ),
    }),
    firewallListForwards: () => ({
      forwards: [
        {
          id: 'tcp4-443',
          protocol: 'tcp',
          port: 443,
          to: '192.168.40.10',
          to_port: 8443,
          zone: 'lan',
          from: null,
          name: 'Photo server',
          origin: 'device',
        },
        {
          id: 'udp4-27015',
          protocol: 'udp',
          port: 27_015,
          to: '192.168.40.31',
          to_port: 27_015,
          zone: 'lan',
          from: '203.0.113.0/24',
          name: null,
          origin: 'image',
        },
        ...world.forwards,
      ],
    }),
    firewallAddForward: ({ body }: { body: Forward }) => {
      const made: Forward = {
        ...body,
        id: `${body.protocol}4-${body.port}`,
        to_port: body.to_port ?? body.port,
        zone: 'lan',
        from: body.from ?? null,
        name: body.name ?? null,
        origin: 'device',
      };
      world.forwards.push(made);
      return made;
    },
    firewallRemoveForward: ({ params }: { params: { id: string } }) => {
      world.forwards.splice(
        world.forwards.findIndex(({ id }) => id === params.id),
        1,
      );
      return undefined;
    },
    routerGet: () => ({ ...routerNow, reached: { at: ago(300), from: '198.51.100.7' } }),
    tuningGet: () => tuningNow,
    containersList: () => containersNow,
    containersCatalog: () => catalogNow,
    desktopGet: () => desktopNow,
    backupGet: () => ({
      installed: true,
      running: [],
      every: 'day' as const,
      restore: null,
      targets: [
        {
          name: 'nas',
          type: 'sftp',
          location: 'sftp://attic@nas.home.arpa:22/backups/attic',
          late: false,
          next_at: ago(-12 * 3600),
          last_attempt: { at: ago(43_000), state: 'ok' as const, message: '', fix: '' },
          last_success: {
            at: ago(43_000),
            snapshot: '3f2a9c10',
            files: 214,
            bytes: 4_812_331,
            added: 91_204,
            seconds: 9,
          },
          size_bytes: 6_204_113,
          snapshots: [
            { id: '3f2a9c10', at: ago(43_000), host: 'attic' },
            { id: '91bb07e4', at: ago(129_400), host: 'attic' },
          ],
          check: { at: ago(43_000), ok: true, message: '', fix: '', part: '3/10' },
          test: {
            ...{ at: ago(900_000), ok: true, snapshot: '91bb07e4', files: 213, bytes: 4_800_000 },
            ...{ message: '', fix: '' },
          },
        },
        {
          name: 'stick',
          type: 'disk',
          location: 'disk BACKUP: pi-gateway',
          late: true,
          next_at: ago(0),
          last_attempt: {
            at: ago(1_200),
            state: 'away' as const,
            message: 'stick: there is no disk with the label BACKUP',
            fix: 'Plug it in; lsblk -f lists the file systems that are there. The next try is within the hour',
          },
          last_success: null,
          size_bytes: null,
          snapshots: [],
          check: null,
          test: null,
        },
      ],
    }),
    ddnsGet: () => ({
      configured: true,
      running: false,
      status: {
        checked_at: ago(140),
        state: 'registered',
        registered: true,
        failed: false,
        summary: 'attic.duckdns.org has the address of this gateway',
        active: { provider: 'duckdns', hostnames: ['attic.duckdns.org'] },
        addresses: [
          { family: 4, address: '203.0.113.24', agreed: ['router', 'cloudflare'], notes: [] },
          { family: 6, address: '2001:db8:61::24', agreed: ['interface'], notes: [] },
        ],
        providers: [
          {
            provider: 'duckdns',
            type: 'duckdns',
            hostnames: ['attic.duckdns.org'],
            state: 'active',
            stopped: null,
            records: [
              {
                type: 'A',
                address: '203.0.113.24',
                since: ago(86_400 * 3),
                failures: 0,
                next_attempt: null,
                notes: [],
              },
            ],
          },
          {
            provider: 'spare',
            type: 'dyndns2',
            hostnames: ['attic.example.org'],
            state: 'failing',
            stopped: null,
            records: [
              {
                type: 'A',
                address: null,
                since: null,
                failures: 4,
                next_attempt: new Date(Date.now() + 600_000).toISOString(),
                notes: [],
              },
            ],
          },
        ],
      },
    }),
    updatesGet: () => ({
      packages: [
        { name: 'openssl', installed: '3.5.1-1', available: '3.5.1-1+deb13u2', security: true },
        { name: 'libc6', installed: '2.41-12', available: '2.41-12+deb13u1', security: true },
        { name: 'tzdata', installed: '2025b-4', available: '2026a-0', security: false },
      ],
      refreshed_at: ago(7200),
      running: null,
      reboot_required: false,
      reboot_packages: [],
      automatic: 'security',
      reboot: '04:30',
      last: {
        what: 'automatic',
        started_at: ago(90_100),
        finished_at: ago(90_000),
        state: 'ok',
        detail: '',
        packages: [{ name: 'curl', before: '8.14.1-2', after: '8.14.1-2+deb13u1' }],
        kept: [],
        checks: [],
      },
    }),
    alertsList: () => ({
      active: [
        alert(
          'a1',
          'warning',
          'The second dynamic DNS provider does not answer',
          'check:ddns',
          2400,
          null,
        ),
      ],
      suppressed: [],
      recent: [alert('a0', 'critical', 'The internet is away', 'check:uplink', 190_000, 189_400)],
      channels: [
        {
          name: 'phone',
          type: 'ntfy',
          state: 'ok',
          waiting: 0,
          problem: null,
          delivered_at: ago(2396),
          next_attempt_at: null,
        },
        {
          name: 'mail',
          type: 'mail',
          state: 'failing',
          waiting: 1,
          problem: 'The server does not answer',
          delivered_at: ago(86_400),
          next_attempt_at: new Date(Date.now() + 240_000).toISOString(),
        },
      ],
      quiet: false,
      heartbeat: { state: 'ok', problem: null, sent_at: ago(200) },
    }),
    alertsTest: ({ body }: { body: { channel: string } }) => ({
      channel: body.channel,
      delivered: true,
      answer: '200 OK',
    }),
    configGet: () => ({
      version: world.version,
      digest: digest(),
      text: world.config,
      settings: {},
      problems: [],
      pending: null,
    }),
    configDiff: ({ body }: { body: { text: string } }) => diff(body.text),
    configApply: ({ body }: { body: { text: string } }) => {
      world.config = body.text;
      world.version += 1;
      return applied();
    },
    configRollback: applied,
    configHistory: () => ({
      versions: [world.version, 3, 2].map((version, index) => ({
        version,
        at: ago(86_400 * (index + 1)),
        by: 'ada',
        digest: digest(),
        current: index === 0,
        changes: [{ key: 'monitor.thresholds.temperature.limit', kind: 'changed' }],
      })),
    }),
    complianceGet: () => ({
      report: {
        benchmark: 'CIS Debian Linux 13, level 1',
        checked_at: ago(3600),
        score: { passed: 212, failed: 1, not_applicable: 31, tailored: 9, percent: 99.53 },
        controls: [
          {
            id: '1.1.1.1',
            title: 'Ensure cramfs kernel module is not available',
            level: 1,
            state: 'pass',
            evidence: 'install cramfs /bin/false',
            mend: null,
            tailoring: null,
          },
          {
            id: '3.3.1',
            title: 'Ensure ip forwarding is disabled',
            level: 1,
            state: 'tailored',
            evidence: 'net.ipv4.ip_forward = 1',
            mend: null,
            tailoring: {
              reason: 'It is a gateway',
              instead: 'The firewall says what is forwarded',
            },
          },
          {
            id: '6.1.3',
            title: 'Ensure cryptographic mechanisms protect audit tools',
            level: 1,
            state: 'fail',
            evidence: 'no rule in /etc/aide',
            mend: 'Add the tools to /etc/aide/aide.conf',
            tailoring: null,
          },
        ],
      },
    }),
    logList: ({ query }: { query: { since?: string } }) => ({
      entries: (query.since === undefined ? [...Array(40).keys()] : []).map((index) => ({
        cursor: `s=${'0'.repeat(32)};i=${index.toString(16)};b=${'0'.repeat(32)};m=1;t=${index.toString(16)};x=1`,
        time: ago(index * 47),
        unit: 'ssh.service',
        program: ['sshd', 'kernel', 'pi-gatewayd', 'systemd'][index % 4] ?? '',
        pid: 800 + index,
        priority: index % 11 === 3 ? 'warning' : index % 17 === 5 ? 'err' : 'info',
        message:
          [
            'Accepted publickey for gateway from 192.168.40.21 port 51122',
            'wg0: handshake for peer 4 completed',
            'VPN client anns-phone connected',
            'Started apt-daily.service',
          ][index % 4] ?? '',
      })),
      next: null,
    }),
  } as StandIn;
}

export type TestGateway = {
  url: string;
  world: World;
  /** Away, as while it starts again: nothing listens. */
  pause(): Promise<void>;
  /** There again, at the same port, with the same accounts. */
  resume(): Promise<void>;
  stop(): Promise<void>;
};

export const dashboard = {
  html: 'gateway/web/index.html',
  worker: 'gateway/web/service-worker.ts',
  folder: '',
} as const;

/** @param every milliseconds between two measurements */
export async function startGateway(o: {
  clients: number;
  every?: number;
  /** Puts further files below the gateway's root, e.g. an extension. */
  install?: (root: string) => Promise<unknown>;
  /** Programs of the device that the test has instead of this machine's. */
  run?: System['run'];
  /** What the helper answers to a verb that has no answer here. */
  verb?: (verb: string, args: unknown, system: System) => unknown;
}): Promise<TestGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-web-'));
  const root = resolve(import.meta.dirname, '../..');
  const pages = join(folder, 'dashboard');
  await mkdir(pages);
  for (const { path, content } of await bundleAssets(root, dashboard))
    await writeFile(join(pages, basename(path)), content);
  await mkdir(join(folder, 'var/lib/pi-gatewayd'), { recursive: true });
  const certificate = await testCertificate(folder);
  const world = new World(o.clients);
  const monitor = new StandInMonitor(world);
  let claimed = false;
  const helper: Helper = {
    call: (async (verb: string, args: { code?: string }) => {
      world.calls.push(verb);
      if (verb === 'claim.use') {
        if (args.code !== claimCode)
          throw new GatewayError(
            'That is not the claim code',
            'It is in gateway-status.txt',
            'refused',
          );
        claimed = true;
        return {};
      }
      if (verb === 'claim.status') return { claimed };
      if (verb === 'audit.list')
        return {
          entries: [
            {
              time: ago(300),
              name: 'ada',
              via: 'api',
              address: '192.168.40.21',
              action: 'vpn.add',
              details: { name: 'anns-phone' },
              outcome: 'done',
            },
            {
              time: ago(4000),
              name: 'gateway',
              via: 'cli',
              address: null,
              action: 'firewall.apply',
              details: {},
              outcome: 'refused',
            },
          ],
        };
      return (await o.verb?.(verb, args, system)) ?? {};
    }) as Helper['call'],
  };
  const system: System = {
    ...deviceSystem(() => undefined),
    root: folder,
    boot: folder,
    ...(o.run ? { run: o.run } : {}),
  };
  const table = standIns(world);
  const operationsHere = operations.map((operation): Operation => {
    const own = table[operation.id];
    return (
      own ? { ...operation, run: async (_, input) => own(input as never) } : operation
    ) as Operation;
  });
  await o.install?.(folder);
  const routes = await routeOperations(system);
  let port = 0;
  const begin = (): Promise<Api> =>
    startApi({
      system,
      kernel: world.kernel,
      monitor,
      alerts: undefined as never,
      helper,
      operations: [...operationsHere, ...routes],
      settings: () => ({ session_idle_minutes: 60, session_hours: 12, names: [] }),
      certificate,
      listen: [{ host: '127.0.0.1', port }],
      version: '0.0.0',
      dashboard: pages,
    });
  let api: Api | undefined = await begin();
  port = api.addresses[0]?.port ?? 0;
  monitor.start(o.every ?? 2000);
  const pause = async () => {
    await api?.close();
    api = undefined;
  };
  return {
    url: `https://localhost:${port}/`,
    world,
    pause,
    resume: async () => {
      api = await begin();
    },
    stop: async () => {
      monitor.stop();
      await pause();
      await rm(folder, { recursive: true });
    },
  };
}
