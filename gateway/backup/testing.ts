import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { System } from '../../firstboot/system.ts';
import { runProgram } from './run-program.ts';
import { backupSettings, type Target } from './settings.ts';
import type { Job } from './tasks.ts';

const exec = promisify(execFile);

/**
 * A gateway in a folder: real files, owners and modes, real restic and ssh. Systemd and what would change this machine
 * is a stand-in.
 */
export class TestGateway {
  readonly root: string;
  readonly said: string[] = [];
  readonly calls: string[] = [];
  /** Runs in place of a command that a declaration names. */
  hook: (command: readonly string[]) => Promise<void> = async () => undefined;

  private constructor(root: string) {
    this.root = root;
  }

  static async make(declaration: object = standard): Promise<TestGateway> {
    const gateway = new TestGateway(await mkdtemp(join(tmpdir(), 'pi-gateway-backup-')));
    for (const folder of ['tmp', 'boot/firmware', 'etc/pi-gateway', 'run', 'mnt/usb'])
      await mkdir(join(gateway.root, folder), { recursive: true });
    await gateway.put('proc/self/mounts', '/dev/sda1 /mnt/usb ext4 rw 0 0\n');
    await gateway.put('etc/hostname', 'attic\n');
    await gateway.put('etc/machine-id', `${randomBytes(16).toString('hex')}\n`);
    await gateway.put(
      'etc/pi-gateway/backup/password',
      `${randomBytes(32).toString('base64url')}\n`,
      0o600,
    );
    await gateway.put('usr/share/pi-gateway/backup.d/10-gateway.json', JSON.stringify(declaration));
    return gateway;
  }

  /** What a gateway has that must come back. */
  async furnish(): Promise<void> {
    await this.put(
      'etc/passwd',
      'root:x:0:0::/root:/bin/sh\npi-gatewayd:x:990:990::/:/\nada:x:1000:1000::/home/ada:/bin/bash\n',
    );
    await this.put(
      'etc/shadow',
      'root:*:1::::::\npi-gatewayd:!:1::::::\nada:$y$hash:1::::::\n',
      0o640,
    );
    await this.put('etc/group', 'root:x:0:\nsudo:x:27:ada\npi-gatewayd:x:990:\nada:x:1000:\n');
    await this.put('etc/pi-gateway/gateway.yaml', 'updates: {reboot: never}\n', 0o640, 0, 990);
    await this.put('etc/pi-gateway/ca/root.key', 'CA KEY\n', 0o600);
    await this.put('etc/wireguard/server.key', `${randomBytes(32).toString('base64')}\n`, 0o600);
    await this.put('etc/wireguard/peers.d/phone.conf', '[Peer]\n', 0o600);
    await this.put('var/lib/pi-gatewayd/accounts.json', '{"ada":1}\n', 0o600, 990, 990);
    await this.put('var/lib/pi-gatewayd/history.bin', randomBytes(300_000), 0o600, 990, 990);
    await this.put('home/ada/.ssh/authorized_keys', 'ssh-ed25519 AAAA ada\n', 0o600, 1000, 1000);
    await this.put('home/ada/.cache/big', 'not worth keeping\n');
    await mkdir(join(this.root, 'home/ada/empty'), { mode: 0o750 });
    await symlink('/usr/share/zoneinfo/Europe/Berlin', join(this.root, 'etc/localtime'));
    await this.put('home/ada/set-id', 'x', 0o4755, 1000, 1000);
  }

  get system(): System {
    return {
      root: this.root,
      boot: '/boot/firmware',
      say: (text) => this.said.push(text),
      run: (command, args, options) => this.#run(command, args, options?.input),
    };
  }

  job(targets: readonly object[], more: object = {}): Job {
    const settings = backupSettings.parse({ targets, ...more });
    return { system: this.system, run: runProgram, settings };
  }

  /** A target that is a folder of the gateway's, where a disk is taken to be mounted. */
  get disk(): Target {
    return { type: 'disk', name: 'usb', mount: '/mnt/usb', folder: 'pi-gateway' };
  }

  /** restic on the disk's repository, as somebody by hand. */
  async restic(...args: string[]): Promise<string> {
    const { stdout } = await exec('restic', [
      ...['--repo', join(this.root, 'mnt/usb/pi-gateway')],
      ...['--password-file', join(this.root, 'etc/pi-gateway/backup/password'), '--no-cache'],
      ...args,
    ]);
    return stdout;
  }

  async put(
    path: string,
    content: string | Uint8Array,
    mode = 0o644,
    uid = 0,
    gid = uid,
  ): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true });
    await writeFile(join(this.root, path), content);
    await chown(join(this.root, path), uid, gid);
    await chmod(join(this.root, path), mode);
  }

  read(path: string): Promise<string> {
    return readFile(join(this.root, path), 'utf8');
  }

  /** Every file, folder and link of the folders given: mode, owner, content. */
  async listing(...folders: string[]): Promise<string> {
    const script =
      'find "$@" -printf "%p %y %m %U:%G %l\\n" | sort; find "$@" -type f -print0 | sort -z | xargs -0 sha256sum';
    const { stdout } = await exec('sh', ['-c', script, 'sh', ...folders], { cwd: this.root });
    return stdout;
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true, force: true });
  }

  async #run(command: string, args: readonly string[], input?: string): Promise<string> {
    this.calls.push([command, ...args].join(' '));
    switch (command) {
      case 'systemd-run':
        await this.hook(args.slice(args.indexOf('--') + 1));
        return '';
      case 'systemctl':
        // No disk is there.
        if (args.at(-1)?.endsWith('.device')) throw new Error('systemctl failed');
        return '';
      case 'ssh':
      case 'ssh-keygen': {
        const ran = await runProgram(command, args, { input: input ?? '' });
        if (ran.code !== 0) throw new Error(`${command} failed: ${ran.stderr}`);
        return ran.stdout;
      }
      default:
        return '';
    }
  }
}

export const standard = {
  description: 'A gateway',
  paths: [
    ...[
      '/etc/pi-gateway',
      '/etc/wireguard',
      '/etc/passwd',
      '/etc/shadow',
      '/etc/group',
      '/etc/hostname',
    ],
    ...['/etc/machine-id', '/etc/localtime', '/var/lib/pi-gatewayd', '/home', '/etc/nowhere'],
  ],
  exclude: ['/home/*/.cache'],
};

/** A program that runs until it is stopped; nothing of it outlives the test. */
export function start(command: string, args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH ?? '', ...env },
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => {
      text += data.toString();
    });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    text: () => text,
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
