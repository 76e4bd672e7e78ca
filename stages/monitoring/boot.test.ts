import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('metrics are there, with ours among them, on loopback alone', async () => {
  await device().ssh('sudo systemctl start pi-gateway-metrics.service');
  const program =
    "fetch('http://127.0.0.1:9100/metrics').then(r => r.text()).then(t => console.log(t))";
  const metrics = await device().ssh(`node -e "${program}"`);
  expect(metrics).toMatch(/^node_memory_MemAvailable_bytes /m);
  expect(metrics).toContain('pi_gateway_image_info{name="pi-gateway"} 1');
  expect(await device().ssh('sudo ss -Hlnt sport = :9100')).toMatch(/127\.0\.0\.1:9100/);
});
