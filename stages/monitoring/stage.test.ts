import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { project } from '../../builder/testing/build.ts';
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

test('a service that fails is restarted, and told only when that does not help', () => {
  expect(watchDropIn(true)).toMatch(
    /OnFailure=pi-gateway-alert@%n\.service[\s\S]*RestartMode=direct/,
  );
  expect(watchDropIn(false)).not.toContain('Restart');
});

test('limits that are none are refused', () => {
  for (const limits of [{ disk: 101 }, { memory: -1 }, { temperature: '80' }, { heat: 80 }])
    expect(monitoring.options.safeParse({ limits }).success, JSON.stringify(limits)).toBe(false);
  expect(monitoring.options.parse({ limits: { disk: 0 } }).limits).toMatchObject({
    disk: 0,
    temperature: 80,
  });
});

describe('on the device', () => {
  let root = '';
  let scripts = '';

  // A device in a folder: the scripts run for real, against a /sys and /proc of files; systemctl and wg
  // are stand-ins.
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'pi-gateway-monitoring-'));
    scripts = join(root, 'usr/lib/pi-gateway');
    await cp(join(overlay, 'usr/lib/pi-gateway'), scripts, { recursive: true });
    await cp(join(overlay, 'etc/pi-gateway/alerts.d'), join(root, 'etc/pi-gateway/alerts.d'), {
      recursive: true,
    });
    for (const entry of (await renderStage(monitoring)).entries)
      if (entry.path === '/etc/pi-gateway/monitoring.conf' && 'content' in entry)
        await put(entry.path, entry.content.toString());
    await put('/usr/share/pi-gateway/image.json', '{\n  "name": "attic",\n  "x": 1\n}\n');
    await put('/sys/class/thermal/thermal_zone0/temp', '48123\n');
    await put('/sys/class/hwmon/hwmon0/temp1_input', '51500\n');
    await put('/sys/devices/platform/soc/soc:firmware/get_throttled', '50000\n');
    await put('/sys/block/mmcblk0/device/life_time', '0x02 0x03\n');
    await put('/sys/block/mmcblk0/device/pre_eol_info', '0x01\n');
    await put('/sys/block/mmcblk0/stat', '1 2 3 4 5 6 2048 8 9 10 11\n');
    await memory(40);
    await mkdir(join(root, 'var/lib/prometheus/node-exporter'), { recursive: true });
    await command(
      'systemctl',
      'case $* in *list-units*) echo "x.service loaded failed";; *) exit 3;; esac',
    );
    await command('df', 'echo "Filesystem"; echo "/dev/root 100 40 60 40% /"');
    await command('wg', `echo "wg0 aaa $(date +%s)"; echo "wg0 bbb 1"; echo "wg0 ccc 0"`);
  });
  afterEach(() => rm(root, { recursive: true }));

  async function put(path: string, content: string): Promise<void> {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  async function command(name: string, body: string): Promise<void> {
    await put(`/bin/${name}`, `#!/bin/sh\n${body}\n`);
    await chmod(join(root, 'bin', name), 0o755);
  }
  const memory = (used: number) =>
    put(
      '/proc/meminfo',
      `MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: ${(100 - used) * 10} kB\n`,
    );
  const heat = (degrees: number) =>
    put('/sys/class/thermal/thermal_zone0/temp', `${degrees * 1000}\n`);
  const script = async (name: string, ...args: string[]) =>
    (
      await run('sh', [join(scripts, name), ...args], {
        env: { PI_GATEWAY_ROOT: root, PATH: `${root}/bin:/usr/bin:/bin` },
      })
    ).stdout;
  const events = async () => {
    const folder = join(root, 'run/pi-gateway/events');
    const names = (await readdir(folder).catch(() => [])).toSorted();
    return await Promise.all(
      names.map(async (name) => JSON.parse(await readFile(join(folder, name), 'utf8'))),
    );
  };
  const fired = async () => (await events()).map(({ event, alert }) => `${event} ${alert}`);

  describe('metrics', () => {
    const metrics = async () => {
      await script('metrics');
      return await readFile(join(root, 'var/lib/prometheus/node-exporter/pi-gateway.prom'), 'utf8');
    };

    test('tell heat, throttling, wear, writes, failed units and peers', async () => {
      const text = await metrics();
      for (const line of [
        'pi_gateway_image_info{name="attic"} 1',
        'pi_gateway_temperature_celsius 51',
        `pi_gateway_throttled ${0x50000}`,
        'pi_gateway_disk_life_used_percent{device="mmcblk0",type="a"} 20',
        'pi_gateway_disk_life_used_percent{device="mmcblk0",type="b"} 30',
        'pi_gateway_disk_pre_eol{device="mmcblk0"} 1',
        `pi_gateway_disk_written_bytes{device="mmcblk0"} ${2048 * 512}`,
        'pi_gateway_failed_units 1',
        'pi_gateway_wireguard_peers 3',
        'pi_gateway_wireguard_peers_connected 1',
      ])
        expect(text.split('\n')).toContain(line);
      for (const line of text.trim().split('\n'))
        expect(line).toMatch(/^(# (HELP|TYPE) pi_\S+ .+|pi_\w+(\{[^}]+\})? [\d.]+)$/);
    });

    test('leave out what a machine has not, as in QEMU', async () => {
      await rm(join(root, 'sys'), { recursive: true });
      await rm(join(root, 'bin/wg'));
      const text = await metrics();
      expect(text).toContain('pi_gateway_image_info');
      expect(text).not.toMatch(/temperature|throttled|life_used/);
    });
  });

  describe('the watch', () => {
    test('is silent while all is well', async () => {
      await script('watch');
      expect(await fired()).toEqual([]);
    });

    test('fires once, after three minutes above the limit, and says when it is over', async () => {
      await heat(85);
      await script('watch');
      await script('watch');
      expect(await fired()).toEqual([]);
      await script('watch');
      await script('watch');
      expect(await fired()).toEqual(['fired temperature']);
      expect((await events())[0].text).toBe('The temperature in °C is at 85 (limit 80)');
      // Just below the limit is no end: it would fire again soon.
      await heat(78);
      await script('watch');
      expect(await fired()).toEqual(['fired temperature']);
      await heat(70);
      await script('watch');
      await script('watch');
      expect(await fired()).toEqual(['fired temperature', 'resolved temperature']);
    });

    test('forgets a short peak', async () => {
      for (const degrees of [85, 85, 60, 85, 85]) {
        await heat(degrees);
        await script('watch');
      }
      expect(await fired()).toEqual([]);
    });

    test('knows after a restart what it has fired', async () => {
      await put('/sys/block/mmcblk0/device/life_time', '0x09 0x01\n');
      await script('watch');
      await rm(join(root, 'run'), { recursive: true });
      await script('watch');
      expect(await fired()).toEqual([]);
      await put('/sys/block/mmcblk0/device/life_time', '0x01 0x01\n');
      await script('watch');
      expect(await fired()).toEqual(['resolved wear']);
    });

    test('a limit of 0 is none; under-voltage is told at once', async () => {
      await put('/etc/pi-gateway/monitoring.conf', 'TEMPERATURE=0\nMEMORY=0\nDISK=0\nWEAR=0\n');
      await put('/sys/devices/platform/soc/soc:firmware/get_throttled', '50001\n');
      await heat(100);
      await memory(99);
      for (let minute = 0; minute < 4; minute += 1) await script('watch');
      expect(await fired()).toEqual(['fired power']);
    });

    test('a failed service is told once, and again when it runs', async () => {
      await script('unit-failed', 'wg-quick@wg0.service');
      await script('unit-failed', 'wg-quick@wg0.service');
      await script('watch');
      expect(await fired()).toEqual(['fired unit-wg-quick@wg0.service']);
      await command('systemctl', 'exit 0');
      await script('watch');
      expect(await fired()).toEqual([
        'fired unit-wg-quick@wg0.service',
        'resolved unit-wg-quick@wg0.service',
      ]);
    });
  });

  describe('hooks', () => {
    test('each gets every event, in order, and one that fails holds up no other', async () => {
      await put('/etc/pi-gateway/alerts.d/05-broken', '#!/bin/sh\nexit 7\n');
      await put('/etc/pi-gateway/alerts.d/20-mine', `#!/bin/sh\ncat >> ${root}/got\n`);
      await put('/etc/pi-gateway/alerts.d/30-off', `#!/bin/sh\necho never >> ${root}/got\n`);
      for (const name of ['05-broken', '20-mine'])
        await chmod(join(root, 'etc/pi-gateway/alerts.d', name), 0o755);
      await script('alert', 'fired', 'test', 'with "quotes" and a \\ and\nno second line');
      await script('alert', 'resolved', 'test', 'well again');
      const said = await script('deliver-alerts');
      expect(said).toContain('<4>05-broken failed (code 7)\n');
      expect(said).toContain('<4>Alert: with \\"quotes\\"');
      expect(said).toContain('<6>Resolved: well again\n');
      const got = (await readFile(join(root, 'got'), 'utf8')).trim().split('\n');
      expect(got.map((line) => JSON.parse(line))).toMatchObject([
        { event: 'fired', alert: 'test', text: 'with "quotes" and a \\ andno second line' },
        { event: 'resolved', alert: 'test' },
      ]);
      expect(await events()).toEqual([]);
    });
  });
});
