import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project } from '../../builder/testing/build.ts';
import { requestFile, stageFile } from '../../gateway/portmap/request.ts';
import { statusFile } from '../../gateway/portmap/view.ts';
import { exposure } from '../exposure.ts';
import { renderStage } from '../testing.ts';
import { portmap } from './stage.ts';

const unit = '/usr/lib/systemd/system/pi-gateway-portmap.service';

test('is in no image that does not name it', () => {
  expect(portmap.enabledByDefault).toBe(false);
});

test('asks again by a timer, and only where there is something to ask for or to take back', async () => {
  const files = await renderStage(portmap);
  expect(portmap.services?.(portmap.options.parse({}))).toEqual({
    enable: ['pi-gateway-portmap.timer'],
  });
  const timer = files.text(unit.replace('.service', '.timer'));
  // A lease is at least an hour: three tries are missed before it ends.
  expect(timer).toMatch(/^OnUnitInactiveSec=15min$/m);
  expect(timer).toMatch(/^RandomizedDelaySec=/m);
  expect(files.text(unit)).toContain(`ConditionPathExists=|${requestFile}\n`);
  expect(files.text(unit)).toContain(
    'ConditionPathExists=|/var/lib/pi-gateway-portmap/state.json\n',
  );
});

test('opens no port, has a user of its own without privileges, and leaves its status where it is read', async () => {
  const files = await renderStage(portmap);
  const text = files.text(unit);
  expect(portmap.ports).toBeUndefined();
  for (const line of ['User=pi-gateway-portmap', 'CapabilityBoundingSet=', 'NoNewPrivileges=yes'])
    expect(text.split('\n')).toContain(line);
  expect(statusFile).toBe(`/run/${/^RuntimeDirectory=(.*)$/m.exec(text)?.[1]}/status.json`);
  expect(files.text(stageFile)).not.toBe('');
  const [bundle] = portmap.bundles ?? [];
  expect(text).toContain(`ExecStart=/usr/bin/node --jitless --no-expose-wasm ${bundle?.path}\n`);
  expect(await readFile(join(project, bundle?.entry ?? ''), 'utf8')).toContain('STATE_DIRECTORY');
});

test('is exposed at most 2.0 of 10 (systemd-analyze security)', async () => {
  const files = await renderStage(portmap);
  expect(await exposure('pi-gateway-portmap.service', files.text(unit))).toBeLessThanOrEqual(2);
});
