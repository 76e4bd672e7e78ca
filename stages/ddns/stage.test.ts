import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadConfig } from '../../builder/config/load.ts';
import { loadStages } from '../../builder/stages.ts';
import { project } from '../../builder/testing/build.ts';
import { statusFile } from '../../gateway/ddns/view.ts';
import { renderStage } from '../testing.ts';
import { ddns } from './stage.ts';

const unit = '/usr/lib/systemd/system/pi-gateway-ddns.service';
const packages = (options: object) => ddns.packages?.(ddns.options.parse(options));

test('is in the image unless it is turned off, and so are the stages that it needs', async () => {
  const stages = (await loadStages(project)).map((stage) => stage.definition);
  // Not the project's own folder: nobody's gateway.local.yaml counts.
  const root = join(project, 'environments');
  const { config } = await loadConfig({ root, file: join(project, 'gateway.yaml'), stages });
  for (const name of ['ddns', ...(ddns.needs ?? [])])
    expect(Object.keys(config.stages)).toContain(name);
});

test('brings nsupdate for name servers of the owner, unless they do without', () => {
  expect(packages({})).toEqual(['nodejs', 'ca-certificates', 'bind9-dnsutils']);
  expect(packages({ rfc2136: false })).toEqual(['nodejs', 'ca-certificates']);
});

test('runs by a timer, and only where the owner has given settings', async () => {
  const files = await renderStage(ddns);
  expect(ddns.services?.(ddns.options.parse({}))).toEqual({
    enable: ['pi-gateway-ddns.timer'],
  });
  const timer = files.text(unit.replace('.service', '.timer'));
  expect(timer).toMatch(/^OnUnitInactiveSec=5min$/m);
  expect(timer).toMatch(/^WantedBy=timers\.target$/m);
  expect(files.text(unit)).toMatch(/^ConditionPathExists=\/etc\/pi-gateway\/ddns\.yaml$/m);
});

test('starts the program that is bundled, which finds its settings and leaves its status where the unit says', async () => {
  const text = (await renderStage(ddns)).text(unit);
  const value = (key: string) => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  const [bundle] = ddns.bundles ?? [];
  expect(value('ExecStart')).toBe(`/usr/bin/node --jitless --no-expose-wasm ${bundle?.path}`);
  const main = await readFile(join(project, bundle?.entry ?? ''), 'utf8');
  const [credential = ''] = value('LoadCredential').split(':');
  expect(main).toContain(`'${credential}'`);
  expect(statusFile).toBe(`/run/${value('RuntimeDirectory')}/status.json`);
});

test('keeps the token from everybody: a user of its own, no privileges, no dump, nothing in arguments or environment', async () => {
  const text = (await renderStage(ddns)).text(unit);
  for (const line of [
    'User=pi-gateway-ddns',
    'CapabilityBoundingSet=',
    'LimitCORE=0',
    'UMask=0077',
  ])
    expect(text.split('\n')).toContain(line);
  expect(text).not.toMatch(/^Environment/m);
  const users = (await renderStage(ddns)).text('/usr/lib/sysusers.d/pi-gateway-ddns.conf');
  expect(users).toMatch(/^u pi-gateway-ddns - /m);
});
