import { createHash } from 'node:crypto';
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { z } from 'zod';
import { run } from '../../builder/exec.ts';
import { ageIdentity } from '../../firstboot/steps/age-identity.ts';
import type { System } from '../../firstboot/system.ts';
import { firewall } from '../../stages/firewall/stage.ts';
import { ssh } from '../../stages/ssh/stage.ts';
import { renderStage } from '../../stages/testing.ts';
import { wireguard } from '../../stages/wireguard/stage.ts';
import { SettingsDevice } from '../settings/testing.ts';
import type { Owner } from './owner.ts';
import { factsFile, quadletFolder } from './places.ts';
import { ownTemplates, type template } from './template.ts';

/** An image of busybox that serves a page which says its version; a bad one does not become well. */
export type TestImage = {
  /** In the archive; null: it has none. */
  reference: string | null;
  version: string;
  isWell: boolean;
  architecture: 'amd64' | 'arm64';
};

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/**
 * Writes an OCI archive (image spec 1.1, image-layout.md).
 * @param busybox a static one, of the image's architecture.
 * @returns the manifest's digest.
 */
export async function writeTestImage(
  file: string,
  image: TestImage,
  busybox: string,
): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), 'pi-gateway-image-'));
  try {
    const root = join(work, 'root');
    for (const folder of ['bin', 'www', 'tmp', 'data', 'etc'])
      await mkdir(join(root, folder), { recursive: true });
    await cp(busybox, join(root, 'bin/busybox'));
    for (const name of [
      'sh',
      'cat',
      'wget',
      'nc',
      'httpd',
      'sleep',
      'touch',
      'kill',
      'id',
      'nslookup',
    ])
      await symlink('busybox', join(root, 'bin', name));
    await writeFile(join(root, 'www/index.html'), `version ${image.version}\n`);
    if (image.isWell) await writeFile(join(root, 'www/health'), 'well\n');
    await writeFile(
      join(root, 'etc/passwd'),
      'root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n',
    );
    const layerFile = join(work, 'layer.tar');
    await run('tar', ['--create', '--file', layerFile, '--owner=0', '--group=0', '-C', root, '.']);
    const layout = join(work, 'layout');
    await mkdir(join(layout, 'blobs/sha256'), { recursive: true });
    const put = async (bytes: Uint8Array, mediaType: string) => {
      const digest = sha256(bytes);
      await writeFile(join(layout, 'blobs/sha256', digest), bytes);
      return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
    };
    const json = (value: unknown) => Buffer.from(JSON.stringify(value));
    const type = (name: string) => `application/vnd.oci.image.${name}`;
    const layer = await put(await readFile(layerFile), type('layer.v1.tar'));
    const config = await put(
      json({
        architecture: image.architecture,
        os: 'linux',
        config: {
          Env: ['PATH=/bin'],
          Cmd: ['/bin/busybox', 'httpd', '-f', '-p', '8080', '-h', '/www'],
        },
        rootfs: { type: 'layers', diff_ids: [layer.digest] },
      }),
      type('config.v1+json'),
    );
    const manifest = await put(
      json({ schemaVersion: 2, mediaType: type('manifest.v1+json'), config, layers: [layer] }),
      type('manifest.v1+json'),
    );
    const annotations =
      image.reference === null
        ? {}
        : { annotations: { 'org.opencontainers.image.ref.name': image.reference } };
    await writeFile(
      join(layout, 'index.json'),
      json({ schemaVersion: 2, manifests: [{ ...manifest, ...annotations }] }),
    );
    await writeFile(join(layout, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
    await mkdir(dirname(file), { recursive: true });
    await run('tar', ['--create', '--file', file, '-C', layout, '.']);
    return manifest.digest;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** A template of {@link writeTestImage}'s image. */
export function echoTemplate(reference: string): z.input<typeof template> {
  return {
    id: 'echo',
    title: 'Echo',
    summary: 'Says its version',
    version: 1,
    login: { user: 'admin', secret: 'admin-password' },
    secrets: ['admin-password'],
    parts: [
      {
        name: 'echo',
        image: reference,
        uid: 1000,
        starts_as_uid: true,
        environment: { GREETING: 'two words, 100 % "quoted" $HOME' },
        secrets: [{ secret: 'admin-password', variable: 'PASSWORD_FILE' }],
        volumes: [{ name: 'data', path: '/data' }],
        tmpfs: [{ path: '/scratch', mib: 4 }],
        files: [{ path: '/etc/echo.conf', content: 'greeting\n' }],
        networks: ['dmz'],
        ports: [{ name: 'web', port: 8080, published: 8080, zones: ['lan', 'vpn'], web: '/' }],
        limits: { memory_mib: 32, cpus: 0.5, pids: 16 },
        health: {
          command: ['/bin/wget', '-q', '-O', '/dev/null', 'http://127.0.0.1:8080/health'],
          interval_s: 30,
          timeout_s: 30,
          retries: 3,
          start_s: 0,
        },
      },
    ],
  };
}

/**
 * A device with both stages. Of Podman and the containers' systemd it has stand-ins that keep to what the real ones
 * do: images by name and digest, units that come up or not.
 */
export class ContainersDevice {
  readonly device: SettingsDevice;
  /** What the registry has, by name. */
  readonly registry = new Map<string, string>();
  /** What is on the device, by name. */
  readonly images = new Map<string, string>();
  /** Digests that do not become well. */
  readonly bad = new Set<string>();
  /** Units that run, with the image that each runs. */
  readonly running = new Map<string, string>();
  /** What happened, in order. */
  readonly events: string[] = [];
  /** The next start never comes to an end: the power goes meanwhile. */
  cut = false;
  #units = new Map<string, string>();

  private constructor(device: SettingsDevice) {
    this.device = device;
  }

  static async make(): Promise<ContainersDevice> {
    const device = await SettingsDevice.make();
    const one = new ContainersDevice(device);
    const zones = {
      lan: { interfaces: ['eth1'], address4: '192.168.10.1/24' },
      guest: { interfaces: ['eth2'], address4: '192.168.20.1/24' },
    };
    const containers = { network4: '10.90.0.0/30', network6: 'fd66:6761:7465:90::/64' };
    const rules = await renderStage(
      firewall,
      { zones },
      {
        containers,
        ssh: ssh.options.parse({}),
        wireguard: wireguard.options.parse({}),
      },
    );
    const report = '/usr/share/pi-gateway/firewall.json';
    await device.put(report, rules.text(report));
    await device.put('/etc/nftables.conf', rules.text('/etc/nftables.conf'));
    await device.put(
      factsFile,
      JSON.stringify({ address4: '10.90.0.2', address6: 'fd66:6761:7465:90::2' }),
    );
    await device.put('/usr/lib/systemd/system/pi-gateway-secrets-key.service', '');
    await device.put(
      '/usr/share/pi-gateway/ports.json',
      JSON.stringify([{ name: 'dns', port: 53, protocol: 'udp', zones: ['lan'] }]),
    );
    await ageIdentity.apply(device.system);
    device.programs.set(
      'systemd-creds',
      (_, { input }) =>
        `encrypted:${createHash('sha256')
          .update(input ?? '')
          .digest('hex')}`,
    );
    device.programs.set('systemctl', (args) => {
      one.events.push(`systemctl ${args.join(' ')}`);
      return args.includes('show') ? 'inactive\n' : '';
    });
    device.programs.set('loginctl', (args) => {
      one.events.push(`loginctl ${args.join(' ')}`);
      return '';
    });
    return one;
  }

  get system(): System {
    return this.device.system;
  }

  async addTemplate(value: z.input<typeof template>): Promise<void> {
    await this.device.put(`${ownTemplates}/${value.id}.json`, JSON.stringify(value));
  }

  get owner(): Owner {
    return {
      run: async (command, args) => {
        this.events.push([command, ...args].join(' '));
        return command === 'podman' ? this.#podman(args) : await this.#systemctl(args.slice(1));
      },
      feed: async () => {
        throw new Error('nothing is loaded here');
      },
    };
  }

  #podman(args: readonly string[]): string {
    const [verb = '', noun = ''] = args;
    const name = args.at(-1) ?? '';
    if (verb === 'image' && noun === 'inspect') {
      const digest = this.#find(this.images, name);
      if (digest === undefined) throw new Error(`${name}: image not known`);
      return `${digest}\n`;
    }
    if (verb === 'pull') {
      const digest = this.#find(this.registry, name);
      if (digest === undefined)
        throw new Error(`initializing source docker://${name}: no such host`);
      this.images.set(name, digest);
      return '';
    }
    if (verb === 'ps')
      return JSON.stringify(
        [...this.running].map(([unit, image]) => ({
          Names: [unit.replace('.service', '')],
          State: 'running',
          Status: this.bad.has(image) ? 'Up 1 minute (unhealthy)' : 'Up 1 minute (healthy)',
          StartedAt: 1_700_000_000,
        })),
      );
    return '';
  }

  /** A name with its digest is there if the digest is, under any tag of the name. */
  #find(images: ReadonlyMap<string, string>, name: string): string | undefined {
    const [repository, digest] = name.split('@');
    if (digest === undefined) return images.get(name);
    return [...images].find(
      ([one, other]) => other === digest && one.replace(/[:@][^/]*$/, '') === repository,
    )?.[1];
  }

  async #systemctl([verb = '', ...units]: readonly string[]): Promise<string> {
    if (verb === 'daemon-reload') {
      this.#units = new Map();
      const folder = join(this.device.root, quadletFolder);
      for (const file of await readdir(folder)) {
        if (!file.endsWith('.container') || file.startsWith('.')) continue;
        const text = await readFile(join(folder, file), 'utf8');
        const image = /^Image=.*@(.*)$/m.exec(text)?.[1] ?? '';
        this.#units.set(file.replace('.container', '.service'), image);
      }
    }
    if (verb === 'stop') for (const unit of units) this.running.delete(unit);
    if (verb === 'start')
      for (const unit of units) {
        if (this.cut) {
          this.cut = false;
          await new Promise(() => undefined);
        }
        const image = this.#units.get(unit);
        if (image === undefined) throw new Error(`Unit ${unit} not found`);
        if (this.bad.has(image)) throw new Error(`Job for ${unit} failed`);
        this.running.set(unit, image);
      }
    return '';
  }
}

/** Whether a file or folder is there. */
export async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
