import { afterAll, beforeAll, expect, test } from 'vitest';
import { applySettings, askDevice, deviceClock } from '../../builder/lab/device-api.ts';
import { recordFigure } from '../../builder/lab/figures.ts';
import { lab } from '../../builder/lab/harness.ts';
import { adminTarget, outside } from '../../builder/lab/lab.ts';
import {
  channels,
  type LabReceivers,
  startLabReceivers,
  type ToldEvent,
  tells,
} from '../../builder/lab/receivers.ts';
import { closeSsh, type SshTarget, ssh as sshTo } from '../../builder/qemu/ssh.ts';

/**
 * What goes wrong on a real device, seen from where its owner is told: when it was noticed, what was done, when
 * the message arrived by mail, webhook and Slack, and that it arrived once. Times are in output/lab/figures.json.
 */
const { facts, wan, ssh, sshResult, powerCycle } = lab();

/** Of the alerts' engine: what begins, and what is over. */
const begins = ['fired', 'raised'] as const;
const ends = ['resolved'] as const;

let receivers: LabReceivers;
/** Seconds by name, of each fault. */
const figures: Record<string, Record<string, number | string | string[]>> = {};

type AlertsAnswer = {
  active: {
    source: string;
    deliveries: { channel: string; outcome: string }[];
  }[];
  channels: { name: string; state: string; waiting: number }[];
};
const alerts = () => askDevice<AlertsAnswer>(ssh, '/alerts');

const pause = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

const settings = () => ({
  alerts: { channels: receivers.channels },
  monitor: {
    // The lab's internet: a port that nobody listens on refuses, and that is an answer.
    targets: [{ host: outside.server4, port: 9 }],
    dns_name: outside.name,
    time_server: '',
    intervals: { slow: 30 },
    // 3 minutes would make the run longer, and nothing else.
    thresholds: { memory: { for: 30 } },
  },
});

beforeAll(async () => {
  receivers = await startLabReceivers(wan, outside.server4);
  await applySettings(ssh, settings());
  // Nothing is looked at in the first two minutes; before these settings the lab had no uplink that monitoring knew.
  await ssh('while [ "$(cut -d. -f1 /proc/uptime)" -lt 150 ]; do sleep 2; done', 240);
  const until = Date.now() + 180_000;
  for (;;) {
    const { active } = await alerts();
    if (active.length === 0) break;
    // What this device lasts with has nothing to do with the faults.
    if (Date.now() > until) {
      figures.before = { active: active.map(({ source }) => source) };
      break;
    }
    await pause(5);
  }
});

afterAll(async () => {
  await recordFigure('faults', { unit: 's', ...figures });
  await wan.run('ip', ['link', 'set', 'eth0', 'up']);
  await ssh(
    'sudo sh -c "rm -f /var/tmp/lab-fill; systemctl stop lab-hog 2> /dev/null; systemctl kill --signal=CONT systemd-resolved; systemctl reset-failed; systemctl start chrony fail2ban prometheus-node-exporter systemd-resolved"',
  );
  await applySettings(ssh, {});
  await receivers.close();
});

/** From a fault to its message everywhere: seconds by what was waited for. `begun` is by the device's clock. */
async function measure(
  name: string,
  o: {
    source: string;
    kinds: readonly ToldEvent['event'][];
    from: number;
    begun: number;
    ahead: number;
    seconds: number;
  },
): Promise<ToldEvent> {
  const event = await receivers.event(o);
  const arrived = await receivers.everywhere(event, o.from, 120);
  const since = (time: number) => Math.round((time - o.begun) / 100) / 10;
  figures[name] = {
    ...figures[name],
    [`${event.event}`]: since(Date.parse(event.time)),
    ...Object.fromEntries(
      channels.map((channel) => [`${event.event}_${channel}`, since(arrived[channel] - o.ahead)]),
    ),
    [`${event.event}_text`]: event.text,
  };
  return event;
}

