import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { hostKeys } from '../../firstboot/steps/host-keys.ts';
import type { System } from '../../firstboot/system.ts';
import { AdminKeys, findAccount } from './admin-keys.ts';
import { expiryTime, isKey, parseAuthorizedKeys } from './authorized-keys.ts';
import { beginRotation, finishRotation, listHostKeys, readRotation } from './host-keys.ts';

let root = '';
let reloads = 0;
const now = new Date('2026-03-01T12:00:30Z');
const day = 86_400_000;

/** A device in a folder, with real ssh-keygen; only systemctl is a stand-in. */
function device(): System {
  return {
    root,
    boot: '/boot/firmware',
    say: () => undefined,
    run: async (command, args) => {
      if (command === 'systemctl') {
        expect(args).toEqual(['reload', 'ssh.service']);
        reloads += 1;
        return '';
      }
      return (await run(command, args)).stdout;
    },
  };
}

async function makeKey(name: string): Promise<{ text: string; fingerprint: string }> {
  const path = join(root, name);
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', path]);
  const print = (await run('ssh-keygen', ['-l', '-f', `${path}.pub`])).stdout.split(' ')[1] ?? '';
  return { text: await readFile(`${path}.pub`, 'utf8'), fingerprint: print };
}

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-ssh-'));
  reloads = 0;
  for (const folder of ['etc/ssh/sshd_config.d', 'home/ada/.ssh'])
    await mkdir(join(root, folder), { recursive: true });
  await writeFile(
    join(root, 'etc/passwd'),
    `root:x:0:0::/root:/bin/sh\nada:x:${process.getuid?.()}:${process.getgid?.()}::/home/ada:/bin/bash\n`,
  );
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe("an admin's keys", () => {
  const path = () => join(root, 'home/ada/.ssh/authorized_keys');
  const keys = async (at = now) =>
    new AdminKeys(device(), await findAccount(device(), 'ada', undefined), at);

  test('have the fingerprint that ssh-keygen prints', async () => {
    const key = await makeKey('laptop');
    await (await keys()).add(key.text);
    expect(await (await keys()).list()).toMatchObject([
      { fingerprint: key.fingerprint, comment: 'laptop', type: 'ssh-ed25519' },
    ]);
    expect((await stat(path())).mode & 0o777).toBe(0o600);
  });

  test('are added once, and what else is in the file stays', async () => {
    const key = await makeKey('laptop');
    const before = `# mine\nfrom="10.0.0.0/8,192.168.0.0/16",no-pty ${key.text.trim()}\nnonsense\n`;
    await writeFile(path(), before);
    await (await keys()).add(key.text);
    expect(await readFile(path(), 'utf8')).toBe(before);
    const phone = await makeKey('phone');
    await (await keys()).add(phone.text);
    expect(await readFile(path(), 'utf8')).toBe(`${before}${phone.text}`);
  });

  test('the last one cannot be removed, nor the last that has not expired', async () => {
    const one = await makeKey('one');
    const two = await makeKey('two');
    await (await keys()).add(one.text);
    await expect((await keys()).remove('one')).rejects.toThrow('nobody could log in as ada');
    await writeFile(path(), `expiry-time="20260101" ${two.text}${one.text}`);
    await expect((await keys()).remove(one.fingerprint)).rejects.toThrow('nobody could log in');
    await (await keys()).remove('two');
    expect(await readFile(path(), 'utf8')).toBe(one.text);
  });

  test('rotate: the new one works now, the old one until the overlap is over', async () => {
    const old = await makeKey('old');
    const fresh = await makeKey('fresh');
    await writeFile(path(), `no-pty ${old.text}`);
    await (await keys()).rotate('old', fresh.text, 7);
    expect(await readFile(path(), 'utf8')).toBe(
      `no-pty,expiry-time="202603081201Z" ${old.text}${fresh.text}`,
    );
    // sshd's own parser takes both lines.
    await run('ssh-keygen', ['-l', '-f', path()]);
    const later = new Date(now.getTime() + 8 * day);
    await expect((await keys(later)).remove('fresh')).rejects.toThrow('nobody could log in');
    await (await keys(later)).remove('old');
  });

  test('rotate without an overlap ends the old one at once', async () => {
    const old = await makeKey('old');
    const fresh = await makeKey('fresh');
    await (await keys()).add(old.text);
    await (await keys()).rotate(old.fingerprint, fresh.text, 0);
    expect(await readFile(path(), 'utf8')).toBe(fresh.text);
    await expect((await keys()).rotate('fresh', fresh.text, 1)).rejects.toThrow('is the old one');
  });

  test('what is no public key is refused with what is wrong', async () => {
    for (const [text, message] of [
      ['-----BEGIN OPENSSH PRIVATE KEY-----', /PRIVATE key/],
      ['ssh-ed25519 AAAA', /cut short/],
      ['hello', /public SSH key/],
    ] as const)
      await expect((await keys()).add(text)).rejects.toThrow(message);
    await expect((await keys()).remove('nobody')).rejects.toThrow("no key 'nobody'");
  });

  test('an end is read as sshd reads it, and written in UTC, never too short', () => {
    const blob = Buffer.alloc(51);
    blob.writeUInt32BE(11);
    blob.write('ssh-ed25519', 4);
    const end = (time: string) => {
      const [line] = parseAuthorizedKeys(
        `expiry-time="${time}" ssh-ed25519 ${blob.toString('base64')}`,
      );
      return line && isKey(line) ? line.expires?.toISOString() : line;
    };
    expect(end('20260304Z')).toBe('2026-03-04T00:00:00.000Z');
    expect(end('202603040506Z')).toBe('2026-03-04T05:06:00.000Z');
    expect(end('20260304050607Z')).toBe('2026-03-04T05:06:07.000Z');
    expect(end('tomorrow')).toMatchObject({ problem: 'its expiry-time is no date' });
    expect(expiryTime(new Date('2026-03-04T05:06:01Z'))).toBe('202603040507Z');
  });

  test('are those of the caller of sudo, unless another is named', async () => {
    await writeFile(
      join(root, 'etc/passwd'),
      'ada:x:1000:1000::/home/ada:/bin/bash\nbob:x:1001:1001::/home/bob:/bin/bash\ngateway:x:1002:1002::/home/gateway:/bin/bash\n',
    );
    expect(await findAccount(device(), undefined, 'bob')).toMatchObject({ name: 'bob' });
    expect(await findAccount(device(), 'ada', 'bob')).toMatchObject({ name: 'ada' });
    expect(await findAccount(device(), undefined, undefined)).toMatchObject({ name: 'gateway' });
    await expect(findAccount(device(), 'eve', undefined)).rejects.toThrow("no user 'eve'");
  });
});

