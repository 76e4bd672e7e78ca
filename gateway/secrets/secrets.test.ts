import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { ageIdentity } from '../../firstboot/steps/age-identity.ts';
import type { Actor } from '../helper/verb.ts';
import { SettingsDevice } from '../settings/testing.ts';
import { deliverSecrets } from './change.ts';
import { listText } from './command.ts';
import { newPassword } from './password.ts';
import { decryptValue, needSecret, secretsFolder, writeSecret } from './store.ts';
import { secretsVerbs } from './verbs.ts';

/**
 * Real age and a real systemd-creds, with a host key of the test's own; of systemctl's calls the test keeps
 * a record.
 */
const actor: Actor = { via: 'cli', name: 'ann' };
const secret = 'correct-horse-battery';
const stageMark = '/usr/lib/systemd/system/pi-gateway-secrets-key.service';

let device: SettingsDevice;
let hostKey: string;
/** Units that do not come up. */
let broken: Set<string>;
let restarts: string[];

beforeEach(async () => {
  device = await SettingsDevice.make();
  hostKey = join(await mkdtemp(join(tmpdir(), 'pi-gateway-host-key-')), 'credential.secret');
  broken = new Set();
  restarts = [];
  await device.put(stageMark, '');
  await ageIdentity.apply(device.system);
  device.programs.set('systemd-creds', async (args, { input }) => {
    const { stdout } = await creds(args, input ?? '');
    return stdout;
  });
  device.programs.set('systemctl', (args) => {
    const unit = args.at(-1) ?? '';
    restarts.push(unit);
    if (broken.has(unit)) throw new Error(`Job for ${unit} failed`);
    return '';
  });
});
afterEach(async () => {
  await device.remove();
  await rm(join(hostKey, '..'), { recursive: true, force: true });
});

const creds = (args: readonly string[], input: string) =>
  run('systemd-creds', [...args], { input, env: { SYSTEMD_CREDENTIAL_SECRET: hostKey } });

const { 'secrets.set': set, 'secrets.rotate': rotate, 'secrets.remove': remove } = secretsVerbs;
const list = () => secretsVerbs['secrets.list'].run(device.system, {}, actor);
const plain = async (name: string) =>
  await decryptValue(device.system, await needSecret(device.system, name));

/** What a service with LoadCredentialEncrypted=NAME would see. */
async function credentialOf(name: string): Promise<string> {
  const file = await readFile(join(device.root, 'etc/credstore.encrypted', name), 'utf8');
  return (await creds(['decrypt', `--name=${name}`, '-', '-'], file)).stdout;
}

async function everyFile(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
}

describe('a secret', () => {
  test('comes back as it was given, and as a credential that systemd decrypts', async () => {
    await set.run(device.system, { name: 'nas.password', value: secret }, actor);
    expect(await plain('nas.password')).toBe(secret);
    expect(await credentialOf('nas.password')).toBe(secret);
  });

  test('of several lines and any characters stays whole: a key file', async () => {
    const value = '-----BEGIN KEY-----\nä € \t"\\$(x)\n-----END KEY-----\n';
    await set.run(device.system, { name: 'key', value }, actor);
    expect(await plain('key')).toBe(value);
    expect(await credentialOf('key')).toBe(value);
  });

  test('is in clear in no file of the device, nor in base64, and only root reads its files', async () => {
    await set.run(device.system, { name: 'nas.password', value: secret }, actor);
    const base64 = Buffer.from(secret).toString('base64').slice(0, -4);
    const files = await everyFile(device.root);
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) {
      const text = await readFile(file, 'latin1').catch(() => '');
      expect(text.includes(secret) || text.includes(base64), file).toBe(false);
    }
    const folder = join(device.root, secretsFolder);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    expect((await stat(join(folder, 'nas.password.json'))).mode & 0o777).toBe(0o600);
  });

  test('is never an argument of a program, and no part of what is audited or listed', async () => {
    await set.run(device.system, { name: 'nas.password', value: secret }, actor);
    await rotate.run(device.system, { name: 'nas.password', value: `${secret}2` }, actor);
    const told = [
      device.calls.join('\n'),
      JSON.stringify(set.audited?.({ name: 'nas.password', value: secret })),
      JSON.stringify(rotate.audited?.({ name: 'nas.password', value: secret })),
      JSON.stringify(await list()),
      listText(await list()),
    ].join('\n');
    expect(told).toContain('nas.password');
    expect(told).not.toContain(secret);
  });

  test('is a password of 139 bits if none is given', async () => {
    await set.run(device.system, { name: 'made' }, actor);
    expect(await plain('made')).toMatch(/^([A-Za-z2-9]{6}-){3}[A-Za-z2-9]{6}$/);
    expect(newPassword()).not.toBe(newPassword());
  });

  test('has a name that is no path', () => {
    for (const name of ['../x', 'a/b', '.x', 'x.', 'A', '', 'a b', 'a\nb'])
      expect(set.args.safeParse({ name }).success, name).toBe(false);
  });
});

