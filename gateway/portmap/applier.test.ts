import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { deviceSystem, type System } from '../../firstboot/system.ts';
import { settingsSchema } from '../settings/schema.ts';
import { routerApplier } from './applier.ts';
import { requestFile, stageFile } from './request.ts';
import { renew } from './verbs.ts';

let root: string;
let system: System;
let calls: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-portmap-'));
  await mkdir(join(root, stageFile, '..'), { recursive: true });
  await writeFile(join(root, stageFile), 'x');
  calls = [];
  system = {
    ...deviceSystem(() => undefined),
    root,
    run: async (command, args) => {
      calls.push([command, ...args].join(' '));
      return '';
    },
  };
});
afterEach(() => rm(root, { recursive: true }));

const settings = (text: object) => settingsSchema.parse(text);

test('unless the owner wants it there is nothing to ask for', async () => {
  expect(await routerApplier.files?.(system, settings({}))).toEqual({ [requestFile]: null });
});

test('what is asked for follows from the settings, with the port that clients are told', async () => {
  const files = await routerApplier.files?.(
    system,
    settings({ router: { mapping: 'auto' }, vpn: { endpoint_port: 443 } }),
  );
  expect(JSON.parse(files?.[requestFile] ?? '')).toEqual({
    mapping: 'auto',
    lease: 7200,
    ipv6: true,
    external_port: 443,
  });
});

test('a change starts the service, and nobody waits for a router', async () => {
  await routerApplier.activate(system, ['/etc/other']);
  expect(calls).toEqual([]);
  await routerApplier.activate(system, [requestFile]);
  expect(calls).toEqual(['systemctl restart --no-block pi-gateway-portmap.service']);
});

test('an image without the stage says what to put into gateway.yaml, and how it goes by hand', async () => {
  await rm(join(root, stageFile));
  const found = await routerApplier.check?.(system, settings({ router: { mapping: 'auto' } }));
  expect(found?.[0]?.message).toContain('stages: {portmap: {}}');
  expect(await routerApplier.check?.(system, settings({}))).toEqual([]);
  await expect(renew(system, 1)).rejects.toMatchObject({
    kind: 'missing',
    fix: expect.stringContaining('pi-gateway router guide'),
  });
});

test('a router that nobody wants to be asked is not asked by a command either', async () => {
  await expect(renew(system, 1)).rejects.toMatchObject({ kind: 'refused' });
  expect(calls.join('\n')).not.toContain('systemctl start');
});
