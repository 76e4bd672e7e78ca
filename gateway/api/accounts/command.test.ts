import { PassThrough } from 'node:stream';
import { Command } from 'commander';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { localClient } from '../client.ts';
import { TestApi } from '../testing.ts';
import { addAccountCommands } from './command.ts';

let gateway: TestApi;

beforeAll(async () => {
  gateway = await TestApi.start();
});

afterAll(() => gateway.stop());

/** @param input what is piped in. @returns standard output. */
async function run(args: string, input = ''): Promise<string> {
  const program = new Command('pi-gateway').exitOverride();
  program.configureOutput({ writeErr: () => undefined });
  addAccountCommands(program, () => localClient(gateway.socket, 'gateway'));
  for (const command of program.commands) {
    command.exitOverride().configureOutput({ writeErr: () => undefined });
    for (const one of command.commands)
      one.exitOverride().configureOutput({ writeErr: () => undefined });
  }
  const stdin = new PassThrough();
  stdin.end(input);
  vi.spyOn(process, 'stdin', 'get').mockReturnValue(stdin as unknown as typeof process.stdin);
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    await program.parseAsync(args.split(' '), { from: 'user' });
    return out.mock.calls.map(([text]) => text).join('');
  } finally {
    vi.restoreAllMocks();
  }
}

test('an account is made with a password from a pipe, listed, changed and removed', async () => {
  expect(await run('account list')).toContain('There is no account yet');
  expect(await run('account add ada --role admin', 'four words nobody guesses\n')).toContain(
    'ada may log in now, as admin',
  );
  await expect(run('account add bob', 'short\n')).rejects.toThrow('body.password');
  await expect(run('account add bob', 'password1234\n')).rejects.toMatchObject({ kind: 'refused' });
  await expect(run('account add bob')).rejects.toThrow('no password on standard input');
  await run('account add bob', 'another long password\n');
  expect(await run('account list')).toMatch(/ada +admin +no.*\n.*bob +viewer +no/);
  await run('account role bob --role admin');
  await run('account password bob', 'yet another long one\n');
  await expect(run('account totp-off eve')).rejects.toMatchObject({ kind: 'missing' });
  await run('account remove ada');
  await expect(run('account remove bob')).rejects.toThrow('last admin');
  expect(JSON.parse(await run('account list --json'))).toMatchObject([
    { name: 'bob', role: 'admin' },
  ]);
  const from = { address: '192.0.2.1', client: 'x' };
  const login = { name: 'bob', password: 'yet another long one' };
  expect(await gateway.accounts.login(login, from)).toMatchObject({ kind: 'begun' });
});

test('a token is printed alone, this once, and is revoked by its name', async () => {
  const token = (await run('token add graphs --scope metrics:read status:read --days 30')).trim();
  expect(gateway.accounts.byToken(token)?.principal).toMatchObject({
    role: 'viewer',
    scopes: ['metrics:read', 'status:read'],
  });
  expect(await run('token list')).toMatch(
    /graphs +viewer +cli\/gateway +\S+ +\S+ +metrics:read status:read/,
  );
  await expect(run('token add all --scope accounts:write')).rejects.toThrow('scopes');
  await expect(run('token add all --days 0')).rejects.toThrow('1 to 3650');
  await expect(run('token revoke nothing')).rejects.toMatchObject({ kind: 'missing' });
  await run('token revoke graphs');
  expect(gateway.accounts.byToken(token)).toBeUndefined();
});
