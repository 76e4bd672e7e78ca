import { expect, test } from 'vitest';
import { renderStage } from '../testing.ts';
import { monitoring } from './stage.ts';

test('metrics are served on loopback alone', async () => {
  const text = (await renderStage(monitoring, { port: 9200 })).text(
    '/etc/default/prometheus-node-exporter',
  );
  expect(text).toContain('--web.listen-address=127.0.0.1:9200 ');
});
