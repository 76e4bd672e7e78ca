import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { addAudit, auditFile, listAudit } from './audit.ts';
import { auditVerbs } from './audit-verbs.ts';
import { connectHelper } from './client.ts';
import { type Helper, longestLine } from './protocol.ts';
import { serveHelper } from './server.ts';
import { type Actor, defineVerb, type Verb } from './verb.ts';

/** The helper and its client over a real socket, with verbs of the test's own. */
const ada: Actor = { via: 'api', name: 'ada', address: '10.66.0.2' };
const nothing = z.strictObject({});

let root: string;
let path: string;
let system: System;
let said: string[];
let order: string[];
let hold: Promise<void>;
let release: () => void;
const servers: Server[] = [];

const verbs: Record<string, Verb> = {
  ...auditVerbs,
  'test.echo': defineVerb({
    summary: 'Gives back what it gets',
    args: z.strictObject({ text: z.string().max(20) }),
    result: z.strictObject({ text: z.string() }),
    changes: false,
    run: async (_, { text }) => ({ text }),
  }),
  'test.change': defineVerb({
    summary: 'Notes when it begins and ends',
    args: z.strictObject({ name: z.string().max(9), password: z.string().optional() }),
    result: z.null(),
    changes: true,
    audited: ({ name }) => ({ name }),
    run: async (_, { name }) => {
      order.push(`${name} begins`);
      await hold;
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push(`${name} ends`);
      return null;
    },
  }),
  'test.fail': defineVerb({
    summary: 'Fails as the owner can mend',
    args: nothing,
    result: z.null(),
    changes: true,
    run: async () => {
      throw new GatewayError('The peer is there already', 'Take another name', 'conflict');
    },
  }),
  'test.break': defineVerb({
    summary: 'Fails as nobody has foreseen, and quotes a secret',
    args: z.strictObject({ key: z.string() }),
    result: z.null(),
    changes: true,
    audited: () => undefined,
    run: async (_, { key }) => {
      throw new Error(`wg failed: not a key: ${key}`);
    },
  }),
  'test.large': defineVerb({
    summary: 'Answers more than a line may have',
    args: nothing,
    result: z.string(),
    changes: false,
    run: async () => 'x'.repeat(longestLine),
  }),
  'test.hang': defineVerb({
    summary: 'Never comes to an end',
    args: nothing,
    result: z.null(),
    changes: true,
    run: () => new Promise<null>(() => undefined),
  }),
};

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-helper-'));
  path = join(root, 'helper.sock');
  said = [];
  order = [];
  release = () => undefined;
  hold = Promise.resolve();
  system = {
    root,
    boot: '/boot',
    say: (text) => said.push(text),
    run: () => Promise.reject(new Error('a test runs no programs')),
  };
});

afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await rm(root, { recursive: true });
});

