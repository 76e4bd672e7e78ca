import { afterEach, beforeEach, expect, test } from 'vitest';
import { TestDevice } from '../../firstboot/testing.ts';
import type { Context } from '../api/context.ts';
import { type Alerts, startAlerts } from './alerts.ts';
import { alertOperations } from './operations.ts';
import { alertSettings } from './settings.ts';
import { condition } from './testing.ts';

let device: TestDevice;
let alerts: Alerts;
let clock = Date.UTC(2026, 0, 2, 3, 4, 5);

beforeEach(async () => {
  device = await TestDevice.make();
  alerts = await startAlerts({
    system: device.system,
    settings: alertSettings.parse({
      channels: [{ type: 'ntfy', topic: 'attic-7hk2m9q4', server: 'https://127.0.0.1:1' }],
      heartbeat: { url: 'https://127.0.0.1:1/c0ffee00-1111' },
    }),
    host: 'attic',
    now: () => clock,
    journal: () => undefined,
  });
});
afterEach(async () => {
  await alerts.stop();
  await device.remove();
});

/** Operations of this area use nothing else of a context. */
const context = () => ({ alerts }) as unknown as Context;
const none = { params: undefined, query: undefined };

test('GET /alerts tells what is active, held back and over, as its schema says', async () => {
  const [list] = alertOperations;
  const look = () =>
    alerts.update(
      [
        condition('check:uplink', { severity: 'critical' }),
        condition('check:ddns', { needs: ['check:uplink'] }),
        condition('check:old', { active: clock < Date.UTC(2026, 0, 2, 3, 5) }),
      ],
      clock,
    );
  look();
  clock += 120_000;
  look();
  const answer = list.response?.parse(await list.run(context(), { ...none, body: undefined }));
  expect(answer).toMatchObject({
    active: [
      {
        source: 'check:uplink',
        severity: 'critical',
        fired_at: '2026-01-02T03:04:05.000Z',
        resolved_at: null,
        suppressed_by: null,
        flapping: false,
      },
    ],
    suppressed: [{ source: 'check:ddns', suppressed_by: 'check:uplink' }],
    recent: [{ source: 'check:old', resolved_at: '2026-01-02T03:06:05.000Z' }],
    channels: [{ name: 'hooks' }, { name: 'ntfy', type: 'ntfy' }],
    quiet: false,
    heartbeat: { sent_at: null },
  });
  expect(JSON.stringify(answer)).not.toMatch(/7hk2m9q4|c0ffee/);
});

test('POST /alerts/test says why nothing arrived', async () => {
  const [, send] = alertOperations;
  const answer = await send.run(context(), { ...none, body: { channel: 'ntfy' } });
  expect(send.response?.parse(answer)).toEqual({
    channel: 'ntfy',
    delivered: false,
    answer: '127.0.0.1:1: the connection was refused',
  });
  await expect(send.run(context(), { ...none, body: { channel: 'fax' } })).rejects.toMatchObject({
    kind: 'missing',
    message: 'There is no channel named fax',
    fix: 'There are: hooks, ntfy',
  });
});
