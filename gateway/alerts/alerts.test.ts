import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { TestDevice } from '../../firstboot/testing.ts';
import { type Authority, makeAuthority } from '../ddns/testing.ts';
import { type Alerts, type AlertsOptions, startAlerts } from './alerts.ts';
import { signature } from './channels/webhook.ts';
import type { Condition } from './condition.ts';
import { alertSettings } from './settings.ts';
import { stateFile } from './store.ts';
import {
  condition,
  heartbeatUrl,
  type Kind,
  type Receivers,
  type SettingsInput,
  secrets,
  startReceivers,
  user,
} from './testing.ts';

/** The whole of alerts against servers on this machine: SMTP with STARTTLS, and HTTPS. */
const minute = 60_000;
const hour = 60 * minute;
const kinds = ['mail', 'webhook', 'slack', 'ntfy'] as const;

let authority: Authority;
let device: TestDevice;
let to: Receivers;
let clock: number;
let journal: string[];
const running: Alerts[] = [];

beforeAll(async () => {
  authority = await makeAuthority();
});
beforeEach(async () => {
  device = await TestDevice.make();
  await mkdir(join(device.root, 'run/pi-gateway/events'), { recursive: true });
  to = await startReceivers({ authority });
  clock = Date.UTC(2026, 0, 2, 12);
  journal = [];
});
afterEach(async () => {
  for (const alerts of running.splice(0)) await alerts.stop();
  await to.close();
  await device.remove();
});

async function start(
  settings: SettingsInput = to.settings(),
  more: Partial<AlertsOptions> = {},
): Promise<Alerts> {
  const alerts = await startAlerts({
    system: device.system,
    settings: alertSettings.parse(settings),
    host: 'attic',
    now: () => clock,
    random: () => 0,
    journal: (line) => journal.push(line),
    ...more,
  });
  running.push(alerts);
  return alerts;
}

async function stop(alerts: Alerts): Promise<void> {
  await alerts.stop();
  running.splice(running.indexOf(alerts), 1);
}