describe('rotation', () => {
  test('restarts the units that use it, after they could get the new value', async () => {
    const units = ['grafana.service', 'nas.service'];
    await set.run(device.system, { name: 'shared', value: secret, units }, actor);
    const seen: string[] = [];
    device.programs.set('systemctl', async (args) => {
      seen.push(`${args.at(-1)} ${await credentialOf('shared')}`);
      return '';
    });
    const done = await rotate.run(device.system, { name: 'shared', value: 'new-value' }, actor);
    expect(done.restarted).toEqual(units);
    expect(done.secret.version).toBe(2);
    expect(seen).toEqual(units.map((unit) => `${unit} new-value`));
  });

  test('is taken back when a unit does not come up with it, and the units get the old value again', async () => {
    const units = ['one.service', 'two.service'];
    await set.run(device.system, { name: 'shared', value: secret, units }, actor);
    let tries = 0;
    device.programs.set('systemctl', (args) => {
      restarts.push(args.at(-1) ?? '');
      tries += 1;
      if (tries === 2) throw new Error('Job for two.service failed');
      return '';
    });
    await expect(
      rotate.run(
        device.system,
        { name: 'shared', value: 'the other side does not know it' },
        actor,
      ),
    ).rejects.toThrow('two.service does not come up with the new value');
    expect(await plain('shared')).toBe(secret);
    expect(await credentialOf('shared')).toBe(secret);
    expect(restarts).toEqual([...units, ...units]);
  });

  test('makes another password each time', async () => {
    await set.run(device.system, { name: 'made' }, actor);
    const before = await plain('made');
    await rotate.run(device.system, { name: 'made' }, actor);
    expect(await plain('made')).not.toBe(before);
  });

  test('of what is not there is told', async () => {
    await expect(rotate.run(device.system, { name: 'none' }, actor)).rejects.toThrow(
      'There is no secret none',
    );
  });
});

describe('removal', () => {
  test('leaves nothing, neither in the store nor for systemd', async () => {
    await set.run(device.system, { name: 'old', value: secret }, actor);
    await remove.run(device.system, { name: 'old', force: false }, actor);
    expect((await list()).secrets).toEqual([]);
    expect(await readdir(join(device.root, 'etc/credstore.encrypted'))).toEqual([]);
  });

  test('of one that units use needs force', async () => {
    const name = 'used';
    await set.run(device.system, { name, value: secret, units: ['x.service'] }, actor);
    await expect(remove.run(device.system, { name, force: false }, actor)).rejects.toThrow(
      'used is used by x.service',
    );
    await remove.run(device.system, { name, force: true }, actor);
    expect((await list()).secrets).toEqual([]);
  });
});

describe('when something goes wrong', () => {
  test('a power cut between store and systemd is seen, and deliver mends it', async () => {
    await set.run(device.system, { name: 'cut', value: secret }, actor);
    device.programs.set('systemd-creds', () => {
      throw new Error('the power is gone');
    });
    await expect(set.run(device.system, { name: 'cut', value: 'second' }, actor)).rejects.toThrow(
      'systemd-creds does not encrypt',
    );
    expect(await plain('cut')).toBe('second');
    expect((await list()).secrets[0]?.delivered).toBe(false);
    expect(listText(await list())).toContain('NOT DELIVERED');
    device.programs.set('systemd-creds', async (args, { input }) => {
      return (await creds(args, input ?? '')).stdout;
    });
    expect(await deliverSecrets(device.system, false)).toEqual(['cut']);
    expect(await credentialOf('cut')).toBe('second');
    expect(await deliverSecrets(device.system, false)).toEqual([]);
  });

  test('what a write has left that was cut off is no secret', async () => {
    await set.run(device.system, { name: 'whole', value: secret }, actor);
    await writeFile(join(device.root, secretsFolder, '.other.json.new'), '{"format":1,');
    expect((await list()).secrets.map(({ name }) => name)).toEqual(['whole']);
  });

  test('a damaged file is named, and so is what to do', async () => {
    await mkdir(join(device.root, secretsFolder), { recursive: true });
    await writeFile(join(device.root, secretsFolder, 'bad.json'), '{"format":1');
    await expect(list()).rejects.toThrow('The file of the secret bad is damaged');
  });

  test('a value that was changed on the disk is refused, not handed out', async () => {
    await set.run(device.system, { name: 'one', value: secret }, actor);
    await set.run(device.system, { name: 'two', value: 'another' }, actor);
    const record = await needSecret(device.system, 'one');
    const lines = record.value.split('\n');
    const middle = lines.length - 3;
    lines[middle] = (lines[middle] ?? '').replace(/[A-Y]/, (c) => (c === 'A' ? 'B' : 'A'));
    await writeSecret(device.system, { ...record, value: lines.join('\n') });
    await expect(plain('one')).rejects.toThrow('cannot be decrypted');
  });

  test("a card with another device's identity says so", async () => {
    await set.run(device.system, { name: 'one', value: secret }, actor);
    await rm(join(device.root, 'etc/pi-gateway/age'), { recursive: true });
    await ageIdentity.apply(device.system);
    await expect(plain('one')).rejects.toThrow('was made on another device');
  });

  test('without the key of first boot nothing is written', async () => {
    await rm(join(device.root, 'etc/pi-gateway/age'), { recursive: true });
    await expect(set.run(device.system, { name: 'one', value: secret }, actor)).rejects.toThrow(
      'has no key for secrets',
    );
    expect(await readdir(join(device.root, secretsFolder)).catch(() => [])).toEqual([]);
  });
});

test('the store works as the helper is run: interpreted, and without WebAssembly', async () => {
  const file = join(device.root, 'store.mjs');
  await build({
    stdin: {
      contents: `
        import { encryptValue, decryptValue } from ${JSON.stringify(join(import.meta.dirname, 'store.ts'))};
        // The device's node loads WebAssembly for it, and ends; this one's does not.
        globalThis.Response = class { constructor() { throw new Error('fetch was touched'); } };
        const system = { root: ${JSON.stringify(device.root)} };
        const value = await encryptValue(system, ${JSON.stringify(secret)});
        process.stdout.write(await decryptValue(system, { name: 'x', value }));`,
      resolveDir: import.meta.dirname,
    },
    outfile: file,
    ...{ bundle: true, format: 'esm', platform: 'node', logLevel: 'silent' },
  });
  // In this node, unlike the device's, that alone takes WebAssembly away.
  const { stdout } = await run(process.execPath, ['--jitless', file]);
  expect(stdout).toBe(secret);
});
