import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { systemdNotifier } from './notify.ts';
import { inheritedSockets } from './sockets.ts';

/** A datagram socket as systemd has it, which node has not: prints what arrives. */
const listener = `
use Socket; $| = 1;
socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die; bind($s, sockaddr_un($ARGV[0])) or die;
print "bound\\n";
while (defined recv($s, my $text, 4096, 0)) { print "$text\\n" if $text =~ /=1$/m; }`;

test('systemd is told that it is ready, then that it lives, until it stops', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-notify-'));
  const path = join(folder, 'notify');
  const child = spawn('perl', ['-e', listener, path]);
  let told = '';
  child.stdout.on('data', (chunk) => {
    told += chunk.toString();
  });
  const words = () => told.match(/\b(READY|WATCHDOG|STOPPING)=1/g) ?? [];
  try {
    await expect.poll(() => told).toContain('bound');
    const said: string[] = [];
    const env = { NOTIFY_SOCKET: path, WATCHDOG_USEC: '600000' };
    const notifier = systemdNotifier(env, (text) => said.push(text));
    await notifier.ready();
    await expect.poll(words).toEqual(['READY=1', 'WATCHDOG=1', 'WATCHDOG=1']);
    notifier.end();
    await notifier.stopping();
    await expect.poll(words).toContain('STOPPING=1');
    expect(said).toEqual([]);
  } finally {
    child.kill();
    await rm(folder, { recursive: true });
  }
});

test('where no systemd listens, nothing is started', async () => {
  const said: string[] = [];
  const notifier = systemdNotifier({ WATCHDOG_USEC: '1000' }, (text) => said.push(text));
  await notifier.ready();
  await notifier.stopping();
  notifier.end();
  expect(said).toEqual([]);
});

test('sockets are taken by their names, and only when they are for this process', () => {
  const env = { LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'https:https:local' };
  expect(inheritedSockets(env, 42)).toEqual([
    { fd: 3, name: 'https' },
    { fd: 4, name: 'https' },
    { fd: 5, name: 'local' },
  ]);
  expect(inheritedSockets(env, 43)).toEqual([]);
  expect(inheritedSockets({}, 42)).toEqual([]);
});