/** Monitoring looks every 5 s for a while, by the test's clock. */
async function during(alerts: Alerts, milliseconds: number, ...conditions: Condition[]) {
  const until = clock + milliseconds;
  const step = Math.max(5000, milliseconds / 60);
  for (alerts.update(conditions, clock); clock < until; ) {
    clock += step;
    alerts.update(conditions, clock);
    // For what is really sent and answered meanwhile.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function until(condition: () => boolean, what = 'it'): Promise<void> {
  const late = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > late) throw new Error(`${what} did not happen in 10 s`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const counts = () => [to.mails.length, to.webhook.length, to.slack.length, to.ntfy.length];
const arrived = (count: number) =>
  until(() => counts().every((one) => one >= count), `message ${count} (${counts()})`);

const on = (source = 'check:uplink', more: Partial<Condition> = {}) =>
  condition(source, { severity: 'critical', ...more });
const off = (source = 'check:uplink') => condition(source, { active: false });

/** By the record on the disk, nothing waits. */
function recorded(): boolean {
  const { queues } = JSON.parse(readFileSync(join(device.root, stateFile), 'utf8')) as {
    queues: Record<string, { message?: object; gathering: object[] }>;
  };
  return Object.values(queues).every((one) => !one.message && one.gathering.length === 0);
}

const stateText = () => readFile(join(device.root, stateFile), 'utf8');

describe('an alert', () => {
  test('arrives once by each channel, and its end too', async () => {
    const alerts = await start();
    await during(alerts, 10_000, on());
    await arrived(1);
    await during(alerts, hour, on());
    clock += minute;
    await during(alerts, 10_000, off());
    await arrived(2);
    await during(alerts, hour, off());
    expect(counts()).toEqual([2, 2, 2, 2]);

    const [mail, end] = to.mails;
    expect(mail).toMatchObject({
      from: 'gateway@example.org',
      to: ['owner@example.org'],
      user,
      subject: '[attic] Critical: check:uplink has failed',
      headers: { importance: 'high', 'auto-submitted': 'auto-generated' },
    });
    expect(end?.subject).toBe('[attic] Over: check:uplink is well again');
    expect(end?.headers.references).toBe(mail?.headers.references);
    expect(end?.id).not.toBe(mail?.id);

    const [hook] = to.webhook;
    expect(hook?.body).toMatchObject({
      type: 'alerts',
      host: 'attic',
      severity: 'critical',
      events: [{ event: 'fired', source: 'check:uplink', fired_at: '2026-01-02T12:00:00.000Z' }],
    });
    if (!hook) throw new Error('no message');
    const { headers, raw, body } = hook;
    const id = String(body.id);
    expect(headers).toMatchObject({ 'webhook-id': id, 'idempotency-key': `"${id}"` });
    const time = headers['webhook-timestamp'] ?? '';
    expect(headers['webhook-signature']).toBe(signature(secrets.webhookSecret, id, time, raw));

    expect(to.slack[0]?.body.text).toMatch(/^\*\[attic\] Critical: check:uplink has failed\*\n/);
    expect(to.ntfy.map((one) => one.body)).toMatchObject([
      { topic: secrets.topic, priority: 5, tags: ['rotating_light'] },
      { topic: secrets.topic, priority: 3, tags: ['white_check_mark'] },
    ]);
    expect(to.ntfy[0]?.headers.authorization).toBe(`Bearer ${secrets.token}`);
    expect(to.ntfy[0]?.body.sequence_id).toMatch(/^[-_A-Za-z0-9]{1,64}$/);

    expect(journal).toEqual([
      '<2>Alert: check:uplink has failed',
      '<6>Resolved: check:uplink is well again',
    ]);
    await until(() => alerts.status().channels.every((one) => one.waiting === 0));
    const { active, recent } = alerts.status();
    expect(active).toEqual([]);
    expect(recent).toHaveLength(1);
    expect(recent[0]?.deliveries.map((one) => one.outcome)).toEqual(Array(10).fill('delivered'));
  });

  test('goes to who wants to hear of its severity; the end to who heard of the begin', async () => {
    const settings = to.settings();
    const [mail, hook, slack, ntfy] = settings.channels ?? [];
    if (!mail || !hook || !slack || !ntfy) throw new Error('no channels');
    mail.min_severity = 'critical';
    hook.min_severity = 'info';
    const alerts = await start(settings);
    const info = on('a', { severity: 'info' });
    const warning = on('b', { severity: 'warning' });
    await during(alerts, 10_000, info, warning);
    await until(() => to.slack.length === 1 && to.webhook.length === 1 && to.ntfy.length === 1);
    mail.min_severity = 'info';
    alerts.reload(alertSettings.parse(settings));
    await during(alerts, minute, off('a'), off('b'));
    await until(() => to.slack.length === 2 && to.webhook.length === 2 && to.ntfy.length === 2);
    expect(to.mails).toEqual([]);
    expect(to.webhook[0]?.body.events).toHaveLength(2);
  });

  test('is told to who asks as it is now, and as it was told', async () => {
    const changed: string[] = [];
    const alerts = await start(to.settings(), {
      changed: (alert) => changed.push(`${alert.source} ${alert.suppressedBy ?? '-'}`),
    });
    const held = on('check:ddns', { needs: ['check:uplink'] });
    await during(alerts, 10_000, on(), held);
    await arrived(1);
    await during(alerts, 10_000, on('check:uplink', { text: 'down for 9 min' }), held);
    expect(alerts.alerts()).toMatchObject([
      { source: 'check:uplink', text: 'down for 9 min', suppressedBy: undefined },
      { source: 'check:ddns', suppressedBy: 'check:uplink' },
    ]);
    expect(changed).toEqual(['check:uplink -', 'check:ddns check:uplink']);
    expect(counts()).toEqual([1, 1, 1, 1]);
  });
});

describe('while nobody can be reached', () => {
  test('a storm of 1,000 conditions is one message by each channel, when the uplink is back', async () => {
    to.setDown(true);
    const alerts = await start();
    const storm = (active: boolean) =>
      Array.from({ length: 1000 }, (_, n) =>
        condition(`check:${n}`, { severity: 'critical', active, needs: ['check:uplink'] }),
      );
    await during(alerts, 30 * minute, ...storm(true), on());
    expect(counts()).toEqual([0, 0, 0, 0]);
    await until(() => alerts.status().channels.every((one) => one.type === 'hooks' || one.problem));
    await until(() => alerts.status().channels[0]?.waiting === 0);
    expect(alerts.status().channels).toMatchObject([
      { name: 'hooks', state: 'ok', waiting: 0 },
      ...kinds.map((name) => ({ name, state: 'failing', waiting: 1 })),
    ]);
    to.setDown(false);
    await during(alerts, hour, ...storm(false), off());
    await arrived(2);
    await during(alerts, hour, ...storm(false), off());
    // One of the begin, which was under way, and one of the end.
    expect(counts()).toEqual([2, 2, 2, 2]);
    expect(to.webhook.map((one) => one.body.events)).toMatchObject([
      [{ event: 'fired', source: 'check:uplink' }],
      [{ event: 'resolved', source: 'check:uplink' }],
    ]);
  });

  test('1,000 alerts of which none explains another are one message, too', async () => {
    const alerts = await start();
    const storm = Array.from({ length: 1000 }, (_, n) => on(`check:${n}`));
    await during(alerts, 30_000, ...storm);
    await arrived(1);
    await during(alerts, 10 * minute, ...storm);
    expect(counts()).toEqual([1, 1, 1, 1]);
    expect(to.mails[0]?.subject).toMatch(/^\[attic\] 1000 alerts/);
    expect((await stat(join(device.root, stateFile))).size).toBeLessThan(1_000_000);
  });

  test('a message waits, through a restart as well, and comes once by the same id', async () => {
    for (const kind of kinds) to.answer(kind, { status: kind === 'mail' ? 451 : 503, body: 'no' });
    const first = await start();
    await during(first, 10_000, on());
    await until(() => first.status().channels.every((one) => one.waiting === 0 || one.problem));
    await stop(first);
    const waiting = JSON.parse(await stateText()) as {
      queues: Record<string, { message: { id: string } }>;
    };
    for (const kind of kinds) to.answer(kind, undefined);
    clock += minute;
    const second = await start();
    await arrived(1);
    // As after a reboot: monitoring does not know yet, and then finds it as it was.
    await during(second, minute);
    await during(second, hour, on());
    expect(counts()).toEqual([1, 1, 1, 1]);
    expect(to.mails[0]?.id).toBe(waiting.queues.mail?.message.id);
    expect(to.webhook[0]?.body.id).toBe(waiting.queues.webhook?.message.id);
    await during(second, minute, off());
    await arrived(2);
  });

  test('one channel holds up no other', async () => {
    to.answer('mail', { status: 451, body: 'busy' });
    to.answer('ntfy', { status: 401, body: '{"code":40101,"http":401,"error":"unauthorized"}' });
    const alerts = await start();
    await during(alerts, 10_000, on('check:ssh'));
    await until(() => to.slack.length === 1 && to.webhook.length === 1);
    await during(alerts, minute, on('check:ssh'), on('check:disk'));
    await until(() => to.slack.length >= 2 && to.webhook.length >= 2);
    const of = (name: string) => alerts.status().channels.find((one) => one.name === name);
    await until(() => of('ntfy')?.state === 'broken' && of('mail')?.state === 'failing');
    expect(of('ntfy')?.problem).toMatch(
      /127\.0\.0\.1|answered 401.*unauthorized.*wrong or missing/,
    );
    expect(of('mail')?.problem).toMatch(/answered 451.*busy/);
    // The others hear of it, as the owner may look at them alone.
    await during(alerts, minute, on('check:ssh'), on('check:disk'));
    await until(() => JSON.stringify(to.slack).includes('do not arrive by ntfy'));
    expect(JSON.stringify(to.ntfy)).toBe('[]');
  });

  test('settings that are mended send what waited at once, and lose nothing', async () => {
    const wrong = to.settings();
    const [mail] = wrong.channels ?? [];
    if (mail?.type !== 'mail') throw new Error('no mail');
    mail.password = 'not-this-one';
    const alerts = await start({ ...wrong, channels: [mail] });
    await during(alerts, 10_000, on());
    const [, status] = alerts.status().channels;
    expect(status?.type).toBe('mail');
    await until(() => alerts.status().channels[1]?.state === 'broken');
    expect(alerts.status().channels[1]?.problem).toMatch(/535.*user or password is wrong/);
    await during(alerts, hour, on());
    alerts.reload(alertSettings.parse(to.settings({ group_seconds: 1 })));
    await until(() => to.mails.length === 1);
    await until(() => alerts.status().channels[1]?.waiting === 0);
    expect(alerts.status().channels[1]?.state).toBe('ok');
  });
});

describe('a server', () => {
  test('whose certificate is of nobody is sent nothing', async () => {
    const { ca } = await makeAuthority();
    const settings = to.settings();
    for (const channel of settings.channels ?? []) channel.ca = ca;
    const alerts = await start(settings);
    await during(alerts, 10_000, on());
    await until(() => alerts.status().channels.filter((one) => one.problem).length === 4);
    for (const { type, problem } of alerts.status().channels)
      if (type !== 'hooks') expect(problem).toMatch(/certificate is of no authority/);
    expect(counts()).toEqual([0, 0, 0, 0]);
  });

  test('of another name than its certificate is sent nothing', async () => {
    const settings = to.settings();
    const channels = (settings.channels ?? []).map((channel) => {
      if (channel.type === 'mail') return { ...channel, host: 'other.test' };
      const url = channel.type === 'ntfy' ? 'server' : 'url';
      return { ...channel, [url]: `https://other.test:${to.ports.https}/` };
    });
    const alerts = await start({ channels } as SettingsInput, {
      lookup: (_name, options, done) =>
        options.all
          ? done(null, [{ address: '127.0.0.1', family: 4 }])
          : done(null, '127.0.0.1', 4),
    });
    for (const name of kinds) {
      const { delivered, answer } = await alerts.test(name);
      expect(delivered).toBe(false);
      expect(answer).toMatch(/certificate is of another name/);
    }
    expect(counts()).toEqual([0, 0, 0, 0]);
  });

  test('may want TLS from the first byte', async () => {
    const [mail] = to.settings().channels ?? [];
    if (mail?.type !== 'mail') throw new Error('no mail');
    const alerts = await start({ channels: [{ ...mail, tls: 'implicit', port: to.ports.smtps }] });
    expect(await alerts.test('mail')).toMatchObject({
      delivered: true,
      answer: expect.stringMatching(/^250/),
    });
    expect(to.mails).toMatchObject([{ user, subject: '[attic] A test message' }]);
  });
});

describe('quiet hours', () => {
  test('in the night that clocks change hold back what can wait, and sum it up in the morning', async () => {
    // Berlin, the last Sunday of March: 22:00 is 21:00 UTC, 07:00 is 05:00 UTC.
    clock = Date.UTC(2026, 2, 28, 22);
    const quiet = { from: '22:00', to: '07:00', time_zone: 'Europe/Berlin' };
    const alerts = await start(to.settings({ quiet_hours: quiet }));
    const warnings = (active: boolean) =>
      ['a', 'b', 'c'].map((name) => condition(name, { active: active || name === 'b' }));
    await during(alerts, minute, ...warnings(true));
    await during(alerts, minute, ...warnings(true), on('d'));
    await arrived(1);
    await during(alerts, 2 * hour, ...warnings(false), on('d'));
    expect(alerts.status().quiet).toBe(true);
    expect(to.webhook.map((one) => one.body.events)).toMatchObject([[{ source: 'd' }]]);
    expect(alerts.status().active.find((one) => one.source === 'b')?.deliveries).toContainEqual({
      channel: 'mail',
      event: 'fired',
      outcome: 'held',
      at: undefined,
    });
    clock = Date.UTC(2026, 2, 29, 4, 59);
    await during(alerts, 30_000, ...warnings(false), on('d'));
    expect(counts()).toEqual([1, 1, 1, 1]);
    clock = Date.UTC(2026, 2, 29, 5);
    await during(alerts, minute, ...warnings(false), on('d'));
    await arrived(2);
    await during(alerts, hour, ...warnings(false), on('d'));
    expect(counts()).toEqual([2, 2, 2, 2]);
    expect(to.mails[1]?.subject).toBe('[attic] 3 alerts (2 over): b has failed');
    expect(to.mails[1]?.text).toMatch(/^What quiet hours held back:\r\n/);
    // Programs and the journal heard of it at once.
    expect(await readdir(join(device.root, 'run/pi-gateway/events'))).toHaveLength(6);
  });
});

describe('hooks', () => {
  test('get each event as before, from the script that gives it to them', async () => {
    const folder = join(device.root, 'etc/pi-gateway/alerts.d');
    await mkdir(folder, { recursive: true });
    const script = `#!/bin/sh\ncat >> ${join(device.root, 'got')}\n`;
    await writeFile(join(folder, '10-test'), script, { mode: 0o755 });
    const alerts = await start({ channels: [] });
    await during(
      alerts,
      10_000,
      on('check:disk', { severity: 'info', text: 'Disk "full"\n\u0007' }),
    );
    await during(alerts, 10_000, off('check:disk'));
    await until(() => alerts.status().channels[0]?.waiting === 0);
    await promisify(execFile)('overlays/monitoring/usr/lib/pi-gateway/deliver-alerts', {
      env: { ...process.env, PI_GATEWAY_ROOT: device.root },
    });
    const got = (await device.read('got'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(got).toMatchObject([
      { event: 'fired', alert: 'check:disk', text: 'Disk "full"', host: 'attic' },
      { event: 'resolved', alert: 'check:disk', time: expect.stringMatching(/^[^.]*Z$/) },
    ]);
  });

  test('that are not installed are nobody’s trouble', async () => {
    await rm(join(device.root, 'run/pi-gateway/events'), { recursive: true });
    const alerts = await start({ channels: [] });
    await during(alerts, hour, on());
    expect(journal).toEqual(['<2>Alert: check:uplink has failed']);
  });
});

describe('the record', () => {
  test('is the owner’s daemon’s alone, and written only when something has changed', async () => {
    const alerts = await start();
    await during(alerts, minute, on());
    await arrived(1);
    // On a busy machine the answer comes after those updates: the next one notes it.
    await during(alerts, minute, on());
    await until(() => recorded());
    const path = join(device.root, stateFile);
    const before = await stat(path);
    expect(before.mode & 0o777).toBe(0o600);
    await during(alerts, 4 * hour, on('check:uplink', { text: `another text` }));
    expect((await stat(path)).ino).toBe(before.ino);
  });

  test('that is damaged is put aside, and told', async () => {
    await device.put(stateFile, '{"version":1,');
    const alerts = await start();
    await during(alerts, 10_000, on());
    await arrived(1);
    expect(journal[0]).toMatch(/^<4>The record of alerts was damaged/);
    expect(await device.read(`${stateFile}.damaged`)).toBe('{"version":1,');
  });

  test('that cannot be written is told, and so is the alert that says why', async () => {
    await rm(join(device.root, dirname(stateFile)), { recursive: true, force: true });
    await device.put(dirname(stateFile), 'no folder');
    const alerts = await start();
    await during(alerts, hour, on('threshold:disk', { text: 'The disk is full' }));
    await arrived(1);
    expect(counts()).toEqual([1, 1, 1, 1]);
    expect(journal.filter((line) => /cannot be written/.test(line))).toHaveLength(1);
  });

  test('of a channel that is taken out goes with it', async () => {
    to.setDown(true);
    const alerts = await start();
    await during(alerts, 10_000, on());
    alerts.reload(alertSettings.parse({}));
    expect(journal).toContain('<4>The channel mail is gone, and 1 events with it');
    to.setDown(false);
    await during(alerts, hour, on());
    expect(counts()).toEqual([0, 0, 0, 0]);
  });
});

describe('a test message', () => {
  test('goes by one channel at once, and says what its server answered', async () => {
    const alerts = await start();
    for (const name of kinds)
      expect(await alerts.test(name)).toMatchObject({ channel: name, delivered: true });
    expect(counts()).toEqual([1, 1, 1, 1]);
    expect(to.webhook[0]?.body).toMatchObject({ type: 'test', events: [] });
    expect(await alerts.test('hooks')).toMatchObject({ delivered: true });
    await expect(alerts.test('fax')).rejects.toMatchObject({ kind: 'missing' });
  });

  test('is one at a time', async () => {
    const alerts = await start();
    const first = alerts.test('mail');
    await expect(alerts.test('mail')).rejects.toMatchObject({ kind: 'conflict' });
    expect(await first).toMatchObject({ delivered: true });
  });
});

describe('no secret', () => {
  test('is in the journal, the record, the status or an answer, even if servers repeat what they got', async () => {
    const all = Object.values(secrets);
    const echo = (kind: Kind, status: number) =>
      to.answer(kind, {
        status,
        body: `no: ${all.join(' ')} https://x.test/${secrets.webhookPath}?a=${secrets.token}`,
      });
    const settings = to.settings({ heartbeat: { url: heartbeatUrl(to), ca: authority.ca } });
    const answers: unknown[] = [];
    for (const status of [401, 503, 400]) {
      for (const kind of [...kinds, 'heartbeat'] as const)
        echo(kind, kind === 'mail' ? (status === 503 ? 451 : 550) : status);
      const alerts = await start(settings);
      for (const name of kinds) answers.push(await alerts.test(name));
      const text = `It says ${all.join(', ')}`;
      await during(alerts, minute, on(`check:${status}`, { text }));
      await until(() => alerts.status().channels.filter((one) => one.problem).length === 4);
      await until(() => alerts.status().heartbeat?.problem !== undefined);
      answers.push(alerts.status(), alerts.alerts());
      await stop(alerts);
    }
    const shown = JSON.stringify([answers, journal, await stateText()]);
    expect(shown).toContain('***');
    for (const secret of all) {
      expect(shown).not.toContain(secret);
      expect(shown).not.toContain(Buffer.from(secret).toString('base64'));
    }
    // What hooks get is the alert's own text.
    for (const file of await readdir(join(device.root, 'run/pi-gateway/events')))
      for (const secret of all)
        expect(await device.read(`run/pi-gateway/events/${file}`)).not.toContain(secret);
  });
});
