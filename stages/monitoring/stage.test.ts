import { chmod, mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { project } from '../../builder/testing/build.ts';
import { eventsFolder, hooksChannel } from '../../gateway/alerts/channels/hooks.ts';
import { limitsFile, readImage } from '../../gateway/monitor/image.ts';
import { Tree } from '../../gateway/monitor/testing.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from '../wireguard/stage.ts';
import { monitoring, watchDropIn } from './stage.ts';

const vpn = { wireguard: wireguard.options.parse({}) };
const overlay = join(project, 'overlays/monitoring');

describe('the exporter', () => {
  const args = '/etc/default/prometheus-node-exporter';
  const unit = '/etc/systemd/system/prometheus-node-exporter.service.d/20-hardening.conf';

  test('answers on loopback alone', async () => {
    const files = await renderStage(monitoring, { port: 9200 }, vpn);
    expect(files.text(args).match(/--web\.listen-address=\S+/g)).toEqual([
      '--web.listen-address=127.0.0.1:9200',
    ]);
    expect(files.text(unit)).toContain('IPAddressDeny=any\nIPAddressAllow=localhost\nRestrict');
  });

  test('answers the VPN too where asked, and nobody else', async () => {
    const files = await renderStage(monitoring, { listen: 'vpn' }, vpn);
    expect(files.text(args).match(/--web\.listen-address=\S+/g)).toEqual([
      '--web.listen-address=127.0.0.1:9100',
      '--web.listen-address=10.66.0.1:9100',
      '--web.listen-address=[fd66:6761:7465::1]:9100',
    ]);
    expect(files.text(unit)).toContain('IPAddressAllow=10.66.0.0/24\n');
    const options = monitoring.options.parse({ listen: 'vpn' });
    expect(monitoring.validate?.(options, { name: 'x', stages: {}, ports: [] })).toMatchObject([
      { path: ['listen'] },
    ]);
  });
});

test('a service that fails is restarted, five times in ten minutes', () => {
  expect(watchDropIn).toContain('StartLimitIntervalSec=10min\nStartLimitBurst=5\n');
  expect(watchDropIn).toContain('Restart=on-failure\n');
});

test('the image tells the daemon its limits', async () => {
  const files = await renderStage(monitoring, { limits: { disk: 80 } });
  const tree = new Tree();
  tree.put(limitsFile, files.text(limitsFile));
  expect(readImage(tree.files).limits).toEqual({
    temperature: 80,
    memory: 90,
    disk: 80,
    wear: 80,
  });
  tree.remove();
});

test('the daemon may write to the queue of the hooks', async () => {
  const files = await renderStage(monitoring);
  expect(files.text('/usr/lib/tmpfiles.d/pi-gateway-monitoring.conf')).toContain(
    `d ${eventsFolder} 2770 pi-gatewayd root\n`,
  );
  expect(files.text('/usr/lib/systemd/system/pi-gatewayd.service.d/10-monitoring.conf')).toContain(
    `ReadWritePaths=-${eventsFolder}\n`,
  );
  expect(files.text('/usr/lib/systemd/system/pi-gateway-alerts.path')).toContain(
    `DirectoryNotEmpty=${eventsFolder}\n`,
  );
});

test('limits that are none are refused', () => {
  for (const limits of [{ disk: 101 }, { memory: -1 }, { temperature: '80' }, { heat: 80 }])
    expect(monitoring.options.safeParse({ limits }).success, JSON.stringify(limits)).toBe(false);
  expect(monitoring.options.parse({ limits: { disk: 0 } }).limits).toMatchObject({
    disk: 0,
    temperature: 80,
  });
});

describe('hooks', () => {
  let tree: Tree;
  const folder = () => join(tree.root, eventsFolder);

  beforeEach(async () => {
    tree = new Tree();
    await mkdir(folder(), { recursive: true });
  });
  afterEach(() => tree.remove());

  /** The daemon's own channel, and the script of the image that empties its queue. */
  async function send(kind: 'fired' | 'resolved', text: string): Promise<void> {
    const channel = hooksChannel({
      root: tree.root,
      boot: '/boot/firmware',
      say: () => undefined,
      run: async () => '',
    });
    const at = Date.now();
    const event = {
      kind,
      alert: '1',
      source: 'test',
      severity: 'warning',
      text,
      firedAt: at,
      at,
    } as const;
    const outcome = await channel.send(
      { id: kind, at, events: [event], dropped: 0, summary: false },
      { host: 'attic', timeZone: undefined, now: Date.now, signal: new AbortController().signal },
    );
    expect(outcome).toMatchObject({ kind: 'delivered' });
  }

  const deliver = async () =>
    (
      await run('sh', [join(overlay, 'usr/lib/pi-gateway/deliver-alerts')], {
        env: { PI_GATEWAY_ROOT: tree.root, PATH: '/usr/bin:/bin' },
      })
    ).stdout;

  async function hook(name: string, script: string, mode = 0o755): Promise<void> {
    tree.put(`/etc/pi-gateway/alerts.d/${name}`, `#!/bin/sh\n${script}\n`);
    await chmod(join(tree.root, 'etc/pi-gateway/alerts.d', name), mode);
  }

  test('each gets every event, in order, and one that fails holds up no other', async () => {
    await hook('05-broken', 'exit 7');
    await hook('10-deaf', 'exit 0');
    await hook('20-mine', `cat >> ${tree.root}/got`);
    await hook('30-off', `echo never >> ${tree.root}/got`, 0o644);
    await send('fired', 'with "quotes" and a \\ and\nno second line');
    await send('resolved', 'well again');
    expect(await deliver()).toContain('<4>05-broken failed (code 7)\n');
    const got = (tree.files.text('/got') ?? '').trim().split('\n');
    expect(got.map((line) => JSON.parse(line))).toMatchObject([
      { event: 'fired', alert: 'test', host: 'attic' },
      { event: 'resolved', alert: 'test', text: 'well again' },
    ]);
    expect(await readdir(folder())).toEqual([]);
  });

  test("nothing of root's is read for who only writes to the queue, and nothing holds it up", async () => {
    await hook('20-mine', `cat >> ${tree.root}/got`);
    tree.put('/secret', 'a secret');
    await symlink(join(tree.root, 'secret'), join(folder(), '1-link.json'));
    await symlink('/nonexistent', join(folder(), '2-dangling.json'));
    await run('mkfifo', [join(folder(), '3-pipe.json')]);
    await mkdir(join(folder(), '4-folder.json'));
    tree.put(`${eventsFolder}/5-huge.json`, 'x'.repeat(10_000_000));
    await send('fired', 'the last');
    const said = await deliver();
    expect(said).toContain('<4>1-link.json is no event\n');
    const got = tree.files.text('/got') ?? '';
    expect(got).not.toContain('secret');
    expect(got).toContain('the last');
    expect(got.length).toBeLessThan(200_000);
    expect(await readdir(folder())).toEqual([]);
    expect(tree.files.text('/secret')).toBe('a secret');
  });
});
