import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type RunOptions, readIfThere, type System } from '../../firstboot/system.ts';
import { firewall } from '../../stages/firewall/stage.ts';
import { ssh } from '../../stages/ssh/stage.ts';
import { renderStage } from '../../stages/testing.ts';
import { wireguard } from '../../stages/wireguard/stage.ts';
import { rollBackDue } from './apply.ts';
import { settingsFile } from './read.ts';
import { followSettings } from './reading.ts';

/** Programs that a test's device runs in its own way; undefined: as usual. */
type Program = (
  args: readonly string[],
  options: RunOptions,
) => Promise<string | undefined> | string | undefined;

/**
 * A device in a folder: real files, a real API on its real socket. systemd and the kernel's rules are
 * stand-ins that remember what they were told.
 */
export class SettingsDevice {
  readonly root: string;
  readonly calls: string[] = [];
  /** Rulesets that nft has loaded, oldest first. */
  readonly loaded: string[] = [];
  /** Units that are not active. */
  readonly down = new Set<string>();
  /** Programs of the test's own, by name. */
  readonly programs = new Map<string, Program>();
  /** The timer of the roll-back. */
  armed = false;
  /** What the API answers. */
  apiStatus = 200;
  /** The daemon reads the settings when it is told to. */
  reads = true;
  #api: Server | undefined;

  constructor(root: string) {
    this.root = root;
  }

  static async make(firewallOptions: Record<string, unknown> = {}): Promise<SettingsDevice> {
    const device = new SettingsDevice(await mkdtemp(join(tmpdir(), 'pi-gateway-settings-')));
    const zones = { lan: { interfaces: ['eth1'], address4: '192.168.10.1/24' } };
    const files = await renderStage(firewall, { zones, ...firewallOptions }, [ssh, wireguard]);
    const report = '/usr/share/pi-gateway/firewall.json';
    await device.put(report, files.text(report));
    await device.put('/proc/sys/kernel/random/boot_id', 'first\n');
    await device.put('/etc/group', 'root:x:0:\n');
    await device.put('/run/pi-gatewayd/none', '');
    await device.startApi();
    await followSettings(device.system, () => undefined);
    return device;
  }

  async startApi(): Promise<void> {
    this.#api = createServer((_, answer) => {
      answer.statusCode = this.apiStatus;
      answer.end('{}');
    });
    await new Promise<void>((ready) => {
      this.#api?.listen(join(this.root, 'run/pi-gatewayd/api.sock'), ready);
    });
  }

  async remove(): Promise<void> {
    this.#api?.closeAllConnections();
    await new Promise((closed) => this.#api?.close(closed));
    await rm(this.root, { recursive: true, force: true });
  }

  get system(): System {
    return {
      root: this.root,
      boot: '/boot/firmware',
      say: () => undefined,
      run: (command, args, options = {}) => this.#run(command, args, options),
    };
  }

  async put(path: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true });
    await writeFile(join(this.root, path), text);
  }

  read(path: string): Promise<string | undefined> {
    return readIfThere(join(this.root, path));
  }

  settings(): Promise<string | undefined> {
    return this.read(settingsFile);
  }

  /** What pi-gateway-settings-rollback.service does when its timer goes off. */
  async fire(): Promise<void> {
    if (!this.armed) return;
    this.armed = false;
    await rollBackDue(this.system);
  }

  async #run(command: string, args: readonly string[], options: RunOptions): Promise<string> {
    this.calls.push([command, ...args].join(' ').replaceAll(this.root, ''));
    const own = await this.programs.get(command)?.(args, options);
    if (own !== undefined) return own;
    switch (command) {
      case 'systemd-run':
        this.armed = true;
        return '';
      case 'systemctl':
        return await this.#systemctl(args);
      case 'nft':
        if (args.includes('list')) return '{"nftables":[{"metainfo":{}}]}';
        if (!args.includes('--check')) this.loaded.push(await readFile(args.at(-1) ?? '', 'utf8'));
        return '';
      case 'sshd':
        return '';
      default:
        throw new Error(`a test's device has no ${command}`);
    }
  }

  async #systemctl(args: readonly string[]): Promise<string> {
    const [verb = ''] = args;
    if (verb === 'show' && args.includes('--value')) return 'active\n';
    if (verb === 'show')
      return args
        .filter((one) => one.includes('.'))
        .map((unit) => {
          const state = this.down.has(unit) ? 'failed' : 'active';
          return `Id=${unit}\nLoadState=loaded\nActiveState=${state}\nUnitFileState=enabled\n`;
        })
        .join('\n');
    if (verb === 'is-active' && !this.armed) throw new Error('systemctl failed: inactive');
    if (verb === 'stop') this.armed = false;
    if (verb === 'reload' && this.reads) await followSettings(this.system, () => undefined);
    return '';
  }
}
