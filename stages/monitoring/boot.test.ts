import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

/** Seconds until services count after a start, and until what has failed is told: start.ts, board.ts. */
const told = { timeout: 300_000, interval: 3000 };

const daemonLog = () => device().ssh('sudo journalctl -b -u pi-gatewayd -o cat');

/** What the daemon answers root over its own socket. */
async function ask(path: string): Promise<string> {
  const program = `require('http').get({socketPath:'/run/pi-gatewayd/api.sock',path:'${path}',headers:{host:'localhost'}},r=>{r.setEncoding('utf8');let t='';r.on('data',d=>t+=d).on('end',()=>console.log(t))})`;
  return await device().ssh(`sudo node -e "${program}"`);
}

test("node exporter's metrics are on loopback alone", async () => {
  const program =
    "require('http').get('http://127.0.0.1:9100/metrics',r=>{r.setEncoding('utf8');let t='';r.on('data',d=>t+=d).on('end',()=>console.log(t))})";
  const metrics = await device().ssh(`node -e "${program}"`);
  expect(metrics).toMatch(/^node_memory_MemAvailable_bytes /m);
  expect(metrics).toMatch(/^node_systemd_unit_state\{name="ssh\.service",state="active".*\} 1$/m);
  expect(await device().ssh('sudo ss -Hlnt sport = :9100')).toMatch(/127\.0\.0\.1:9100/);
});

test("the daemon's metrics are there, of a device that is well", async () => {
  await expect
    .poll(() => ask('/metrics'), told)
    .toMatch(/^pi_gateway_check_ok\{check="unit:ssh\.service"\} 1$/m);
  const metrics = await ask('/metrics');
  expect(metrics).toContain('pi_gateway_image_info{name="pi-gateway"} 1');
  expect(metrics).toMatch(/^pi_gateway_disk_written_bytes_total\{device="vda"\} [1-9]/m);
  expect(metrics).toMatch(/^pi_gateway_wireguard_peers \d+$/m);
  expect(metrics).toMatch(/^pi_gateway_firewall_packets_total\{counter="/m);
  expect(metrics).toMatch(/^pi_gateway_failed_units 0$/m);
  // Systemd answers, the firewall's rules are in force, and what the image opens is open.
  for (const check of [
    'unit:nftables.service',
    'unit:wg-quick@wg0.service',
    'port:ssh/tcp',
    'port:wireguard/udp',
    'route',
  ])
    expect(metrics).toContain(`pi_gateway_check_ok{check="${check}"} 1`);
});

test('a service that is killed comes back, and nobody is told', async () => {
  await device().ssh('sudo systemctl kill --signal=SEGV prometheus-node-exporter');
  await expect
    .poll(() => device().ssh('systemctl is-active prometheus-node-exporter || true'), {
      timeout: 60_000,
      interval: 2000,
    })
    .toBe('active\n');
  expect(await daemonLog()).not.toContain('Alert: Node exporter');
});

test('a service that does not run is told once, to the hooks too, and that it runs again', async () => {
  await device().ssh(
    "printf '#!/bin/sh\\ncat\\n' | sudo install -m 0755 /dev/stdin /etc/pi-gateway/alerts.d/50-probe",
  );
  const hooked = () => device().ssh('sudo journalctl -b -t pi-gateway-alert -o cat');
  try {
    await device().ssh('sudo systemctl stop prometheus-node-exporter');
    await expect.poll(daemonLog, told).toContain('Alert: Node exporter: It does not run');
    await expect
      .poll(hooked, told)
      .toMatch(/"event":"fired","alert":"check:unit:prometheus-node-exporter\.service"/);
  } finally {
    await device().ssh('sudo systemctl start prometheus-node-exporter');
  }
  await expect.poll(daemonLog, told).toMatch(/Resolved: Node exporter/);
  await expect.poll(hooked, told).toContain('"event":"resolved"');
  expect((await daemonLog()).match(/Alert: Node exporter/g)).toHaveLength(1);
  await device().ssh('sudo rm /etc/pi-gateway/alerts.d/50-probe');
});

test('the history is on the card once the daemon has ended, and is there again', async () => {
  const history = async () =>
    JSON.parse(await ask('/api/v1/metrics/history?series=memory.used&span=3600')) as {
      series: { values: (number | null)[] }[];
    };
  const measured = async () =>
    (await history()).series[0]?.values.filter((value) => value !== null).length ?? 0;
  await expect.poll(measured, told).toBeGreaterThan(2);
  await device().ssh('sudo systemctl restart pi-gatewayd');
  expect(await device().ssh('sudo head -c 7 /var/lib/pi-gatewayd/history.bin')).toBe('PGHIST1');
  await expect.poll(() => measured().catch(() => 0), told).toBeGreaterThan(2);
  expect(await daemonLog()).not.toMatch(/history.*(damaged|anew)|cannot be saved/);
});
