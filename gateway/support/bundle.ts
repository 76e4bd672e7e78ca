import { chmod, chown, mkdir, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { at, readIfThere } from '../../firstboot/system.ts';
import { examine } from '../doctor/doctor.ts';
import type { World } from '../doctor/examination.ts';
import { GatewayError } from '../errors.ts';
import { readForeign } from '../foreign-file.ts';
import { type LogEntry, type LogQuery, readJournal } from '../logs/journal.ts';
import { readServices } from '../services/units.ts';
import { settingsFile } from '../settings/read.ts';
import { redactedText } from '../settings/secrets.ts';
import { readDeviceFacts } from '../status/facts.ts';
import { version } from '../version.ts';
import { knownSecrets, withoutSecrets } from './secrets.ts';

/** One file of the bundle. */
type Part = { name: string; what: string; read(world: World): Promise<string> };

const program =
  (...commands: readonly (readonly string[])[]) =>
  async ({ system }: World): Promise<string> => {
    const texts = commands.map(async ([command = '', ...args]) => {
      const text = await system
        .run(command, args, { timeout: 30_000 })
        .catch((error: unknown) => `${error instanceof Error ? error.message : error}\n`);
      return `$ ${[command, ...args].join(' ')}\n${text}`;
    });
    return (await Promise.all(texts)).join('\n');
  };

/** In a folder of a service's own user. */
const ddnsStatus = '/run/pi-gateway-ddns/status.json';

const file =
  (...paths: readonly string[]) =>
  async ({ system }: World): Promise<string> => {
    const texts = paths.map(async (path) => {
      const text = await readIfThere(at(system, path)).catch((error: unknown) => String(error));
      return headed(path, text);
    });
    return (await Promise.all(texts)).join('\n');
  };

const headed = (path: string, text: string | undefined) =>
  `==> ${path}\n${text ?? '(not there)\n'}`;

const logs =
  (query: Omit<LogQuery, 'limit'>) =>
  async ({ system }: World): Promise<string> => {
    const { entries } = await readJournal(system, { ...query, limit: 1000 });
    return entries.toReversed().map(lineOf).join('');
  };

const lineOf = ({ time, unit, program, pid, priority, message }: LogEntry) =>
  `${time} ${priority} ${program ?? unit ?? 'kernel'}${pid === null ? '' : `[${pid}]`}: ${message}\n`;

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

const parts: readonly Part[] = [
  {
    name: 'versions.txt',
    what: 'the image, the kernel, every package',
    read: async (world) =>
      [
        `pi-gateway ${version}, node ${process.version}\n`,
        await file('/usr/share/pi-gateway/image.json', '/etc/os-release')(world),
        await program(['uname', '-a'], ['dpkg-query', '--show'])(world),
      ].join('\n'),
  },
  {
    name: 'device.json',
    what: 'model, memory, disk, addresses',
    read: async ({ system, interfaces }) => json(await readDeviceFacts(system, interfaces)),
  },
  {
    name: 'doctor.json',
    what: 'what the doctor has found',
    read: async (world) => json(await examine(world)),
  },
  {
    name: 'services.json',
    what: "the gateway's services",
    read: async ({ system }) => json(await readServices(system)),
  },
  {
    name: 'units.txt',
    what: "systemd's units, those that failed, and timers",
    read: program(
      ['systemctl', 'list-units', '--all', '--plain', '--no-pager', '--full'],
      ['systemctl', 'list-timers', '--all', '--no-pager', '--full'],
      ['systemd-analyze', 'blame', '--no-pager'],
    ),
  },
  {
    name: 'logs-gateway.txt',
    what: "what the gateway's daemon has logged",
    read: logs({ unit: 'pi-gatewayd.service' }),
  },
  {
    name: 'logs-helper.txt',
    what: "what the API's helper has logged",
    read: logs({ unit: 'pi-gateway-helper.service' }),
  },
  {
    name: 'logs-firstboot.txt',
    what: 'what first boot has logged',
    read: logs({ unit: 'pi-gateway-firstboot.service' }),
  },
  {
    name: 'logs-vpn.txt',
    what: 'what WireGuard has logged',
    read: logs({ unit: 'wg-quick@wg0.service' }),
  },
  {
    name: 'logs-ddns.txt',
    what: 'what dynamic DNS has logged',
    read: logs({ unit: 'pi-gateway-ddns.service' }),
  },
  {
    name: 'logs-warnings.txt',
    what: 'warnings and errors of all',
    read: logs({ priority: 'warning' }),
  },
  { name: 'logs-kernel.txt', what: "the kernel's last messages", read: logs({ kernel: true }) },
  {
    name: 'firewall.txt',
    what: 'the rules in force',
    read: program(['nft', 'list', 'ruleset']),
  },
  {
    name: 'wireguard.txt',
    what: 'peers and handshakes, without keys',
    read: program(['wg', 'show']),
  },
  {
    name: 'network.txt',
    what: 'addresses, routes, name servers',
    read: program(
      ['ip', '-brief', 'address'],
      ['ip', 'route', 'show', 'table', 'all'],
      ['ip', '-6', 'route'],
      ['networkctl', 'status', '--all', '--no-pager'],
      ['resolvectl', 'status', '--no-pager'],
    ),
  },
  {
    name: 'disks.txt',
    what: 'file systems and memory',
    read: program(['df', '--human-readable'], ['findmnt', '--real'], ['free', '--human']),
  },
  {
    name: 'settings.txt',
    what: "the owner's settings, without secrets",
    read: async (world) => {
      const text = await readIfThere(at(world.system, settingsFile));
      return [
        text === undefined ? `There is no ${settingsFile}.\n` : redactedText(text),
        await file('/usr/share/pi-gateway/ports.json', '/usr/share/pi-gateway/daemon.json')(world),
      ].join('\n');
    },
  },
  {
    name: 'history.txt',
    what: 'changes by the API and the command line, updates, first boot',
    read: async (world) => {
      const own = await file(
        '/var/log/pi-gateway/audit.jsonl',
        '/var/log/apt/history.log',
        '/var/lib/pi-gateway/firstboot/journal.json',
      )(world);
      return `${own}\n${headed(ddnsStatus, await readForeign(at(world.system, ddnsStatus)))}`;
    },
  },
];

export type Bundle = { path: string; bytes: number; files: { name: string; what: string }[] };

/** Bytes of one file; the end of a longer one, which is the newest. */
const longest = 2 * 1024 * 1024;

/**
 * Writes all that helps to find what is wrong, without secrets, as a .tar.gz for its owner alone (0600).
 * @param owner who may read it, besides root.
 * @throws GatewayError if there is a file of that name.
 */
export async function writeBundle(
  world: World,
  path: string,
  owner?: { uid: number; gid: number },
): Promise<Bundle> {
  const { system } = world;
  await reserve(path);
  // In memory: tmpfs, and gone with the power.
  const folder = await mkdtemp(at(system, '/tmp/pi-gateway-support-'));
  try {
    const inside = join(folder, 'pi-gateway-support');
    await mkdir(inside, { mode: 0o700 });
    const known = await knownSecrets(system);
    const files = await Promise.all(
      parts.map(async ({ name, what, read }) => {
        const text = await read(world).catch(
          (error: unknown) =>
            `It could not be read: ${error instanceof Error ? error.message : error}\n`,
        );
        const safe = withoutSecrets(text, known);
        await writeFile(join(inside, name), safe.slice(-longest), { mode: 0o600 });
        return { name, what };
      }),
    );
    await writeFile(join(inside, 'README.txt'), readme(files, world), { mode: 0o600 });
    await system.run('tar', [
      '--create',
      '--gzip',
      '--owner=root:0',
      '--group=root:0',
      '--sort=name',
      `--directory=${folder}`,
      `--file=${path}`,
      'pi-gateway-support',
    ]);
    await chmod(path, 0o600);
    if (owner) await chown(path, owner.uid, owner.gid);
    return { path, bytes: (await stat(path)).size, files };
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Makes the file with its mode before anything is in it. */
async function reserve(path: string): Promise<void> {
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new GatewayError(
      code === 'EEXIST' ? `${path} is there already` : `${path} cannot be written: ${message}`,
      'Name another: --output FILE',
      code === 'EEXIST' ? 'conflict' : 'failed',
    );
  }
}

function readme(files: Bundle['files'], world: World): string {
  return `Facts about a Pi Gateway for who helps to find what is wrong, made ${new Date(world.now()).toISOString()}.

Keys, tokens, passwords, codes and their hashes are not in it: those that the device has in its files were
searched for, and what looks like one was taken out. Addresses, names of hosts and of VPN clients, and who has
logged in are in it: look through it before you give it to others.

${files.map(({ name, what }) => `${name.padEnd(20)} ${what}`).join('\n')}
`;
}