test('a service that is killed again and again: systemd restarts it, gives up, and the owner is told; and of its return', async () => {
  const { ahead } = await deviceClock(ssh);
  const from = receivers.all().length;
  const source = 'check:unit:chrony.service';
  // systemd.unit(5), StartLimitBurst=5: the sixth time it stays down.
  const text = await ssh(
    `sudo sh -c '
      date +%s%3N
      kills=0
      n=0
      while [ "$(systemctl is-failed chrony)" != failed ] && [ $n -lt 100 ]; do
        n=$((n + 1))
        if [ "$(systemctl show -P SubState chrony)" = running ]; then
          systemctl kill --signal=KILL chrony && kills=$((kills + 1))
        fi
        sleep 1
      done
      date +%s%3N
      echo $kills
      systemctl show -P Result chrony'`,
    300,
  );
  const [begun = 0, gaveUp = 0, kills = 0] = text.trim().split('\n').map(Number);
  expect(text.trim().split('\n').at(-1)).toMatch(/start-limit-hit|signal/);
  expect(kills).toBeGreaterThanOrEqual(5);
  figures.service = {
    action: 'systemd restarts it 5 times in 10 min, then gives up',
    restarts: kills - 1,
    gave_up: Math.round((gaveUp - begun) / 100) / 10,
  };
  // It may be told as one that ends and is started again before, and be raised then.
  const o = { source, from, begun, ahead, seconds: 120 };
  let told = await measure('service', { ...o, kinds: begins });
  if (told.severity !== 'critical') told = await measure('service', { ...o, kinds: ['raised'] });
  expect(told.severity).toBe('critical');
  expect(told.text).toContain('It has failed');

  const back = Number(
    await ssh('sudo systemctl reset-failed chrony; sudo systemctl start chrony; date +%s%3N'),
  );
  await measure('service', { ...o, kinds: ends, begun: back });
});

test('a full disk: told at all channels though nothing can be written, and so is its end', async () => {
  const { ahead } = await deviceClock(ssh);
  const from = receivers.all().length;
  const source = 'threshold:disk';
  const begun = Number(
    await ssh(
      // All that users have; what is kept for root stays, or nobody could log in.
      `sudo fallocate -l "$(df -B1 --output=avail / | tail -n 1)" /var/tmp/lab-fill && date +%s%3N`,
    ),
  );
  expect(Number.parseInt(await ssh('df --output=pcent / | tail -n 1'), 10)).toBeGreaterThan(95);
  figures.disk = { action: 'told, with what to do' };
  const o = { source, from, begun, ahead, seconds: 240 };
  const told = await measure('disk', { ...o, kinds: begins });
  expect(told.severity).toBe('critical');
  expect(await ssh('systemctl is-active pi-gatewayd')).toBe('active\n');
  const back = Number(await ssh('sudo rm /var/tmp/lab-fill; date +%s%3N'));
  await measure('disk', { ...o, kinds: ends, begun: back });
});

/**
 * Takes memory until 93 % of the device's is in use, and holds it there. It is the first that the kernel would
 * end (OOMScoreAdjust=), and cannot be swapped out.
 */
const hog = `
const { readFileSync } = require('node:fs');
const held = [];
setInterval(() => {
  const info = readFileSync('/proc/meminfo', 'utf8');
  const of = (name) => Number(new RegExp(name + ': *([0-9]+)').exec(info)[1]);
  const used = 100 - (100 * of('MemAvailable')) / of('MemTotal');
  if (used < 92) held.push(Buffer.alloc(8 * 1024 * 1024, 1));
  else if (used > 94) { held.pop(); global.gc(); }
}, 150);`;

test('memory that runs out: told, and the gateway itself goes on', async () => {
  const { ahead } = await deviceClock(ssh);
  const from = receivers.all().length;
  const before = await ssh('systemctl show -P NRestarts pi-gatewayd');
  await ssh('cat > /tmp/lab-hog.js', 60, Buffer.from(hog));
  const begun = Number(
    await ssh(
      'sudo systemd-run --quiet --collect --unit=lab-hog -p MemoryMax=85% -p MemorySwapMax=0 -p OOMScoreAdjust=1000 node --expose-gc /tmp/lab-hog.js && date +%s%3N',
    ),
  );
  figures.memory = { action: 'told, with what to do' };
  const o = { source: 'threshold:memory', from, begun, ahead, seconds: 300 };
  await measure('memory', { ...o, kinds: begins });
  const back = Number(await ssh('sudo systemctl stop lab-hog; date +%s%3N'));
  await measure('memory', { ...o, kinds: ends, begun: back });
  expect(await ssh('systemctl show -P NRestarts pi-gatewayd')).toBe(before);
  expect(await ssh('systemctl is-active ssh nftables wg-quick@wg0 systemd-networkd')).toBe(
    'active\n'.repeat(4),
  );
});

