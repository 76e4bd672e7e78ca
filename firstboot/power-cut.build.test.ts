import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { plan } from './plan.ts';
import { runFirstBoot, stamp } from './run.ts';
import { secretFiles } from './steps/wipe.ts';
import { type RunOptions, readIfThere, type System } from './system.ts';
import { built, hash, ownerFile, TestDevice } from './testing.ts';

/** Called before everything that changes the device, and in the middle of each write. */
const card = vi.hoisted(() => ({ beforeChange: async (): Promise<void> => undefined }));

vi.mock('node:fs/promises', async (original) => {
  const { interruptedFiles } = await import('./interrupted-files.ts');
  return interruptedFiles(await original(), card, ['rename', 'rm', 'unlink', 'symlink']);
});

// The work of scrypt is for attackers; here it is done some hundred times.
vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>();
  const scrypt = (...[text, salt, length, , done]: Parameters<typeof real.scrypt>) =>
    real.scrypt(text, salt, length, { N: 2 }, done as never);
  return { ...real, scrypt };
});

/** Names that stand for a secret for good, as soon as there is a whole one. */
const keys = [
  'etc/ssh/ssh_host_ed25519_key',
  'etc/ssh/ssh_host_rsa_key',
  'etc/wireguard/server.key',
  'etc/pi-gateway/ca/root.key',
  'etc/pi-gateway/ca/root.crt',
  'etc/pi-gateway/age/identity.txt',
  'etc/pi-gateway/backup/password',
  'var/lib/pi-gateway/claim/code',
  'etc/wireguard/clients/phone.conf',
];

/** What the owner's file holds and nobody else may: password hash, Wi-Fi password, token. */
const secrets = [hash, 'correct horse', 'secret-token'];

/** Where each of them belongs. */
const homes = new Set([
  'etc/shadow',
  'etc/wpa_supplicant/wpa_supplicant-wlan0.conf',
  'etc/pi-gateway/ddns.yaml',
]);

let device: TestDevice;
let cuts = '';
let count = 0;
beforeAll(async () => {
  device = await TestDevice.make();
  await device.put('boot/firmware/gateway-device.yaml', ownerFile(device.publicKey));
  await device.put('boot/firmware/gateway-device.yaml.example', '# an example\n');
  await device.put('boot/firmware/user-data', `#cloud-config\npasswd: ${hash}\n`);
  cuts = await mkdtemp(join(tmpdir(), 'pi-gateway-cuts-'));
});
afterAll(async () => {
  await device.remove();
  await rm(cuts, { recursive: true, force: true });
});

/** What ssh-keygen said of a key, by its content. */
const answers = new Map<string, string>();

/** A machine with small keys, which are as whole as large ones; a key is looked at once. */
function quick(system: System): System {
  const ask = (command: string, args: readonly string[], o?: RunOptions) =>
    system.run(
      command,
      args.map((one) => (one === '4096' ? '1024' : one)),
      o,
    );
  return {
    ...system,
    run: async (command, args, o) => {
      const [flag = ''] = args;
      if (command !== 'ssh-keygen' || !['-y', '-l'].includes(flag)) return ask(command, args, o);
      const question = `${flag} ${await readIfThere(args.at(-1) ?? '')}`;
      const answer = answers.get(question) ?? (await ask(command, args, o));
      answers.set(question, answer);
      return answer;
    },
  };
}

async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

async function strays(root: string): Promise<string[]> {
  const found: string[] = [];
  for (const path of await filesBelow(root)) {
    if (homes.has(path)) continue;
    const text = await readFile(join(root, path), 'latin1');
    for (const secret of secrets) if (text.includes(secret)) found.push(`${path}: ${secret}`);
  }
  return found;
}

async function expectGood(root: string): Promise<void> {
  const system = quick({ ...device.system, root });
  for (const step of plan.prepare.filter((one) => !one.needs?.includes('settings')))
    expect([step.name, await step.check(system)]).toEqual([step.name, true]);
  const boot = await readdir(join(root, 'boot/firmware'));
  expect(boot.toSorted()).toEqual(['gateway-device.yaml.example', 'gateway-status.txt']);
  expect(boot.filter((name) => secretFiles.some((one) => one.test(name)))).toEqual([]);
  expect(await strays(root)).toEqual([]);
  expect(await readIfThere(join(root, stamp))).toBeDefined();
  expect(await readFile(join(root, 'etc/hostname'), 'utf8')).toBe('attic\n');
  expect(await readFile(join(root, 'home/ada/.ssh/authorized_keys'), 'utf8')).toBe(
    `${device.publicKey}\n`,
  );
  const leftovers = (await filesBelow(root)).filter((path) => /\.new($|\/)/.test(path));
  expect(leftovers).toEqual([]);
}

async function expectRecovery(cut: number): Promise<void> {
  const root = join(cuts, String(cut));
  const before = new Map<string, string>();
  for (const path of keys) {
    const text = await readIfThere(join(root, path));
    if (text !== undefined) before.set(path, text);
  }
  const outcome = await runFirstBoot(quick(new TestDevice(root).system), plan);
  expect([cut, outcome]).toEqual([cut, { failures: [], waiting: [] }]);
  await expectGood(root);
  for (const [path, text] of before)
    expect([cut, path, await readFile(join(root, path), 'utf8')]).toEqual([cut, path, text]);
  await rm(root, { recursive: true });
}

describe('a power cut', () => {
  test('that never comes: first boot ends in the good state', async () => {
    const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
    const record = async () => {
      const target = join(cuts, String(count + 1));
      for (let tries = 1; ; tries += 1) {
        try {
          const how = { recursive: true, preserveTimestamps: true, verbatimSymlinks: true };
          await real.cp(device.root, target, how);
          break;
        } catch (error) {
          // Programs that were begun beside the steps take files away while they are copied.
          if (tries === 20) throw error;
          await real.rm(target, { recursive: true, force: true });
        }
      }
      count += 1;
    };
    // Steps go on beside each other: whoever would change something waits until the state is copied.
    let recording = Promise.resolve();
    card.beforeChange = () => {
      recording = recording.then(record);
      return recording;
    };
    const outcome = await runFirstBoot(quick(device.system), plan);
    card.beforeChange = async () => undefined;
    expect(outcome).toEqual({ failures: [], waiting: [] });
    await expectGood(device.root);
    expect(count).toBeGreaterThan(150);
  }, 120_000);

  test('at each change of the disk leads to the same good state, and to no second key', async () => {
    for (let cut = 1; cut <= count; cut += 1) await expectRecovery(cut);
    console.info(`${count} power cuts, ${count} times the same good state`);
  }, 600_000);

  test('the certificate is valid since the image was made, whatever the clock says', async () => {
    const { X509Certificate } = await import('node:crypto');
    const root = new X509Certificate(await device.read('etc/pi-gateway/ca/root.crt'));
    expect(Date.parse(root.validFrom)).toBe(built * 1000);
  });
});
