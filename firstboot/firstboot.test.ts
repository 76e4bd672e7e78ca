import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../builder/exec.ts';
import { Journal, parseJournal } from './journal.ts';
import { runSteps, stamp } from './run.ts';
import { parseKeys, parseSettings } from './settings.ts';
import { OwnerError, type Step } from './step.ts';
import { growPartition } from './steps/grow-rootfs.ts';
import { hostKeys } from './steps/host-keys.ts';
import { isMachineId } from './steps/machine-id.ts';
import { admin, hostName } from './steps/owner.ts';
import { deviceSystem, readIfThere, type System, writeDurably } from './system.ts';

let root = '';
let said: string[] = [];
let publicKey = '';

/** A device in a folder: real files and real ssh-keygen. */
function device(): System {
  return {
    root,
    boot: '/boot/firmware',
    say: (text) => said.push(text),
    run: async (command, args, options) =>
      (await run(command, args, options?.input === undefined ? {} : { input: options.input }))
        .stdout,
  };
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-device-'));
  said = [];
  for (const folder of ['etc/ssh', 'boot/firmware', 'home/gateway'])
    await mkdir(join(root, folder), { recursive: true });
  await put(
    'etc/passwd',
    `root:x:0:0::/root:/bin/sh\ngateway:x:${process.getuid?.()}:${process.getgid?.()}::/home/gateway:/bin/bash\n`,
  );
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(root, 'owner')]);
  publicKey = (await read('owner.pub')).trim();
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content);
}
const read = (path: string) => readFile(join(root, path), 'utf8');
const fingerprint = (path: string) =>
  run('ssh-keygen', ['-l', '-f', join(root, path)]).then((r) => r.stdout.split(' ')[1]);

describe('SSH host keys', () => {
  const ed = 'etc/ssh/ssh_host_ed25519_key';

  test('are made once and kept', async () => {
    expect(await hostKeys.check(device())).toBe(false);
    await hostKeys.apply(device());
    expect(await hostKeys.check(device())).toBe(true);
    const first = await fingerprint(ed);
    await hostKeys.apply(device());
    expect(await fingerprint(ed)).toBe(first);
    expect(await read('etc/ssh/ssh_host_rsa_key.pub')).toMatch(/^ssh-rsa /);
  });

  test('of zero bytes, as a power cut leaves them, are none', async () => {
    await hostKeys.apply(device());
    await truncate(join(root, ed), 0);
    expect(await hostKeys.check(device())).toBe(false);
    await hostKeys.apply(device());
    expect(await hostKeys.check(device())).toBe(true);
  });

  test('keep the private half when only the public one was lost or is of another key', async () => {
    await hostKeys.apply(device());
    const first = await fingerprint(ed);
    await writeFile(join(root, `${ed}.pub`), `${publicKey}\n`);
    expect(await hostKeys.check(device())).toBe(false);
    await hostKeys.apply(device());
    expect(await fingerprint(ed)).toBe(first);
    expect(await hostKeys.check(device())).toBe(true);
  });
});

describe("the owner's settings", () => {
  test('let the admin in by key, with a byte order mark and Windows line ends too', async () => {
    await put(
      'boot/firmware/gateway-device.yaml',
      `\uFEFFhostname: attic\r\nadmin:\r\n  ssh_authorized_keys:\r\n    - ${publicKey}\r\n`,
    );
    await admin.apply(device());
    expect(await admin.check(device())).toBe(true);
    expect(await read('home/gateway/.ssh/authorized_keys')).toBe(`${publicKey}\n`);
    await admin.apply(device());
    expect(await read('home/gateway/.ssh/authorized_keys')).toBe(`${publicKey}\n`);
  });

  test('can be just a file authorized_keys', async () => {
    await put('boot/firmware/authorized_keys', `# mine\n${publicKey}\n`);
    await admin.apply(device());
    expect(await read('home/gateway/.ssh/authorized_keys')).toBe(`${publicKey}\n`);
  });

  test('without any key leave the device closed and say what to do', async () => {
    expect(await admin.check(device())).toBe(false);
    await expect(admin.apply(device())).rejects.toThrow(OwnerError);
    expect(await readIfThere(join(root, 'home/gateway/.ssh/authorized_keys'))).toBeUndefined();
  });

  test.each([
    ['an unknown key', 'hostnam: x\n', /gateway-device.yaml:\d+:\d+: hostnam/],
    ['invalid YAML', 'admin: [\n', /gateway-device.yaml:2:1/],
    ['a wrong type', 'admin: yes\n', /admin/],
    [
      'a private key',
      'admin:\n  ssh_authorized_keys:\n    - "-----BEGIN OPENSSH PRIVATE KEY-----"\n',
      /PRIVATE key/,
    ],
    ['no key in the list', 'admin:\n  ssh_authorized_keys: []\n', /at least one/],
    ['a duplicate key', 'hostname: a\nhostname: b\n', /:2:1/],
    ['a bad host name', 'hostname: "a b"\n', /:1:11: hostname/],
  ])('with %s are refused with the place', (_, text, message) => {
    expect(() => parseSettings(text)).toThrow(message);
  });

  test('name the device', async () => {
    await put('etc/hostname', 'pi-gateway\n');
    await put('etc/hosts', '127.0.0.1 localhost\n127.0.1.1 pi-gateway\n');
    await put('boot/firmware/gateway-device.yaml', 'hostname: attic\n');
    const quiet: System = { ...device(), run: async () => '' };
    await hostName.apply(quiet);
    expect(await hostName.check(quiet)).toBe(true);
    expect(await read('etc/hosts')).toBe('127.0.0.1 localhost\n127.0.1.1 attic\n');
  });

  test('a damaged line of authorized_keys is named', () => {
    expect(() => parseKeys(`${publicKey}\nnonsense\n`)).toThrow('key 2');
  });
});