test('a name server that was stopped is told, and what depends on it is not told as well', async () => {
  const { ahead } = await deviceClock(ssh);
  const from = receivers.all().length;
  const source = 'check:unit:systemd-resolved.service';
  const begun = Number(await ssh('sudo systemctl stop systemd-resolved; date +%s%3N'));
  figures.dns_stopped = { action: 'told; who stopped it may have meant it' };
  const o = { source, from, begun, ahead, seconds: 120 };
  await measure('dns_stopped', { ...o, kinds: begins });
  // Long enough for the check of names to fail, too.
  await pause(45);
  const back = Number(await ssh('sudo systemctl start systemd-resolved; date +%s%3N'));
  await measure('dns_stopped', { ...o, kinds: ends, begun: back });
  const sources = new Set(
    receivers
      .all()
      .slice(from)
      .flatMap(({ events }) => events.map((event) => event.source)),
  );
  expect([...sources]).toEqual([source]);
});

test('a name server that hangs is restarted, and told', async () => {
  const { ahead } = await deviceClock(ssh);
  const from = receivers.all().length;
  const pid = (await ssh('systemctl show -P MainPID systemd-resolved')).trim();
  const begun = Number(
    await ssh('sudo systemctl kill --signal=STOP systemd-resolved; date +%s%3N'),
  );
  const o = { source: 'check:dns', from, begun, ahead, seconds: 150 };
  await measure('dns_hung', { ...o, kinds: begins });
  // Two minutes after its check has failed (gateway/monitor/restarts.ts); or by systemd's own watchdog before.
  const until = Date.now() + 240_000;
  for (;;) {
    const now = await ssh('systemctl show -P MainPID systemd-resolved; date +%s%3N');
    const [other = '', time = ''] = now.trim().split('\n');
    if (other !== pid && other !== '0') {
      const by = await ssh(
        'sudo journalctl -u pi-gatewayd -u systemd-resolved --since -6min --no-pager -o cat | grep -E "dns is restarted|atchdog" | tail -n 1 || true',
      );
      figures.dns_hung = {
        ...figures.dns_hung,
        restarted: Math.round((Number(time) - begun) / 100) / 10,
        action: `restarted: ${by.trim()}`,
      };
      break;
    }
    expect(Date.now(), 'the name server is not restarted').toBeLessThan(until);
    await pause(2);
  }
  await measure('dns_hung', { ...o, kinds: ends });
});

test('an uplink that is down: nothing can arrive, what happens meanwhile is gathered, and comes once it is back, without a storm', async () => {
  const admin = adminTarget(facts);
  const { from: _, ...elsewhere } = admin;
  const inside: SshTarget = {
    ...elsewhere,
    namespace: facts.namespaces.lan,
    host: facts.zones.lan.v4.split('/')[0] ?? '',
  };
  const sshInside = (command: string, seconds?: number) => sshTo(inside, command, seconds);
  const { ahead } = await deviceClock(sshInside);
  const from = receivers.all().length;
  await closeSsh(admin);
  // Without it the kernel takes the IPv6 addresses away (ip-sysctl.rst).
  await wan.run('sysctl', ['-qw', 'net.ipv6.conf.eth0.keep_addr_on_down=1']);
  await wan.run('ip', ['link', 'set', 'eth0', 'down']);
  const begun = Date.now() - ahead;
  const path = ['check:route', 'check:router', 'check:uplink'];
  const other = 'check:unit:prometheus-node-exporter.service';
  let told: string[] = [];
  try {
    await sshInside('sudo systemctl stop prometheus-node-exporter');
    const until = Date.now() + 240_000;
    for (;;) {
      const { active, channels: ways } = await askDevice<AlertsAnswer>(sshInside, '/alerts');
      told = active.map(({ source }) => source);
      const wait = ways.filter(
        ({ name, state, waiting }) =>
          channels.some((one) => one === name) && state === 'failing' && waiting > 0,
      );
      if (
        path.some((one) => told.includes(one)) &&
        told.includes(other) &&
        wait.length === channels.length
      )
        break;
      expect(Date.now(), `told: ${told.join(', ')}`).toBeLessThan(until);
      await pause(3);
    }
    // What else fails with it has the time to do so.
    await pause(45);
    told = (await askDevice<AlertsAnswer>(sshInside, '/alerts')).active.map(({ source }) => source);
  } finally {
    await wan.run('ip', ['link', 'set', 'eth0', 'up']);
  }
  const up = Date.now() - ahead;
  expect(receivers.all().length).toBe(from);
  // The line is told, and not all that is behind it.
  expect(told).not.toContain('check:dns');
  expect(told).not.toContain('check:ddns');
  const way = path.filter((one) => told.includes(one));
  expect(way.length).toBeLessThanOrEqual(2);
  figures.uplink = { action: 'held and gathered; sent when it is back', told };

  const o = { from, ahead, seconds: 240 };
  for (const source of way) {
    const fired = await receivers.event({ ...o, source, kinds: begins });
    figures.uplink[`noticed ${source}`] = Math.round((Date.parse(fired.time) - begun) / 100) / 10;
    await receivers.everywhere(fired, from, 120);
    await measure('uplink', { ...o, source, kinds: ends, begun: up });
  }
  const heard = await receivers.event({ ...o, source: other, kinds: begins });
  await receivers.everywhere(heard, from, 180);
  await sshInside('sudo systemctl start prometheus-node-exporter');
  await receivers.everywhere(
    await receivers.event({ ...o, source: other, kinds: ends }),
    from,
    120,
  );
  const counts = channels.map(
    (channel) =>
      receivers
        .all()
        .slice(from)
        .filter((one) => one.channel === channel).length,
  );
  figures.uplink.messages = counts.map(String);
  // One that was under way, what gathered after it, the end of each link that was told, the other's end.
  for (const count of counts) expect(count).toBeLessThanOrEqual(3 + way.length);
  await closeSsh(inside);
});

