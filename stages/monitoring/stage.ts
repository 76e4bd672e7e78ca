import { z } from 'zod';
import { port } from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

export const monitoring = defineStage({
  name: 'monitoring',
  summary: 'Prometheus node exporter on loopback, with temperature and throttling',
  options: z.strictObject({
    port: port.default(9100).describe('TCP port on 127.0.0.1'),
  }),
  packages: () => ['prometheus-node-exporter'],
  ports: (o) => [{ port: o.port, protocol: 'tcp', zones: [], path: ['port'], name: 'metrics' }],
  services: () => ({
    enable: ['prometheus-node-exporter', 'pi-gateway-metrics.timer'],
  }),
});
