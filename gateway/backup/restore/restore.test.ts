import { randomBytes } from 'node:crypto';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runProgram } from '../run-program.ts';
import { restoreWishes } from '../sheet.ts';
import { readRestored } from '../state.ts';
import { backUp } from '../tasks.ts';
import { TestGateway } from '../testing.ts';
import { applyRestore } from './apply.ts';
import { fetchRestore } from './fetch.ts';
import { type RestoreWish, readReady, readRequest, writeRequest } from './request.ts';

let old: TestGateway;
let fresh: TestGateway;

/** Of the old gateway, what must come back. */
const kept = ['etc/pi-gateway', 'etc/wireguard', 'etc/machine-id', 'etc/hostname', 'etc/localtime'];

beforeEach(async () => {
  old = await TestGateway.make();
  await old.furnish();
  fresh = await TestGateway.make();
  // The disk is plugged in there.
  await rm(join(fresh.root, 'mnt/usb'), { recursive: true });
});
afterEach(async () => {
  await old.remove();
  await fresh.remove();
});

async function wish(): Promise<RestoreWish> {
  const [first] = await restoreWishes(old.system, [old.disk]);
  if (!first) throw new Error('no wish');
  return first.wish;
}

async function backUpOld(): Promise<void> {
  const job = old.job([old.disk]);
  expect(await backUp(job, job.settings.targets)).toEqual(['ok']);
  await plugIn();
}

/** The disk as it is now, in the fresh gateway. */
async function plugIn(): Promise<void> {
  await runProgram('cp', ['-a', join(old.root, 'mnt/usb'), join(fresh.root, 'mnt/')]);
}

/** Flips bytes in every pack that the newest snapshot alone has. */
async function damage(before: ReadonlySet<string>): Promise<void> {
  for (const path of await packs())
    if (!before.has(path)) {
      const file = await open(join(fresh.root, 'mnt/usb/pi-gateway/data', path), 'r+');
      const { size } = await file.stat();
      await file.write(Buffer.alloc(24, 0x55), 0, 24, Math.floor(size / 4));
      await file.close();
    }
}

async function packs(of = fresh): Promise<string[]> {
  const names = await readdir(join(of.root, 'mnt/usb/pi-gateway/data'), { recursive: true });
  return names.filter((name) => /[0-9a-f]{64}$/.test(name));
}

