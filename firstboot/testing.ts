import { appendFile, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { run } from '../builder/exec.ts';
import { renderStage } from '../stages/testing.ts';
import { wireguard } from '../stages/wireguard/stage.ts';
import type { RunOptions, System } from './system.ts';
import { newPrivateKey, publicKeyOf } from './wireguard-keys.ts';

/** Seconds: when the image that a test's device runs was made. */
export const built = Date.UTC(2026, 0, 2) / 1000;

export const hash = `$6$salt$${'x'.repeat(86)}`;

/** All that an owner can ask for. */
export const ownerFile = (publicKey: string): string => `hostname: attic
admin:
  name: ada
  ssh_authorized_keys:
    - ${publicKey}
  password_hash: ${hash}
timezone: Europe/Berlin
locale: C.UTF-8
keyboard: { layout: de }
network:
  addresses: [192.168.1.10/24]
  gateways: [192.168.1.1]
  wifi: { country: DE, ssid: attic, password: 'correct horse "battery"' }
wireguard: { first_client: phone }
ddns:
  providers:
    - { type: duckdns, hostnames: [attic.duckdns.org], token: 2c5a3f2e-secret-token }
`;

/**
 * A device in a folder: real files, real ssh-keygen and openssl. What would change this machine (accounts,
 * services, locales) is a stand-in that does the same to the folder's files.
 */
export class TestDevice {
  readonly root: string;
  readonly said: string[] = [];
  readonly calls: string[] = [];
  publicKey = '';

  constructor(root: string) {
    this.root = root;
  }

  static async make(): Promise<TestDevice> {
    const device = new TestDevice(await mkdtemp(join(tmpdir(), 'pi-gateway-device-')));
    await device.#furnish();
    return device;
  }

  async #furnish(): Promise<void> {
    for (const folder of ['etc/ssh', 'etc/wireguard/peers.d', 'boot/firmware', 'home/gateway'])
      await mkdir(join(this.root, folder), { recursive: true });
    // Its files are this process's own, which need not be root.
    const uid = Math.max(1000, process.getuid?.() ?? 0);
    await this.put(
      'etc/passwd',
      `root:x:0:0::/root:/bin/sh\ngateway:x:${uid}:${process.getgid?.()}::/home/gateway:/bin/bash\n`,
    );
    await this.put('etc/shadow', 'root:!:20000::::::\ngateway:*:20000:0:-1:7:::\n');
    await this.put('etc/group', 'root:x:0:\nsudo:x:27:gateway\n');
    await this.put('etc/hostname', 'pi-gateway\n');
    await this.put('etc/hosts', '127.0.0.1 localhost\n127.0.1.1 pi-gateway\n');
    await this.put('etc/machine-id', 'e81db6f119ae44528c4e8c299e23f174\n');
    await this.put('proc/sys/kernel/random/entropy_avail', '256\n');
    await this.put('usr/share/pi-gateway/firstboot.json', '{"admin":"gateway"}\n');
    await this.put('usr/share/zoneinfo/Europe/Berlin', 'TZif');
    await this.put('usr/bin/setupcon', '');
    await this.put('usr/lib/systemd/system/wpa_supplicant@.service', '');
    await this.put('usr/lib/systemd/system/pi-gateway-ddns.service', '');
    await this.put('usr/lib/clock-epoch', '');
    await utimes(join(this.root, 'usr/lib/clock-epoch'), built, built);
    const env = (await renderStage(wireguard)).text('/usr/share/pi-gateway/wireguard.env');
    await this.put('usr/share/pi-gateway/wireguard.env', env);
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(this.root, 'owner')]);
    this.publicKey = (await this.read('owner.pub')).trim();
  }

  get system(): System {
    return {
      root: this.root,
      boot: '/boot/firmware',
      say: (text) => this.said.push(text),
      run: (command, args, options) => this.#run(command, args, options),
    };
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  async put(path: string, content: string): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true });
    await writeFile(join(this.root, path), content);
  }

  read(path: string): Promise<string> {
    return readFile(join(this.root, path), 'utf8');
  }

  async fingerprint(path: string): Promise<string> {
    const { stdout } = await run('ssh-keygen', ['-l', '-f', join(this.root, path)]);
    return stdout.split(' ')[1] ?? '';
  }

  async #run(command: string, args: readonly string[], o: RunOptions = {}): Promise<string> {
    this.calls.push([command, ...args].join(' '));
    switch (command) {
      case 'ssh-keygen':
      case 'openssl':
      case 'sync': {
        const { input, signal } = o;
        const result = await run(command, args, {
          ...(input === undefined ? {} : { input }),
          ...(signal ? { signal } : {}),
        });
        return result.stdout;
      }
      case 'useradd': {
        const name = args.at(-1) ?? '';
        await mkdir(join(this.root, 'home', name), { recursive: true });
        const ids =
          process.getuid?.() === 0 ? '2000:2000' : `${process.getuid?.()}:${process.getgid?.()}`;
        await appendFile(
          join(this.root, 'etc/passwd'),
          `${name}:x:${ids}::/home/${name}:/bin/sh\n`,
        );
        await appendFile(join(this.root, 'etc/shadow'), `${name}:*:20000:0:-1:7:::\n`);
        await this.#edit('etc/group', /^(sudo:.*)$/m, `$1,${name}`);
        return '';
      }
      case 'usermod':
        await this.#edit(
          'etc/shadow',
          new RegExp(`^(${args[2]}:(?:[^:]*:){6})[^:]*`, 'm'),
          `$1${args[1]}`,
        );
        return '';
      case 'chpasswd': {
        const [name = '', secret = ''] = (o.input ?? '').trim().split(':');
        await this.#edit(
          'etc/shadow',
          new RegExp(`^${name}:[^:]*`, 'm'),
          () => `${name}:${secret}`,
        );
        return '';
      }
      case '/usr/lib/pi-gateway/wireguard-key': {
        const key = newPrivateKey();
        await this.put('etc/wireguard/server.key', `${key}\n`);
        await this.put('etc/wireguard/server.pub', `${publicKeyOf(key)}\n`);
        return '';
      }
      case 'locale':
        return 'C\nC.utf8\nPOSIX\n';
      case 'setupcon':
      case 'systemctl':
      case 'nmcli':
      case 'visudo':
      case 'agetty':
        return '';
      default:
        throw new Error(`a test's device has no ${command}`);
    }
  }

  async #edit(path: string, from: RegExp, to: string | ((text: string) => string)): Promise<void> {
    const text = await this.read(path);
    await this.put(path, typeof to === 'string' ? text.replace(from, to) : text.replace(from, to));
  }
}
