import type { Answer } from './lib/api.ts';

/** What the gateway of the dashboard's tests says of its router, its network tuning and its remote desktop. */

export const routerNow: Omit<Answer<'get', '/router'>, 'reached'> = {
  available: true,
  mapping: 'auto',
  running: false,
  status: {
    checked_at: '2026-11-02T08:00:00.000Z',
    state: 'mapped',
    summary: 'The router lets UDP 51820 through, asked by PCP',
    families: [
      {
        family: 4,
        own: '192.168.1.20',
        router: '192.168.1.1',
        method: 'pcp',
        external_address: '203.0.113.24',
        ports: [{ internal: 51_820, external: 51_820, lifetime: 7200 }],
        notes: [],
      },
    ],
  },
  line: {
    state: 'ok',
    found: 'The router 192.168.1.1 has 203.0.113.24 outside, as others see it',
    why: null,
    fix: null,
  },
  guide: {
    device: 'eth0',
    mac: 'd8:3a:dd:00:00:01',
    own4: '192.168.1.20',
    own6: null,
    router4: '192.168.1.1',
    router6: null,
    forwards: [
      { name: 'wireguard', protocol: 'udp', external_port: 51_820, internal_port: 51_820 },
    ],
    steps: [
      "Open the router's page, usually http://192.168.1.1/, and log in as its admin.",
      'Port forwarding: UDP, port 51820 from outside to 192.168.1.20, port 51820 (wireguard).',
    ],
  },
};

export const tuningNow: Answer<'get', '/tuning'> = {
  available: true,
  running: null,
  status: {
    applied_at: '2026-11-02T08:00:00.000Z',
    model: 'Raspberry Pi 4 Model B Rev 1.4',
    sysctls: [{ key: 'net.ipv4.tcp_congestion_control', value: 'bbr', before: 'cubic' }],
    uplinks: [{ interface: 'eth0', shaper: 'cake', upload: 18, download: 90 }],
    spread: {
      why: "Ethernet's two interrupts (bcmgenet) go to CPU 1",
      interrupts: [{ irq: 31, cpus: '2' }],
      queues: [{ queue: 'eth0/rx-0', cpus: 'd' }],
    },
    vpn_mtu: null,
    notes: [],
  },
  mtu: {
    checked_at: '2026-11-02T08:00:00.000Z',
    paths: [{ address: '198.51.100.7', by: 'ping', mtu: 1492, vpn_mtu: 1432 }],
    current: 1420,
    suggestion: 1432,
  },
  measurement: {
    measured_at: '2026-11-02T08:00:00.000Z',
    server: '198.51.100.9',
    idle_ms: 11,
    before: { upload_mbit: 19.6, upload_ms: 640, download_mbit: 97.1, download_ms: 120 },
    after: { upload_mbit: 17.7, upload_ms: 14, download_mbit: 88.2, download_ms: 16 },
    ratio: 0.009,
  },
};

export const desktopNow: Answer<'get', '/desktop'> = {
  available: true,
  state: 'stopped',
  address: '10.66.0.1',
  port: 5900,
  idle_minutes: 15,
  since: null,
};