describe('host keys', () => {
  const config = () => join(root, 'etc/ssh/sshd_config.d/20-gateway-rotation.conf');
  const prints = async () =>
    Object.fromEntries(
      (await listHostKeys(device())).map((key) => [`${key.type} ${key.state}`, key.fingerprint]),
    );

  test('rotate: both are offered, old ones first, until the overlap is over', async () => {
    await hostKeys.apply(device());
    const before = await prints();
    await beginRotation(device(), { overlapDays: 30, now });
    const during = await prints();
    expect(during).toMatchObject(before);
    expect(await readFile(config(), 'utf8')).toContain(
      'HostKey /etc/ssh/ssh_host_ed25519_key_next\nHostKey /etc/ssh/ssh_host_rsa_key_next\n',
    );
    expect((await stat(join(root, 'etc/ssh/ssh_host_rsa_key_next'))).mode & 0o777).toBe(0o600);

    const early = new Date(now.getTime() + 29 * day);
    expect(await finishRotation(device(), { now: early, force: false })).toBe(false);
    const due = new Date(now.getTime() + 31 * day);
    expect(await finishRotation(device(), { now: due, force: false })).toBe(true);
    expect(await prints()).toEqual({
      'ed25519 current': during['ed25519 next'],
      'rsa current': during['rsa next'],
    });
    expect(await hostKeys.check(device())).toBe(true);
    await expect(stat(config())).rejects.toThrow('ENOENT');
    expect(reloads).toBe(2);
    const card = await readFile(join(root, 'etc/issue.d/50-pi-gateway.issue'), 'utf8');
    expect(card).toContain(during['ed25519 next']);
    expect(await finishRotation(device(), { now: due, force: true })).toBe(false);
  });

  test('only one rotation at a time', async () => {
    await hostKeys.apply(device());
    await beginRotation(device(), { overlapDays: 1, now });
    await expect(beginRotation(device(), { overlapDays: 1, now })).rejects.toThrow('under way');
  });

  test('a power cut in the middle of the end leaves whole keys, and the rest is done later', async () => {
    await hostKeys.apply(device());
    await beginRotation(device(), { overlapDays: 0, now });
    const { 'ed25519 next': ed, 'rsa next': rsa } = await prints();
    // As if the power went after the first key's private half had got its name.
    let calls = 0;
    const dying: System = {
      ...device(),
      run: (command, args, options) => {
        calls += 1;
        if (calls === 2) throw new Error('power cut');
        return device().run(command, args, options);
      },
    };
    await expect(finishRotation(dying, { now, force: true })).rejects.toThrow('power cut');
    expect(await readRotation(device())).toBeDefined();
    expect(await finishRotation(device(), { now, force: true })).toBe(true);
    expect(await prints()).toEqual({ 'ed25519 current': ed, 'rsa current': rsa });
    expect(await hostKeys.check(device())).toBe(true);
  });
});
