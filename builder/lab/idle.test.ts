import { readdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { output } from '../exec.ts';
import { costOf, momentScript, readMoment } from './idle.ts';

const before = `at 100.50
cores 2
cpu 1000000 init.scope
cpu 90000000 system.slice
cpu 5000000 system.slice/pi-gatewayd.service
cpu 40000000 system.slice/chrony.service
cpu 100000 system.slice/system-pi\\x2dgateway\\x2dstate.slice
sectors 1000
process 71 51200 30720 4096 node /system.slice/pi-gatewayd.service
process 72 10240 5120 0 prometheus-node /system.slice/prometheus-node-exporter.service
`;
const after = `at 200.50
cores 2
cpu 1500000 init.scope
cpu 93000000 system.slice
cpu 5500000 system.slice/pi-gatewayd.service
cpu 42000000 system.slice/chrony.service
cpu 200000 system.slice/system-pi\\x2dgateway\\x2dstate.slice
sectors 1200
process 71 51200 30720 12288 node /system.slice/pi-gatewayd.service
process 72 10240 5120 0 prometheus-node /system.slice/prometheus-node-exporter.service
`;

test('the cost is what all used but those that are not the gateway, what came and went included', () => {
  const cost = costOf(readMoment(before), readMoment(after));
  // 3 s of the slice without 2 s of chrony's, in 100 s.
  expect(cost.cpu).toBeCloseTo(1);
  expect(cost.cpuByUnit['pi-gatewayd.service']).toBeCloseTo(0.5);
  expect(Object.keys(cost.cpuByUnit)).toHaveLength(2);
  expect(cost).toMatchObject({ seconds: 100, systemd: 0.5, written: 200 * 512 });
  expect(cost.writtenByUnit).toEqual({
    'pi-gatewayd.service': 8192,
    'prometheus-node-exporter.service': 0,
  });
});

test('the script says what this machine has', async () => {
  const { at, cores, processes } = readMoment(await output('sh', ['-c', momentScript]));
  expect(at).toBeGreaterThan(0);
  expect(cores).toBeGreaterThan(0);
  expect(processes).toEqual([]);
  const text = (await output('sh', ['-c', momentScript.replace('*pi-gateway*', '*')])).trim();
  const all = readMoment(text).processes;
  expect(all.length).toBeGreaterThan(1);
  expect(all.find(({ pid }) => pid === process.pid)?.rss).toBeGreaterThan(10_000);
  expect((await readdir('/proc')).length).toBeGreaterThan(all.length);
});