async function helper(options: { idle?: number; patience?: number } = {}) {
  const { server, ended, drain } = serveHelper({
    system,
    verbs,
    idle: 60_000,
    patience: 5_000,
    ...options,
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { server, ended, drain };
}

/** Asks for what the types would not let through. */
const ask = (client: Helper, verb: string, args: unknown = {}): Promise<unknown> =>
  (client as { call(verb: string, args: unknown, actor: Actor): Promise<unknown> }).call(
    verb,
    args,
    ada,
  );

/** Sends bytes, and gives all that comes back until the connection ends. */
const raw = (send: string | Buffer): Promise<string> =>
  new Promise((resolve) => {
    let got = '';
    const socket = connect(path, () => socket.write(send));
    socket.setTimeout(2_000, () => socket.destroy());
    socket.on('data', (chunk) => {
      got += chunk.toString();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(got));
  });

const line = (value: object) => `${JSON.stringify({ id: 1, actor: ada, args: {}, ...value })}\n`;
const audit = async () => await listAudit(system, 100);

describe('a verb', () => {
  test('is done with arguments that its schema takes, and answered', async () => {
    await helper();
    expect(await ask(connectHelper(path), 'test.echo', { text: 'schön' })).toEqual({
      text: 'schön',
    });
  });

  test.each([
    ['of an unknown name', 'test.nothing', {}],
    ["of an object's own", 'constructor', {}],
    ['of the prototype', '__proto__', {}],
    ['with further arguments', 'test.echo', { text: 'a', more: 1 }],
    ['with wrong arguments', 'test.echo', { text: 1 }],
    ['without arguments', 'test.echo', undefined],
  ])('%s is refused', async (_, verb, args) => {
    await helper();
    await expect(ask(connectHelper(path), verb, args)).rejects.toMatchObject({ kind: 'refused' });
    expect(await audit()).toEqual([]);
  });

  test('that is refused does not see its values in the answer or the journal', async () => {
    await helper();
    const error = await ask(connectHelper(path), 'test.echo', { text: 'hunter2'.repeat(9) }).catch(
      String,
    );
    expect(error).toContain('text');
    expect(`${error} ${said}`).not.toContain('hunter2');
  });

  test('that fails says why and what to do, as it would here', async () => {
    await helper();
    await expect(ask(connectHelper(path), 'test.fail')).rejects.toEqual(
      new GatewayError('The peer is there already', 'Take another name', 'conflict'),
    );
  });

  test('whose answer is too long says so', async () => {
    await helper();
    await expect(ask(connectHelper(path), 'test.large')).rejects.toThrow(/longer than 1048576/);
  });

  test('that changes runs after the ones before it, others at once', async () => {
    await helper();
    hold = new Promise((resolve) => {
      release = resolve;
    });
    const client = connectHelper(path);
    const other = connectHelper(path);
    const changes = ['a', 'b', 'c'].map((name, i) =>
      ask(i === 1 ? other : client, 'test.change', { name }),
    );
    expect(await ask(client, 'test.echo', { text: 'meanwhile' })).toEqual({ text: 'meanwhile' });
    await expect.poll(() => order).toEqual(['a begins']);
    release();
    await Promise.all(changes);
    expect(order).toHaveLength(6);
    for (let i = 0; i < 6; i += 2) expect(order[i]?.replace('begins', 'ends')).toBe(order[i + 1]);
  });

  test('that is under way when the helper is stopped comes to its end and is answered', async () => {
    const { ended, drain } = await helper();
    hold = new Promise((resolve) => {
      release = resolve;
    });
    const change = ask(connectHelper(path), 'test.change', { name: 'a' });
    await expect.poll(() => order).toEqual(['a begins']);
    drain();
    await expect(ask(connectHelper(path), 'test.echo', { text: 'b' })).rejects.toThrow(/reached/);
    release();
    expect(await change).toBeNull();
    expect(await ended).toBe('idle');
  });

  test('that changes and hangs ends the helper, and those that wait for it learn so', async () => {
    const { ended } = await helper({ patience: 100 });
    const client = connectHelper(path);
    const hung = ask(client, 'test.hang');
    const waits = ask(client, 'test.change', { name: 'a' }).catch((error: unknown) => error);
    await expect(hung).rejects.toMatchObject({
      kind: 'late',
      message: expect.stringContaining('test.hang has not come to an end'),
      fix: expect.stringContaining('may still be done'),
    });
    expect(await ended).toBe('hung');
    expect(await waits).toMatchObject({
      kind: 'busy',
      message: expect.stringContaining('was not begun'),
    });
    expect(order).toEqual([]);
    expect((await audit()).at(-1)).toMatchObject({ verb: 'test.hang', outcome: 'failed' });
  });
});

describe('the connection', () => {
  test.each([
    ['what is no JSON', 'hello\n'],
    ['an actor that is none', line({ verb: 'test.echo', actor: { via: 'me', name: 'x' } })],
    ['further keys', line({ verb: 'test.echo', more: 1 })],
    ['an array', '[]\n'],
    ['JSON of great depth', `${'['.repeat(200_000)}\n`],
  ])('is ended by %s, and the helper goes on', async (_, text) => {
    await helper();
    expect(await raw(text)).toBe('');
    expect(await ask(connectHelper(path), 'test.echo', { text: 'a' })).toEqual({ text: 'a' });
  });

  test('is ended by a line without end', async () => {
    await helper();
    const started = performance.now();
    expect(await raw(Buffer.alloc(longestLine + 100_000, 'x'))).toBe('');
    expect(performance.now() - started).toBeLessThan(1_900);
  });

  test('takes requests in pieces and several at a time', async () => {
    await helper();
    const both = `${line({ verb: 'test.echo', args: { text: 'ä' } })}${line({ id: 2, verb: 'test.echo', args: { text: 'b' } })}`;
    const got = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(path, async () => {
        for (const byte of Buffer.from(both)) {
          socket.write(Buffer.from([byte]));
          if (byte === 0xc3) await new Promise((next) => setTimeout(next, 20));
        }
      });
      socket.on('data', (chunk) => {
        text += chunk.toString();
        if (text.split('\n').length > 2) socket.end();
      });
      socket.on('close', () => resolve(text));
    });
    expect(
      got
        .trim()
        .split('\n')
        .map((one) => JSON.parse(one)),
    ).toEqual([
      { id: 1, ok: true, result: { text: 'ä' } },
      { id: 2, ok: true, result: { text: 'b' } },
    ]);
  });

  test('of many at once mixes no answers up', async () => {
    await helper();
    const clients = [connectHelper(path), connectHelper(path)];
    const texts = Array.from({ length: 300 }, (_, i) => `${i}`);
    const got = await Promise.all(
      texts.map((text, i) => ask(clients[i % 2] ?? connectHelper(path), 'test.echo', { text })),
    );
    expect(got).toEqual(texts.map((text) => ({ text })));
  });

  test('is made anew for the next helper, after one that nobody asked for long has ended', async () => {
    const { ended } = await helper({ idle: 50 });
    const client = connectHelper(path, { idle: 60_000 });
    await ask(client, 'test.echo', { text: 'a' });
    expect(await ended).toBe('idle');
    await expect(ask(connectHelper(path), 'test.echo', { text: 'a' })).rejects.toThrow(
      /cannot be reached.*ENOENT/,
    );
    await helper();
    expect(await ask(client, 'test.echo', { text: 'b' })).toEqual({ text: 'b' });
  });

  test('that is cut while it waits fails, and does not wait for the time limit', async () => {
    const silent = createServer((socket) => socket.once('data', () => socket.destroy()));
    servers.push(silent);
    await new Promise<void>((resolve) => silent.listen(path, resolve));
    await expect(ask(connectHelper(path), 'test.echo', { text: 'a' })).rejects.toThrow(
      /may have been done or not/,
    );
  });

  test('whose helper never answers ends in time', async () => {
    const silent = createServer(() => undefined);
    servers.push(silent);
    await new Promise<void>((resolve) => silent.listen(path, resolve));
    await expect(
      ask(connectHelper(path, { timeout: 50 }), 'test.echo', { text: 'a' }),
    ).rejects.toThrow(/has not answered/);
  });

  test('is closed by its client when idle, and the helper ends', async () => {
    const { ended, server } = await helper({ idle: 150 });
    const client = connectHelper(path, { idle: 30 });
    await ask(client, 'test.echo', { text: 'a' });
    await expect
      .poll(() => new Promise((resolve) => server.getConnections((_, count) => resolve(count))))
      .toBe(0);
    expect(await ended).toBe('idle');
  });
});

describe('the audit log', () => {
  test('has who did what and how it came out, for changes alone and without secrets', async () => {
    await helper();
    const client = connectHelper(path);
    await ask(client, 'test.echo', { text: 'a' });
    await ask(client, 'test.change', { name: 'a', password: 'hunter2' });
    await ask(client, 'test.fail').catch(() => undefined);
    await ask(client, 'test.break', { key: 'hunter2' }).catch(() => undefined);
    expect(await audit()).toMatchObject([
      { actor: ada, verb: 'test.break', outcome: 'failed' },
      { actor: ada, verb: 'test.fail', args: {}, outcome: 'conflict' },
      { actor: ada, verb: 'test.change', args: { name: 'a' }, outcome: 'done' },
    ]);
    expect(await readFile(join(root, auditFile), 'utf8')).not.toContain('hunter2');
    expect((await stat(join(root, auditFile))).mode & 0o777).toBe(0o600);
  });

  test("takes the API's own changes, and gives the newest first, of the file before too", async () => {
    await helper();
    const client = connectHelper(path);
    await client.call('audit.record', { action: 'accounts.add', details: { name: 'bob' } }, ada);
    await rm(join(root, `${auditFile}.1`), { force: true });
    await writeFile(join(root, `${auditFile}.1`), await readFile(join(root, auditFile)));
    await writeFile(join(root, auditFile), '');
    await client.call('audit.record', { action: 'tokens.remove', outcome: 'missing' }, ada);
    const { entries } = await client.call('audit.list', { limit: 2 }, ada);
    expect(entries.map((one) => one.verb)).toEqual(['tokens.remove', 'accounts.add']);
    expect(entries[1]).toMatchObject({ args: { name: 'bob' }, outcome: 'done', actor: ada });
    expect((await client.call('audit.list', { limit: 1 }, ada)).entries).toHaveLength(1);
  });

  test('loses one line to a power cut, not the next', async () => {
    const entry = {
      at: '2026-01-02T03:04:05.000Z',
      actor: ada,
      verb: 'a.b',
      outcome: 'done',
    } as const;
    await addAudit(system, entry);
    const text = await readFile(join(root, auditFile), 'utf8');
    await writeFile(join(root, auditFile), text + text.slice(0, 30));
    await addAudit(system, { ...entry, verb: 'c.d' });
    expect((await audit()).map((one) => one.verb)).toEqual(['c.d', 'a.b']);
  });

  test('does not fill the card before logrotate comes, and loses none of those at once', async () => {
    const entry = { at: '2026-01-02T03:04:05.000Z', actor: ada, outcome: 'done' } as const;
    await addAudit(system, { ...entry, verb: 'a.b' });
    const line = await readFile(join(root, auditFile), 'utf8');
    await writeFile(join(root, auditFile), line.repeat(Math.ceil(2_097_152 / line.length)));
    await Promise.all(['c.d', 'e.f'].map((verb) => addAudit(system, { ...entry, verb })));
    expect((await readFile(join(root, auditFile), 'utf8')).split('\n')).toHaveLength(3);
    expect((await audit()).slice(0, 3).map(({ verb }) => verb)).toEqual(['e.f', 'c.d', 'a.b']);
  });

  test('leaves long arguments out, and a change on a full disk is still done', async () => {
    const entry = {
      at: '2026-01-02T03:04:05.000Z',
      actor: ada,
      verb: 'a.b',
      outcome: 'done',
    } as const;
    await addAudit(system, { ...entry, args: { text: 'x'.repeat(10_000) } });
    expect((await audit())[0]?.args).toBe('(too long to be kept)');
    await rm(join(root, 'var/log'), { recursive: true });
    await writeFile(join(root, 'var/log'), 'no folder can be made here');
    await helper();
    await ask(connectHelper(path), 'test.change', { name: 'a' });
    expect(said.join()).toMatch(/audit log cannot be written.*"verb":"test\.change"/);
  });
});
