import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { freePort } from '../../builder/qemu/free-port.ts';
import { providers } from './providers/all.ts';
import { runProgram } from './service.ts';
import { ddnsSettings, type SettingsOf } from './settings.ts';
import { contextFor } from './testing.ts';

const secret = Buffer.from('thirty-two bytes of a test secret').toString('base64');
const context = { ...contextFor(undefined, { timeout: 5000 }), run: runProgram };
const v4 = { family: 4, address: '198.51.100.7' } as const;
const v6 = { family: 6, address: '2001:db8::7' } as const;

let folder = '';
let port = 0;
let named: ReturnType<typeof spawn>;

/** What the server says of a name, as dig(1) prints it. */
async function ask(name: string, type: 'A' | 'AAAA'): Promise<string[]> {
  const { stdout } = await run('dig', [
    ...['@127.0.0.1', '-p', String(port), '+short', '+time=2', '+tries=1', name, type],
  ]);
  return stdout.trim().split('\n').filter(Boolean).sort();
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-named-'));
  port = await freePort();
  await writeFile(
    join(folder, 'example.org.zone'),
    `$TTL 300
@ IN SOA ns1.example.org. admin.example.org. 1 3600 600 86400 60
@ IN NS ns1.example.org.
ns1 IN A 127.0.0.1
attic IN A 192.0.2.1
attic IN A 192.0.2.2
attic IN TXT "not of the gateway"
`,
  );
  await writeFile(
    join(folder, 'named.conf'),
    `key "attic-key" { algorithm hmac-sha256; secret "${secret}"; };
key "other-key" { algorithm hmac-sha256; secret "${secret}"; };
options {
  directory "${folder}"; pid-file "${folder}/pid"; session-keyfile "${folder}/session.key";
  listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; notify no;
};
controls {};
zone "example.org" {
  type primary; file "example.org.zone";
  update-policy { grant attic-key name attic.example.org. A AAAA; };
};
`,
  );
  named = spawn('named', ['-g', '-c', join(folder, 'named.conf')], { stdio: 'ignore' });
  for (let tries = 0; tries < 50; tries++) {
    if (named.exitCode !== null) throw new Error('named ended at once');
    const there = await ask('ns1.example.org', 'A').catch(() => []);
    if (there.length > 0) return;
    await sleep(200);
  }
  throw new Error('named does not answer');
});
afterAll(async () => {
  const ended = once(named, 'exit');
  named.kill();
  await ended;
  await rm(folder, { recursive: true });
});

function own(more: Record<string, unknown> = {}): SettingsOf<'rfc2136'> {
  const parsed = ddnsSettings.parse({
    providers: [
      {
        type: 'rfc2136',
        server: '127.0.0.1',
        port,
        zone: 'example.org',
        hostnames: ['attic.example.org'],
        key: { name: 'attic-key', secret },
        ...more,
      },
    ],
  });
  return parsed.providers[0] as SettingsOf<'rfc2136'>;
}

describe("BIND, the zone's primary name server", () => {
  test('gets the addresses of both families, in place of whatever was there', async () => {
    expect(await ask('attic.example.org', 'A')).toEqual(['192.0.2.1', '192.0.2.2']);
    expect(await providers.rfc2136.update(own(), v4, context)).toEqual({ kind: 'updated' });
    expect(await providers.rfc2136.update(own(), v6, context)).toEqual({ kind: 'updated' });
    expect(await ask('attic.example.org', 'A')).toEqual([v4.address]);
    expect(await ask('attic.example.org', 'AAAA')).toEqual([v6.address]);
  });

  test('gets the next address, and keeps that of the other family', async () => {
    const next = { family: 4, address: '198.51.100.8' } as const;
    expect(await providers.rfc2136.update(own(), next, context)).toEqual({ kind: 'updated' });
    expect(await ask('attic.example.org', 'A')).toEqual([next.address]);
    expect(await ask('attic.example.org', 'AAAA')).toEqual([v6.address]);
  });

  test('loses the records of a family that the gateway has no more', async () => {
    expect(await providers.rfc2136.clear?.run(own(), 6, context)).toEqual({ kind: 'updated' });
    expect(await ask('attic.example.org', 'AAAA')).toEqual([]);
    expect(await ask('attic.example.org', 'A')).not.toEqual([]);
  });

  test.each([
    ['a key that it does not know', { key: { name: 'nobody', secret } }, 'stopped', 'the key'],
    [
      'a wrong secret',
      { key: { name: 'attic-key', secret: Buffer.alloc(32, 1).toString('base64') } },
      'stopped',
      'signature',
    ],
    ['a key without the right', { key: { name: 'other-key', secret } }, 'stopped', 'forbids'],
    ['a zone that it does not have', { zone: 'attic.example.org' }, 'stopped', 'primary'],
  ] as const)('refuses %s, and the records stay', async (_, more, kind, reason) => {
    const before = await ask('attic.example.org', 'A');
    expect(await providers.rfc2136.update(own(more), v4, context)).toMatchObject({
      kind,
      reason: expect.stringContaining(reason),
    });
    expect(await ask('attic.example.org', 'A')).toEqual(before);
  });

  test('that is away is asked again later', async () => {
    const away = await freePort();
    expect(await providers.rfc2136.update(own({ port: away }), v4, context)).toMatchObject({
      kind: 'retry',
    });
  });
});
