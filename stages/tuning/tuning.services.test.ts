import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordFigure } from '../../builder/lab/figures.ts';
import { lab } from '../../builder/lab/harness.ts';
import { outside } from '../../builder/lab/lab.ts';
import type { Running } from '../../builder/lab/namespace.ts';
import type { Measurement, MtuReport, TuningView } from '../../gateway/tuning/view.ts';

/** The device on a line of 10 Mbit/s whose modem has a buffer for more than a second, in each direction. */
const { lan, peer, ssh, sshResult, wan } = lab();
const mbit = 10;
let iperf: Running;

const tbf = ['root', 'tbf', 'rate', `${mbit}mbit`, 'burst', '16kb', 'limit', '1500kb'];

beforeAll(async () => {
  // Downloads wait where they leave for the device; uploads where they have come in.
  await wan.run('tc', ['qdisc', 'add', 'dev', 'eth0', ...tbf]);
  await wan.run('ip', ['link', 'add', 'name', 'ifb0', 'type', 'ifb']);
  await wan.run('ip', ['link', 'set', 'dev', 'ifb0', 'up']);
  await wan.run('tc', ['qdisc', 'add', 'dev', 'ifb0', ...tbf]);
  await wan.run('tc', ['qdisc', 'add', 'dev', 'eth0', 'handle', 'ffff:', 'ingress']);
  await wan.run('tc', [
    ...['filter', 'add', 'dev', 'eth0', 'parent', 'ffff:', 'protocol', 'all', 'prio', '10'],
    ...['u32', 'match', 'u32', '0', '0', 'action', 'mirred', 'egress', 'redirect', 'dev', 'ifb0'],
  ]);
  // This machine's own congestion control would keep queues short by itself.
  for (const host of [peer, lan])
    await host.run('sysctl', ['-qw', 'net.ipv4.tcp_congestion_control=reno']);
  // Beyond the modem: what the modem itself sends does not wait in its own queue (TCP small queues).
  iperf = peer.start('iperf3', ['--server', '--forceflush']);
  await iperf.said('Server listening', 20);
});
afterAll(async () => {
  await sshResult("sudo pi-gateway config set tuning '{}'");
  await iperf?.stop();
  await wan.run('tc', ['qdisc', 'del', 'dev', 'eth0', 'root']);
  await wan.run('tc', ['qdisc', 'del', 'dev', 'eth0', 'ingress']);
  await wan.run('ip', ['link', 'del', 'ifb0']);
});

const view = async () => JSON.parse(await ssh('sudo pi-gateway net tune --json', 60)) as TuningView;
const sysctl = async (key: string) => (await ssh(`sudo sysctl -n ${key}`)).trim();

test('is in force since the start: BBR, buffers, and all CPUs work on what comes', async () => {
  const { available, status } = await view();
  expect(available).toBe(true);
  expect(status?.notes).toEqual([]);
  expect(await sysctl('net.ipv4.tcp_congestion_control')).toBe('bbr');
  expect(await sysctl('net.core.rmem_max')).toBe('7500000');
  expect(await sysctl('net.ipv4.tcp_mtu_probing')).toBe('1');
  for (const { queue, cpus } of status?.spread.queues ?? []) {
    const [adapter, name] = queue.split('/');
    const mask = await ssh(`cat /sys/class/net/${adapter}/queues/${name}/rps_cpus`);
    expect(Number.parseInt(mask, 16), queue).toBe(Number.parseInt(cpus, 16));
  }
  expect(status?.spread.queues.length).toBeGreaterThan(0);
  expect((await ssh('systemctl is-failed pi-gateway-tuning.service || true')).trim()).toBe(
    'inactive',
  );
});

test('shaping by cake takes four fifths of the latency that load adds, in both directions', async () => {
  await ssh(
    "sudo pi-gateway config set tuning.uplinks '[{interface: eth0, upload: 9, download: 9}]'",
    180,
  );
  const { status } = await view();
  expect(status?.uplinks).toEqual([{ interface: 'eth0', shaper: 'cake', upload: 9, download: 9 }]);
  const text = await ssh(
    // CUBIC, or its own end of the transfer would keep the modem's queue short.
    `sudo sysctl -qw net.ipv4.tcp_congestion_control=cubic && sudo pi-gateway net tune --measure --server ${outside.peer4} --seconds 8 --json`,
    240,
  );
  const result = JSON.parse(text) as Measurement;
  await recordFigure('bufferbloat on 10 Mbit/s', {
    unit: 'ms',
    idle: result.idle_ms,
    'upload, before': result.before.upload_ms,
    'upload, after': result.after?.upload_ms ?? 0,
    'download, before': result.before.download_ms,
    'download, after': result.after?.download_ms ?? 0,
  });
  console.info(JSON.stringify(result));
  expect(result.before.download_ms).toBeGreaterThan(result.idle_ms + 200);
  expect(result.ratio, JSON.stringify(result)).toBeLessThanOrEqual(0.2);
  expect(result.after?.download_mbit).toBeGreaterThan(0.7 * 9);
  expect((await view()).measurement?.ratio).toBe(result.ratio);
});

