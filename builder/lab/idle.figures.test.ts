import { afterAll, beforeAll, expect, test } from 'vitest';
import { applySettings } from './device-api.ts';
import { recordFigure } from './figures.ts';
import { lab } from './harness.ts';
import { costOf, type Moment, momentScript, readMoment } from './idle.ts';
import { outside } from './lab.ts';

/**
 * What the gateway costs when nobody asks it anything: 5 minutes, or PI_GATEWAY_IDLE_MINUTES of them. The emulated
 * processor is many times slower than a Pi's, so its share is an upper bound; memory and bytes are as on a Pi.
 */
const { ssh, sshResult } = lab();
const minutes = Number(process.env.PI_GATEWAY_IDLE_MINUTES ?? 5);

const moment = async (): Promise<Moment> =>
  readMoment(await ssh('sudo sh -s', 120, Buffer.from(momentScript)));

beforeAll(async () => {
  // As at home, where there is an internet to be seen.
  await applySettings(ssh, {
    monitor: {
      targets: [{ host: outside.server4, port: 9 }],
      dns_name: outside.name,
      time_server: '',
    },
  });
  // Monitoring begins two minutes after the start, and what was late with that has ended by then.
  await ssh('while [ "$(cut -d. -f1 /proc/uptime)" -lt 360 ]; do sleep 5; done', 400);
  await expect
    .poll(
      async () => (await sshResult('systemctl is-active pi-gateway-helper.service')).stdout.trim(),
      { timeout: 150_000, interval: 10_000 },
    )
    .toBe('inactive');
});
afterAll(() => applySettings(ssh, {}));

test(`idle for ${minutes} min: at most 100 MB of memory and 1 % of the processor`, {
  timeout: (minutes + 10) * 60_000,
}, async () => {
  const before = await moment();
  await new Promise((resolve) => setTimeout(resolve, minutes * 60_000));
  const after = await moment();
  const { cpu, cpuByUnit, systemd, written, writtenByUnit, seconds } = costOf(before, after);
  const mebibytes = (of: 'rss' | 'pss') =>
    after.processes.reduce((sum, one) => sum + one[of], 0) / 1024;
  const day = (bytes: number) => Math.round((bytes * 86_400) / seconds);
  await recordFigure('idle', {
    seconds,
    memory: {
      unit: 'MiB',
      rss: mebibytes('rss'),
      pss: mebibytes('pss'),
      processes: after.processes.map(({ unit, name, rss, pss }) => ({
        unit,
        name,
        rss: rss / 1024,
        pss: pss / 1024,
      })),
    },
    cpu: {
      unit: '% on an emulated processor',
      of_one_core: cpu,
      of_the_device: cpu / after.cores,
      of_one_core_by_unit: cpuByUnit,
      systemd_of_one_core: systemd,
    },
    written: {
      unit: 'bytes in a day',
      whole_device: day(written),
      by_unit: Object.fromEntries(
        Object.entries(writtenByUnit).map(([unit, bytes]) => [unit, day(bytes)]),
      ),
    },
  });
  const units = new Set(after.processes.map(({ unit }) => unit));
  expect(units).toContain('pi-gatewayd.service');
  expect(units).toContain('prometheus-node-exporter.service');
  // What is not asked for is not there.
  expect([...units].filter((unit) => /helper|ddns|settings|update/.test(unit))).toEqual([]);
  expect(mebibytes('rss')).toBeLessThanOrEqual(100);
  expect(cpu / after.cores).toBeLessThanOrEqual(1);
});
