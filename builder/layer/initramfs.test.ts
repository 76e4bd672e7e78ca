import { chmod, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { initramfsContent, touchesInitramfs } from './apply.ts';

let tree: string;
beforeEach(async () => {
  tree = await mkdtemp(join(tmpdir(), 'pi-gateway-initramfs-'));
});
afterEach(() => rm(tree, { recursive: true }));

async function write(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(tree, path)), { recursive: true });
  await writeFile(join(tree, path), content);
}

test('a layer that was made again with the same files for an initramfs needs no other', async () => {
  await write('etc/modprobe.d/gateway.conf', 'blacklist dccp\n');
  await write('etc/hostname', 'one');
  const before = await initramfsContent(tree);
  await write('etc/hostname', 'two');
  await write('etc/modprobe.d/gateway.conf', 'blacklist dccp\n');
  await utimes(join(tree, 'etc/modprobe.d/gateway.conf'), 1, 1);
  expect(await initramfsContent(tree)).toBe(before);
});

test('another content, mode, name or link of them does', async () => {
  await write('etc/modprobe.d/gateway.conf', 'blacklist dccp\n');
  const seen = new Set([await initramfsContent(tree)]);
  const changes = [
    () => write('etc/modprobe.d/gateway.conf', 'blacklist sctp\n'),
    () => chmod(join(tree, 'etc/modprobe.d/gateway.conf'), 0o600),
    () => symlink('gateway.conf', join(tree, 'etc/modprobe.d/same.conf')),
    () => write('etc/udev/rules.d/70-own.rules', ''),
    () => write('etc/systemd/network/10-lan.link', '[Match]\n'),
  ];
  for (const change of changes) {
    await change();
    seen.add(await initramfsContent(tree));
  }
  expect(seen.size).toBe(changes.length + 1);
});

test('files that no initramfs holds do not touch it', async () => {
  await write('etc/ssh/sshd_config', 'x');
  await write('etc/systemd/network/10-lan.network', '[Match]\n');
  expect(await touchesInitramfs(tree)).toBe(false);
  await write('etc/systemd/network/10-lan.link', '[Match]\n');
  expect(await touchesInitramfs(tree)).toBe(true);
});