test('a device of the lan that is behind it has the same: its pings stay quick beside its download', async () => {
  const load = lan.start('iperf3', [
    ...['--client', outside.peer4, '--reverse', '--time', '14', '--parallel', '4'],
  ]);
  await new Promise((resolve) => setTimeout(resolve, 4000));
  const { stdout } = await lan.run('ping', ['-n', '-i', '0.3', '-c', '20', outside.peer4]);
  await load.stop();
  const times = [...stdout.matchAll(/time=([\d.]+)/g)].map((one) => Number(one[1]));
  times.sort((a, b) => a - b);
  expect(times[Math.floor(times.length / 2)], stdout).toBeLessThan(200);
});

test('classes are marked on the way out, sorted by cake, and their answers too', async () => {
  await ssh("sudo pi-gateway config set tuning.classes '[{class: voice, udp: [40000]}]'", 180);
  expect((await view()).status?.notes).toEqual([]);
  expect(await ssh('sudo tc filter show dev eth0 ingress')).toContain('ctinfo');
  const answers = wan.start(process.execPath, [
    '-e',
    `const s = require('node:dgram').createSocket('udp4'); s.on('message', (m, f) => s.send(m, f.port, f.address)); s.bind(40000, '${outside.server4}', () => console.log('ready'))`,
  ]);
  await answers.said('ready', 10);
  const tin = async (device: string) => {
    const [{ tins = [] } = {}] = JSON.parse(
      await ssh(`sudo tc -s -j qdisc show dev ${device} root`),
    ) as { tins?: { sent_packets: number }[] }[];
    // diffserv4: bulk, best effort, video, voice (tc-cake(8)).
    return tins[3]?.sent_packets ?? -1;
  };
  const before = [await tin('eth0'), await tin('ifb4eth0')];
  await lan.run(process.execPath, [
    '-e',
    `const s = require('node:dgram').createSocket('udp4'); let n = 0; const t = setInterval(() => { s.send('call', 40000, '${outside.server4}'); if (++n === 20) { clearInterval(t); setTimeout(() => s.close(), 2000); } }, 50);`,
  ]);
  expect((await tin('eth0')) - (before[0] ?? 0)).toBeGreaterThanOrEqual(20);
  // Of the first answers the connection has its class already.
  expect((await tin('ifb4eth0')) - (before[1] ?? 0)).toBeGreaterThanOrEqual(15);
  await answers.stop();
});

test('the MTU of a path is found, and the owner’s word changes that of the VPN, and back', async () => {
  await wan.run('ip', ['link', 'set', 'dev', 'peer', 'mtu', '1400']);
  await peer.run('ip', ['link', 'set', 'dev', 'eth0', 'mtu', '1400']);
  const report = JSON.parse(
    await ssh(`sudo pi-gateway net mtu ${outside.peer4} --json`, 120),
  ) as MtuReport;
  expect(report.paths).toEqual([{ address: outside.peer4, by: 'ping', mtu: 1400, vpn_mtu: 1340 }]);
  expect(report.suggestion).toBe(1340);
  const mtu = async () => Number(await ssh('cat /sys/class/net/wg0/mtu'));
  const usual = await mtu();
  await ssh('sudo pi-gateway config set tuning.vpn_mtu 1340', 180);
  expect(await mtu()).toBe(1340);
  await ssh('sudo systemctl restart wg-quick@wg0.service', 120);
  await expect.poll(mtu, { timeout: 60_000, interval: 2000 }).toBe(1340);
  await ssh('sudo pi-gateway config unset tuning.vpn_mtu', 180);
  expect(await mtu()).toBe(usual);
  await wan.run('ip', ['link', 'set', 'dev', 'peer', 'mtu', '1500']);
  await peer.run('ip', ['link', 'set', 'dev', 'eth0', 'mtu', '1500']);
});

test('what is no uplink is refused, and nothing was changed', async () => {
  const { exitCode, stderr } = await sshResult(
    "sudo pi-gateway config set tuning.uplinks '[{interface: eth1, upload: 9}]'",
  );
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain('is of the zone lan, and no uplink');
});

test('taken out of the settings, all of it is as it was', async () => {
  await ssh(
    "sudo pi-gateway config set tuning '{congestion: cubic, buffers: false, spread: false}'",
    180,
  );
  expect(await ssh('sudo tc qdisc show')).not.toMatch(/cake|ingress/);
  expect(await ssh('ip -o link')).not.toContain('ifb4eth0');
  expect((await sshResult('sudo nft list table inet gateway_classes')).exitCode).not.toBe(0);
  expect(await sysctl('net.core.rmem_max')).not.toBe('7500000');
  expect(await sysctl('net.ipv4.tcp_mtu_probing')).toBe('0');
  expect(await ssh('cat /sys/class/net/eth0/queues/rx-0/rps_cpus')).toMatch(/^0+\s*$/);
});