describe('the card', () => {
  test.each(['dos', 'gpt'])(
    'a %s partition grows to the end, and no identifier changes',
    async (label) => {
      const disk = join(root, 'disk.img');
      await put('disk.img', '');
      await truncate(disk, 64 * 1024 * 1024);
      const id = label === 'dos' ? '0xf9803cbc' : '5F0D4F0E-8D3B-4D0B-9E7B-8A3B1C2D3E4F';
      await run('sfdisk', ['-q', disk], {
        input: `label: ${label}\nlabel-id: ${id}\nstart=2048, size=16384\nstart=18432, size=20480\n`,
      });
      const table = async () =>
        JSON.parse((await run('sfdisk', ['--json', disk])).stdout).partitiontable;
      const before = await table();
      await truncate(disk, 128 * 1024 * 1024);
      await growPartition(
        {
          run: async (command, args, options) =>
            command === 'partx'
              ? ''
              : (
                  await run(
                    command,
                    args,
                    options?.input === undefined ? {} : { input: options.input },
                  )
                ).stdout,
        },
        { disk, number: 2, device: `${disk}2` },
      );
      const after = await table();
      expect(after.id).toBe(before.id);
      expect(after.partitions[0]).toEqual(before.partitions[0]);
      expect(after.partitions[1].start).toBe(before.partitions[1].start);
      expect(after.partitions[1].uuid).toBe(before.partitions[1].uuid);
      expect((after.partitions[1].start + after.partitions[1].size) * 512).toBeGreaterThan(
        126 * 1024 * 1024,
      );
    },
  );
});

describe('the run of all steps', () => {
  const counting = (name: string, fail?: () => boolean): Step & { applied: number } => ({
    name,
    applied: 0,
    check: async (system) => (await readIfThere(join(system.root, `done-${name}`))) !== undefined,
    async apply(system) {
      this.applied += 1;
      if (fail?.()) throw new Error('power cut');
      await writeDurably(join(system.root, `done-${name}`), 'x');
    },
  });

  test('goes on after a failed step, and comes back only to that one', async () => {
    let broken = true;
    const steps = [counting('a'), counting('b', () => broken), counting('c')];
    expect((await runSteps(device(), steps)).failures).toMatchObject([
      { step: 'b', message: 'power cut' },
    ]);
    expect(await readIfThere(join(root, stamp))).toBeUndefined();
    expect(await read('boot/firmware/gateway-status.txt')).toContain('- b: power cut');
    broken = false;
    expect((await runSteps(device(), steps)).failures).toEqual([]);
    expect(steps.map((step) => step.applied)).toEqual([1, 2, 1]);
    expect(await readIfThere(join(root, stamp))).toBeDefined();
    expect(await read('boot/firmware/gateway-status.txt')).toContain('complete');
  });

  test('a step whose result does not hold has failed', async () => {
    const liar: Step = { name: 'liar', check: async () => false, apply: async () => undefined };
    expect((await runSteps(device(), [liar])).failures[0]?.message).toContain('does not hold');
  });

  test('a journal that is cut off, empty or of something else costs only its history', async () => {
    for (const text of ['', '[{"step":', 'null', '{}', '[1, "x"]'])
      expect(parseJournal(text)).toEqual([]);
    const path = join(root, 'journal.json');
    await writeFile(path, '[{"st');
    const journal = new Journal(path);
    await journal.load();
    await journal.add({ step: 'a', state: 'done' });
    expect(parseJournal(await readFile(path, 'utf8'))).toMatchObject([
      { step: 'a', state: 'done' },
    ]);
  });
});

test('a program that ends before it has read its input breaks nothing', async () => {
  const system = deviceSystem(() => undefined);
  const input = 'x'.repeat(1_000_000);
  await Promise.all(Array.from({ length: 20 }, () => system.run('true', [], { input })));
  await expect(system.run('false', [], { input })).rejects.toThrow('false failed');
});

test('a machine-id that systemd has not made, or of zeros, is none', () => {
  for (const bad of [undefined, '', 'uninitialized\n', `${'0'.repeat(32)}\n`, 'abc'])
    expect(isMachineId(bad)).toBe(false);
  expect(isMachineId('e81db6f119ae44528c4e8c299e23f174\n')).toBe(true);
});

test('the program that ships is one file of at most 500 KB that needs no packages', async () => {
  const { build } = await import('esbuild');
  const outfile = join(root, 'bundle.mjs');
  await build({
    entryPoints: [join(import.meta.dirname, 'main.ts')],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outfile,
    minify: true,
    banner: { js: "import{createRequire as r}from'node:module';const require=r(import.meta.url);" },
  });
  expect((await readFile(outfile)).length).toBeLessThan(500_000);
  const syntax = await new Promise<number>((resolve) => {
    execFile(process.execPath, ['--check', outfile], (error) => resolve(error ? 1 : 0));
  });
  expect(syntax).toBe(0);
});
