import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('metrics are there, with ours among them, on loopback alone', async () => {
  await device().ssh('sudo systemctl start pi-gateway-metrics.service');
  const program =
    "fetch('http://127.0.0.1:9100/metrics').then(r => r.text()).then(t => console.log(t))";
  const metrics = await device().ssh(`node -e "${program}"`);
  expect(metrics).toMatch(/^node_memory_MemAvailable_bytes /m);
  expect(metrics).toMatch(/^node_systemd_unit_state\{name="ssh\.service",state="active".*\} 1$/m);
  expect(metrics).toContain('pi_gateway_image_info{name="pi-gateway"} 1');
  expect(metrics).toMatch(/^pi_gateway_disk_written_bytes\{device="vda"\} [1-9]/m);
  expect(await device().ssh('sudo ss -Hlnt sport = :9100')).toMatch(/127\.0\.0\.1:9100/);
});

test('a service that is killed comes back; one that cannot is told', async () => {
  await device().ssh('sudo systemctl kill --signal=SEGV prometheus-node-exporter');
  await expect
    .poll(() => device().ssh('systemctl is-active prometheus-node-exporter || true'), {
      timeout: 60_000,
      interval: 2000,
    })
    .toBe('active\n');
  await device().ssh('sudo systemctl start pi-gateway-alert@probe.service.service');
  await expect
    .poll(() => device().ssh('sudo journalctl -b -t pi-gateway-alert -o cat'), {
      timeout: 60_000,
      interval: 2000,
    })
    .toContain('Alert: probe.service has failed');
  await device().ssh('sudo rm /var/lib/pi-gateway/alerts/unit-probe.service');
});
