import { spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { project } from '../builder/testing/build.ts';
import { kernelState } from './kernel-state.ts';

const script = join(project, 'overlays/gateway/usr/lib/pi-gateway/kernel-state');
const secrets = [
  'cHJpdmF0ZS1rZXktb2YtdGhlLXNlcnZlci1pdHNlbGYhISE=',
  'cHJlc2hhcmVkLWtleS1vZi10aGUtY2xpZW50LXBob25lISE=',
];

let root: string;
let server: Server;
/** What sh(1) runs for each connection, as systemd's Accept=yes does. */
let command: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-state-'));
  command = ['sh', script];
  server = createServer((socket) => {
    const [program = '', ...args] = command;
    const child = spawn(program, args, {
      env: { PATH: `${root}:/usr/sbin:/usr/bin:/sbin:/bin` },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    child.stdin.on('error', () => undefined);
    socket.pipe(child.stdin);
    child.stdout.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(join(root, 'state.sock'), resolve));
});

afterEach(async () => {
  server.close();
  await rm(root, { recursive: true });
});

const state = () => kernelState(join(root, 'state.sock'));

async function program(name: string, text: string): Promise<void> {
  await writeFile(join(root, name), `#!/bin/sh\n${text}\n`);
  await chmod(join(root, name), 0o755);
}

const wg = (lines: readonly string[]) =>
  program('wg', `[ "$*" = 'show all dump' ] || exit 1\ncat << 'END'\n${lines.join('\n')}\nEND`);

function said(word: string): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn('sh', [script], { env: { PATH: `${root}:/usr/bin:/bin` } });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        text += chunk.toString();
      });
    child.on('close', () => resolve(text));
    child.stdin.end(`${word}\n`);
  });
}

describe('peers', () => {
  const server = ['wg0', secrets[0], 'c2VydmVy', '51820', 'off'].join('\t');
  const phone = [
    'wg0',
    'cGhvbmU=',
    secrets[1],
    '203.0.113.9:4711',
    '10.66.0.2/32,fd66::2/128',
    '1767322800',
    '123',
    '456',
    '25',
  ];
  const laptop = ['wg0', 'bGFwdG9w', '(none)', '(none)', '(none)', '0', '0', '0', 'off'];

  test('are told with all that is no secret', async () => {
    await wg([server, phone.join('\t'), laptop.join('\t')]);
    expect(await state().wireguard()).toEqual([
      {
        interface: 'wg0',
        publicKey: 'cGhvbmU=',
        endpoint: '203.0.113.9:4711',
        allowedIps: ['10.66.0.2/32', 'fd66::2/128'],
        handshake: 1767322800,
        received: 123,
        sent: 456,
      },
      {
        interface: 'wg0',
        publicKey: 'bGFwdG9w',
        endpoint: undefined,
        allowedIps: [],
        handshake: 0,
        received: 0,
        sent: 0,
      },
    ]);
  });

  test('keep their keys and the server its own, also in a format that nobody knows yet', async () => {
    await wg([
      server,
      phone.join('\t'),
      `${server}\tnew`,
      [...phone, 'new'].join('\t'),
      secrets.join(' '),
    ]);
    const text = await said('wireguard');
    expect(text).toContain('cGhvbmU=');
    for (const secret of secrets) expect(text).not.toContain(secret);
  });

  test('are none where there is no interface', async () => {
    await program('wg', 'exit 0');
    expect(await state().wireguard()).toEqual([]);
  });

  test('are not told in part: a program that fails in the middle is an error', async () => {
    await program('wg', `printf '${phone.join('\\t')}\\n'; exit 1`);
    await expect(state().wireguard()).rejects.toThrow(/cannot be read \(wireguard\).*not whole/);
  });
});

describe('counters', () => {
  test("are those of the kernel's table", async () => {
    const rules =
      'add table inet gateway; add counter inet gateway input { packets 3 bytes 180 }; add counter inet gateway vpn_phone';
    command = [
      'unshare',
      '--net',
      '--map-root-user',
      'sh',
      '-c',
      `nft '${rules}' && exec sh ${script}`,
    ];
    expect(await state().counters()).toEqual({
      input: { packets: 3, bytes: 180 },
      vpn_phone: { packets: 0, bytes: 0 },
    });
  });

  test('cannot be read while the firewall is not loaded', async () => {
    command = ['unshare', '--net', '--map-root-user', 'sh', script];
    await expect(state().counters()).rejects.toThrow(/cannot be read \(counters\)/);
  });
});

test.each(['', 'all', 'wireguard; id', 'wireguard counters', '$(id)', '../wg'])(
  'nothing else is done: %j',
  async (word) => {
    await program('wg', 'echo wg was run');
    await program('nft', 'echo nft was run');
    const text = await said(word);
    expect(text).not.toMatch(/was run|uid=|ok\n/);
  },
);

test('without the socket it says what to look at', async () => {
  await expect(kernelState(join(root, 'none.sock')).wireguard()).rejects.toMatchObject({
    message: expect.stringContaining('ENOENT'),
    fix: expect.stringContaining('pi-gateway-state.socket'),
  });
});
