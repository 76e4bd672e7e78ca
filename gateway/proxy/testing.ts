import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../../builder/qemu/free-port.ts';
import { deviceSystem, type System } from '../../firstboot/system.ts';
import type { TestDevice } from '../../firstboot/testing.ts';
import { certificateDevice } from '../pki/testing.ts';
import { settingsFile } from '../settings/read.ts';
import { reconcile } from './reconcile.ts';
import { configFile, listFile, proxyFolder } from './render.ts';

/** Runs programs as a device does, with what they say of a failure. */
const programs = deviceSystem(() => undefined);

/**
 * A device in a folder with a real haproxy on loopback: its sockets are of systemd-socket-activate(1), as the
 * device's are of systemd. Of systemctl there is what reloads it.
 */
export class ProxyDevice {
  readonly device: TestDevice;
  readonly tls: number;
  readonly plain: number;
  /** What haproxy has said. */
  log = '';
  #child: ChildProcess | undefined;
  readonly #services: Server[] = [];

  private constructor(device: TestDevice, tls: number, plain: number) {
    this.device = device;
    this.tls = tls;
    this.plain = plain;
  }

  static async make(): Promise<ProxyDevice> {
    const device = await certificateDevice();
    // One address: the order of sockets is that of two.
    const zones = [{ name: 'lan', addresses: ['127.0.0.1'], networks: ['192.168.10.0/24'] }];
    await device.put('usr/share/pi-gateway/proxy.json', JSON.stringify({ zones, acme: true }));
    return new ProxyDevice(device, await freePort(), await freePort());
  }

  get system(): System {
    return {
      ...this.device.system,
      run: async (command, args, options) => {
        if (command === 'haproxy')
          return await programs.run(command, [
            ...args.slice(0, -1),
            await this.#here(args.at(-1) ?? ''),
          ]);
        if (command !== 'systemctl') return await this.device.system.run(command, args, options);
        this.device.calls.push([command, ...args].join(' '));
        if (args[0] === 'show') return this.#child ? 'active\n' : 'inactive\n';
        if (args[0] === 'reload-or-restart') await this.#load();
        return '';
      },
    };
  }

  async settings(yaml: string): Promise<void> {
    await this.device.put(settingsFile, yaml);
  }

  async reconcile(now = Date.now()): Promise<void> {
    await reconcile(this.system, now);
  }

  /** A copy with paths of this folder. */
  async #here(path: string): Promise<string> {
    const folder = join(this.device.root, 'here');
    await mkdir(folder, { recursive: true });
    const { root } = this.device;
    const local = async (from: string, name: string) => {
      const text = await readFile(from, 'utf8');
      const to = join(folder, name);
      await writeFile(
        to,
        text
          .replaceAll(listFile, join(folder, 'list'))
          .replaceAll(new RegExp(`(?<![\\w/.-])${proxyFolder}`, 'g'), join(root, proxyFolder)),
      );
      return to;
    };
    await local(join(root, listFile), 'list');
    return await local(path, 'haproxy.cfg');
  }

  async #load(): Promise<void> {
    const config = await this.#here(join(this.device.root, configFile));
    if (this.#child) {
      const before = this.log.length;
      this.#child.kill('SIGUSR2');
      await this.#says(/Loading success/, before);
      return;
    }
    this.#child = spawn(
      'setpriv',
      [
        ...['--pdeathsig', 'KILL', 'systemd-socket-activate'],
        ...['-l', `127.0.0.1:${this.tls}`, '-l', `127.0.0.1:${this.plain}`],
        ...['haproxy', '-Ws', '-f', config],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const hear = (data: Buffer) => {
      this.log += data.toString();
    };
    this.#child.stdout?.on('data', hear);
    this.#child.stderr?.on('data', hear);
    await this.#says(/Listening on .* as 4/, 0);
    // It starts with the first connection.
    await fetch(`http://127.0.0.1:${this.plain}/pki/root.pem`);
    await this.#says(/Loading success/, 0);
  }

  async #says(what: RegExp, from: number): Promise<void> {
    const end = performance.now() + 15_000;
    while (!what.test(this.log.slice(from))) {
      if (performance.now() > end) throw new Error(`haproxy does not say ${what}:\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** A service on loopback. @returns where it is. */
  async serve(answer: Parameters<typeof createServer>[1]): Promise<string> {
    const server = createServer(answer).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    this.#services.push(server);
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  get services(): readonly Server[] {
    return this.#services;
  }

  async remove(): Promise<void> {
    for (const server of this.#services) {
      server.closeAllConnections();
      server.close();
    }
    if (this.#child) {
      const gone = new Promise((resolve) => this.#child?.once('exit', resolve));
      this.#child.kill('SIGTERM');
      await gone;
    }
    await this.device.remove();
  }
}