test('an alert that could not be delivered before the power was cut arrives after the reboot', async () => {
  const { device: begun } = await deviceClock(ssh);
  const from = receivers.all().length;
  const source = 'check:unit:fail2ban.service';
  await receivers.setDown(true);
  await ssh('sudo systemctl stop fail2ban');
  const until = Date.now() + 120_000;
  for (;;) {
    const { active, channels: ways } = await alerts();
    const failing = ways.filter(
      ({ name, state }) => channels.some((one) => one === name) && state === 'failing',
    );
    if (active.some((one) => one.source === source) && failing.length === channels.length) break;
    expect(Date.now()).toBeLessThan(until);
    await pause(1);
  }
  const cycle = powerCycle();
  // The device is gone within 4 s and does not send again before 30 s are over; it starts for longer than that.
  await pause(15);
  expect(receivers.all().length).toBe(from);
  await receivers.setDown(false);
  await cycle;
  // By another clock: that of the boot after.
  const { ahead } = await deviceClock(ssh);
  const up = Number(await ssh('echo $(($(date +%s%3N) - $(cut -d. -f1 /proc/uptime) * 1000))'));
  figures.power = {
    action: 'kept on the card, sent after the reboot; times since the kernel started',
    noticed_before: 0,
  };
  const o = { source, from, begun: up, ahead, seconds: 300 };
  const fired = await receivers.event({ ...o, kinds: begins });
  const arrived = await receivers.everywhere(fired, from, 180);
  figures.power.noticed_before = Math.round((Date.parse(fired.time) - begun) / 100) / 10;
  for (const channel of channels)
    figures.power[`fired_${channel}`] = Math.round((arrived[channel] - ahead - up) / 100) / 10;
  // It was started with the device: it is over once that has been seen.
  await measure('power', { ...o, kinds: ends });
});

test('each message arrived exactly once at each of them', async () => {
  // Time for one that would come again.
  await pause(40);
  const all = receivers.all();
  for (const channel of channels) {
    const ids = all.filter((one) => one.channel === channel).map(({ id }) => id);
    expect(
      ids.filter((id, index) => id === '' || ids.indexOf(id) !== index),
      `ids that ${channel} got twice`,
    ).toEqual([]);
  }
  const events = all
    .flatMap((message) => message.events)
    .filter(({ source }) => !source.startsWith('alerts:'));
  expect(events.length).toBeGreaterThan(0);
  const pairs = events.map(({ alert, event }) => `${alert} ${event}`);
  expect(pairs.filter((pair, index) => pairs.indexOf(pair) !== index)).toEqual([]);
  // Mail and Slack have words alone: those of each event, as often as the webhook had them.
  const wrong = [...new Set(events.map(({ text }) => text))].flatMap((text) => {
    const counts = channels.map(
      (channel) => all.filter((one) => one.channel === channel && tells(one, text)).length,
    );
    return new Set(counts).size === 1 ? [] : [`${text}: ${channels.join(', ')} ${counts}`];
  });
  expect(wrong).toEqual([]);
  const fired = events.filter(({ event }) => event === 'fired');
  const over = new Set(
    events.filter(({ event }) => event === 'resolved').map(({ alert }) => alert),
  );
  figures.all = {
    alerts: fired.length,
    resolved: over.size,
    messages: channels.map(
      (channel) => `${channel}: ${all.filter((one) => one.channel === channel).length}`,
    ),
  };
  expect((await sshResult('systemctl is-active fail2ban chrony')).stdout).toBe(
    'active\n'.repeat(2),
  );
});
