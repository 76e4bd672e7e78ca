import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Now } from './board.ts';
import { Files } from './files.ts';

/** A device's /proc and /sys in a folder. */
export class Tree {
  readonly root = mkdtempSync(join(tmpdir(), 'pi-gateway-monitor-'));
  readonly files = new Files(this.root);

  put(path: string, content: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), content);
  }

  /** @param time Seconds since 1970 of its last change. */
  stamp(path: string, time: number): void {
    this.put(path, '');
    utimesSync(join(this.root, path), time, time);
  }

  take(path: string): void {
    rmSync(join(this.root, path), { recursive: true, force: true });
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  /** A Pi that is well: 4 cores, 1 GB, one interface, a card. */
  furnish(): void {
    this.processor([100, 100, 100, 100], 100);
    this.put('/proc/loadavg', '0.10 0.20 0.30 2/150 4242\n');
    this.memory(40);
    this.put('/proc/net/dev', netDev({ lo: [1, 1], eth0: [1000, 500] }));
    this.put('/proc/net/route', route('eth0', 'C0A80101'));
    this.put('/proc/sys/net/netfilter/nf_conntrack_count', '100\n');
    this.put('/proc/sys/net/netfilter/nf_conntrack_max', '1000\n');
    this.put(
      '/proc/pressure/memory',
      'some avg10=0.00 avg60=1.50 avg300=0.00 total=1\nfull avg10=0.00\n',
    );
    this.put('/proc/self/mountinfo', '22 1 179:2 / / ro,relatime shared:1 - ext4 /dev/root rw\n');
    this.put('/proc/uptime', '1000.00 3000.00\n');
    this.put('/sys/class/thermal/thermal_zone0/temp', '48123\n');
    this.put('/sys/class/hwmon/hwmon0/temp1_input', '51500\n');
    this.put('/sys/devices/platform/soc/soc:firmware/get_throttled', '50000\n');
    this.put('/sys/block/mmcblk0/device/life_time', '0x02 0x03\n');
    this.put('/sys/block/mmcblk0/device/pre_eol_info', '0x01\n');
    this.put('/sys/block/mmcblk0/stat', '1 2 1024 4 5 6 2048 8 9 10 11\n');
    this.put('/usr/share/pi-gateway/image.json', '{\n  "name": "attic"\n}\n');
  }

  /** Jiffies that each core was busy since boot, of `total`. */
  processor(busy: readonly number[], total: number): void {
    const line = (name: string, used: number, all: number) =>
      `${name} ${used} 0 0 ${Math.max(0, all - used)} 0 0 0 0 0 0`;
    const sum = busy.reduce((all, one) => all + one, 0);
    this.put(
      '/proc/stat',
      [
        line('cpu ', sum, total * busy.length),
        ...busy.map((one, index) => line(`cpu${index}`, one, total)),
        'intr 1 2 3',
        'ctxt 1',
        '',
      ].join('\n'),
    );
  }

  memory(used: number): void {
    this.put(
      '/proc/meminfo',
      `MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: ${(100 - used) * 10} kB\nSwapTotal: 500 kB\nSwapFree: 400 kB\n`,
    );
  }
}

export function netDev(
  interfaces: Record<string, readonly [received: number, sent: number]>,
): string {
  return [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop',
    ...Object.entries(interfaces).map(
      ([name, [received, sent]]) =>
        `${name.padStart(6)}: ${received} 1 2 3 0 0 0 0 ${sent} 1 4 5 0 0 0 0`,
    ),
    '',
  ].join('\n');
}

/** A default route by way of a gateway, in the kernel's notation. */
export function route(device: string, gateway: string): string {
  const swapped = (gateway.match(/../g) ?? []).toReversed().join('');
  return `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n${device}\t00000000\t${swapped}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n`;
}

/** A clock that goes only when it is told to. */
export class TestClock {
  time: number;
  steady = 1000;

  constructor(time = Date.UTC(2026, 5, 1) / 1000) {
    this.time = time;
  }

  pass(seconds: number): void {
    this.time += seconds;
    this.steady += seconds;
  }

  get now(): () => Now {
    return () => ({ time: this.time, steady: this.steady });
  }
}

/** A TCP port of loopback on which nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

/** Normal noise of mean 0 and deviation 1, the same each time (mulberry32, Box-Muller). */
export function noise(seed: number): () => number {
  let state = seed;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform() || 1e-12)) * Math.cos(2 * Math.PI * uniform());
}
