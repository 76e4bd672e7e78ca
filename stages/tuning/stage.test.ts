import { expect, test } from 'vitest';
import { autorateFile, stageFile } from '../../gateway/tuning/request.ts';
import { statusFile } from '../../gateway/tuning/view.ts';
import { exposure } from '../exposure.ts';
import { renderStage } from '../testing.ts';
import { tuning } from './stage.ts';

const units = '/usr/lib/systemd/system';
const packages = (options: object) => tuning.packages?.(tuning.options.parse(options));

test('is in no image that does not name it', () => {
  expect(tuning.enabledByDefault).toBe(false);
});

test('brings iperf3 for measurements, unless its owner does without', () => {
  expect(packages({})).toContain('iperf3');
  expect(packages({ measure: false })).not.toContain('iperf3');
});

test('runs at the start without holding it up, again for adapters that come later, and with the VPN', async () => {
  const files = await renderStage(tuning);
  const text = files.text(`${units}/pi-gateway-tuning.service`);
  expect(text).toMatch(/^After=network\.target /m);
  expect(text).not.toMatch(/^Before=/m);
  expect(text).toMatch(/^ProtectKernelModules=yes$/m);
  expect(statusFile).toBe(`/run/${/^RuntimeDirectory=(.*)$/m.exec(text)?.[1]}/status.json`);
  expect(files.text('/usr/lib/udev/rules.d/90-pi-gateway-tuning.rules')).toContain(
    'SYSTEMD_WANTS}+="pi-gateway-tuning.service"',
  );
  expect(files.text('/etc/systemd/system/wg-quick@wg0.service.d/30-tuning.conf')).toContain(
    'Wants=pi-gateway-tuning.service',
  );
  expect(files.text(stageFile)).not.toBe('');
});

test('rates follow the latency only where the owner has asked for it', async () => {
  const text = (await renderStage(tuning)).text(`${units}/pi-gateway-autorate.service`);
  expect(text).toContain(`ConditionPathExists=${autorateFile}\n`);
});

test('its services are exposed at most 2.0 of 10 (systemd-analyze security)', async () => {
  const files = await renderStage(tuning);
  for (const name of ['pi-gateway-tuning.service', 'pi-gateway-autorate.service'])
    expect(await exposure(name, files.text(`${units}/${name}`)), name).toBeLessThanOrEqual(2);
});