describe('a fresh gateway', () => {
  test('becomes the old one: the same files with owners, modes and contents, and nothing of its own left', async () => {
    await backUpOld();
    // What its first boot has made.
    await fresh.put('etc/wireguard/server.key', 'fresh\n', 0o600);
    await fresh.put('etc/wireguard/clients/owner.conf', 'fresh client\n', 0o600);
    await fresh.put('etc/wireguard/peers.d/owner.conf', 'fresh client\n', 0o600);
    await fresh.put(
      'etc/passwd',
      'root:x:0:0::/root:/bin/sh\npi-gatewayd:x:990:990::/:/\ngateway:x:1000:1000::/home/gateway:/bin/bash\n',
    );
    await fresh.put(
      'etc/shadow',
      'root:*:2::::::\npi-gatewayd:!:2::::::\ngateway:*:2::::::\n',
      0o640,
    );
    await fresh.put(
      'etc/group',
      'root:x:0:\nsudo:x:27:gateway\npi-gatewayd:x:990:\ngateway:x:1000:\n',
    );
    await writeRequest(fresh.system, await wish());
    const ready = await fetchRestore(fresh.system, runProgram);
    expect(ready?.notes).toEqual([]);
    expect(await fresh.read('etc/wireguard/server.key')).toBe('fresh\n');

    await applyRestore(fresh.system);
    await rm(join(old.root, 'home/ada/.cache'), { recursive: true });
    const folders = [...kept, 'var/lib/pi-gatewayd', 'home'];
    expect(await fresh.listing(...folders)).toBe(await old.listing(...folders));
    expect(await fresh.read('etc/passwd')).toBe(await old.read('etc/passwd'));
    expect(await fresh.read('etc/shadow')).toContain('ada:$y$hash:1');
    expect(await fresh.read('etc/group')).toContain('sudo:x:27:ada\n');
    expect((await readRestored(fresh.system))?.message).toContain('restored as attic');
    expect(await fresh.read('boot/firmware/gateway-status.txt')).toContain('restored as attic');
    // The request had the password in it.
    expect(await readRequest(fresh.system)).toBeUndefined();
    expect(await readdir(join(fresh.root, 'var/lib/pi-gateway-backup/restore'))).toEqual([
      'finish.json',
    ]);
  });

  test('gives files of services to the numbers that their users have in its own image', async () => {
    await backUpOld();
    await fresh.put('etc/passwd', 'root:x:0:0::/root:/bin/sh\npi-gatewayd:x:123:124::/:/\n');
    await fresh.put('etc/group', 'root:x:0:\npi-gatewayd:x:124:\n');
    await writeRequest(fresh.system, await wish());
    await fetchRestore(fresh.system, runProgram);
    await applyRestore(fresh.system);
    expect(await stat(join(fresh.root, 'var/lib/pi-gatewayd/accounts.json'))).toMatchObject({
      uid: 123,
      gid: 124,
    });
    expect(await stat(join(fresh.root, 'home/ada/.ssh/authorized_keys'))).toMatchObject({
      uid: 1000,
      gid: 1000,
    });
    expect(await fresh.read('etc/passwd')).toContain('pi-gatewayd:x:123:124');
  });

  test('that is cut off while the backup is put in place begins again, and ends the same', async () => {
    await backUpOld();
    await writeRequest(fresh.system, await wish());
    await fetchRestore(fresh.system, runProgram);
    const cut = {
      ...fresh.system,
      run: async () => {
        throw new Error('power cut');
      },
    };
    // At the sync, when all files are in place; and before that, halfway through them.
    await expect(applyRestore(cut)).rejects.toThrow('power cut');
    await rm(join(fresh.root, 'etc/wireguard'), { recursive: true });
    await fresh.put('etc/pi-gateway/.gateway.yaml.restored', 'half of a file');
    expect(await readReady(fresh.system)).toBeDefined();
    await applyRestore(fresh.system);
    expect(await fresh.listing('etc/wireguard', 'etc/machine-id')).toBe(
      await old.listing('etc/wireguard', 'etc/machine-id'),
    );
    expect(await readReady(fresh.system)).toBeUndefined();
    expect(await applyRestore(fresh.system)).toBeUndefined();
  });

  test('takes an older snapshot when the newest is damaged, and says so', async () => {
    await backUpOld();
    const before = new Set(await packs());
    await old.put(
      'etc/wireguard/peers.d/tablet.conf',
      `[Peer]\n# ${randomBytes(4000).toString('hex')}\n`,
      0o600,
    );
    await backUpOld();
    await damage(before);
    await writeRequest(fresh.system, await wish());
    const ready = await fetchRestore(fresh.system, runProgram);
    expect(ready?.notes).toHaveLength(1);
    expect(ready?.notes[0]).toMatch(/The snapshot [0-9a-f]{8} of .* is damaged and was not used/);
    await applyRestore(fresh.system);
    expect(await readdir(join(fresh.root, 'etc/wireguard/peers.d'))).toEqual(['phone.conf']);
    expect(await fresh.read('boot/firmware/gateway-status.txt')).toContain(
      'is damaged and was not used',
    );
  });

  test('touches nothing when no snapshot is whole, or the password is wrong', async () => {
    await backUpOld();
    await fresh.put('etc/wireguard/server.key', 'fresh\n', 0o600);
    await writeRequest(fresh.system, { ...(await wish()), password: 'wrong' });
    await expect(fetchRestore(fresh.system, runProgram)).rejects.toThrow('wrong password');
    await damage(new Set());
    await writeRequest(fresh.system, await wish());
    await expect(fetchRestore(fresh.system, runProgram)).rejects.toThrow(
      /no snapshot is whole|damaged/,
    );
    expect(await applyRestore(fresh.system)).toBeUndefined();
    expect(await fresh.read('etc/wireguard/server.key')).toBe('fresh\n');
    expect(await readdir(join(fresh.root, 'run/pi-gateway-backup'))).toEqual([]);
  });
});
