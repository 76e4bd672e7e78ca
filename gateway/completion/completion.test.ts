import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { makeProgram } from '../program.ts';
import { serviceIds } from '../services/registry.ts';
import { completionScript, shells } from './scripts.ts';
import { type CommandFact, factsOf } from './tree.ts';

let facts: CommandFact[];
let folder = '';
let script = '';

beforeAll(async () => {
  facts = factsOf(await makeProgram());
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-completion-'));
  script = join(folder, 'completion.bash');
  await writeFile(script, completionScript('bash', facts));
});
afterAll(() => rm(folder, { recursive: true }));

/** What bash offers for the last word, in a shell of its own. */
async function offered(...words: string[]): Promise<string[]> {
  const program = `source "$1"; shift
ls() { printf '%s\\n' laptop.conf phone.conf README '$(reboot).conf' 'a b.conf'; }
COMP_WORDS=(pi-gateway "$@"); COMP_CWORD=$#
_pi_gateway; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await run('bash', ['-c', program, 'bash', script, ...words]);
  expect(stderr).toBe('');
  return stdout.trim().split('\n').filter(Boolean);
}

describe('bash', () => {
  test('offers the commands of all areas, and below each its own', async () => {
    expect(await offered('')).toEqual(
      expect.arrayContaining(['status', 'doctor', 'service', 'logs', 'vpn', 'firewall', 'config']),
    );
    expect(await offered('ser')).toEqual(['service']);
    expect(await offered('service', '')).toEqual(['list', 'restart', 'logs', 'help']);
    expect(await offered('ssh', 'keys', 'ro')).toEqual(['rotate']);
  });

  test('offers service ids once, and nothing where nothing follows', async () => {
    expect(await offered('service', 'restart', '')).toEqual([...serviceIds]);
    expect(await offered('service', 'restart', 'dns', '')).toEqual([]);
    expect(await offered('status', '')).toEqual([]);
  });

  test('offers the names of VPN clients where one is meant, not where one is to be made', async () => {
    expect(await offered('vpn', 'show', '')).toEqual(['laptop', 'phone']);
    expect(await offered('vpn', 'revoke', 'p')).toEqual(['phone']);
    expect(await offered('vpn', 'add', '')).toEqual([]);
  });

  test('offers options and their values; a value counts for no place', async () => {
    expect(await offered('logs', '--pr')).toEqual(['--priority']);
    expect(await offered('logs', '--priority', 'w')).toEqual(['warning']);
    expect(await offered('logs', '--priority', 'warning', 'ss')).toEqual(['ssh']);
    expect(await offered('logs', '--search', 'x')).toEqual([]);
    expect(await offered('logs', '--json', 'dn')).toEqual(['dns']);
  });

  test('offers files where one is meant', async () => {
    expect(await offered('firewall', 'apply', join(folder, 'comp'))).toEqual([script]);
  });

  test('a strange word is no command and runs nothing', async () => {
    const mark = join(folder, 'ran');
    for (const word of [`$(touch ${mark})`, `'; touch ${mark}; '`, `\`touch ${mark}\``]) {
      expect(await offered(word, '')).toEqual([]);
      expect(await offered('service', 'restart', word)).toEqual([]);
    }
    expect(existsSync(mark)).toBe(false);
  });

  test('is clean shell', async () => {
    await run('shellcheck', ['--shell=bash', script]);
  });
});

test.each(shells)('%s knows every command and option', (shell) => {
  const text = completionScript(shell, facts);
  for (const { path, options } of facts) {
    const name = path.at(-1);
    if (name !== undefined) expect(text).toContain(name);
    for (const { flags } of options)
      for (const flag of flags.filter((one) => one.startsWith('--')))
        expect(text).toContain(flag.slice(2));
  }
});

test('the program of one area has its commands alone; of an unknown word all, for what was meant', async () => {
  const names = async (asked?: string) =>
    (await makeProgram(asked)).commands.map((command) => command.name());
  expect(await names('logs')).toEqual(['logs']);
  expect(await names('lgos')).toEqual(await names());
  // What a word of the table loads is what the area adds; else it would be found by none.
  for (const name of await names()) expect(await names(name)).toContain(name);
});
