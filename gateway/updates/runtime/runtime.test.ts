import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { run } from '../../../builder/exec.ts';
import { packRuntime, releaseFiles } from '../../../builder/runtime/bundle.ts';
import { formatPublicKey, type Signer } from '../../../builder/trust/minisign.ts';
import type { System } from '../../../firstboot/system.ts';
import { makeAuthority } from '../../ddns/testing.ts';
import { SettingsDevice } from '../../settings/testing.ts';
import { updateConditions } from '../conditions.ts';
import { apply, check, keyFile, type Options, recover, rollback } from './run.ts';
import { currentRuntime, readState, runtimeFolder, switchTo } from './store.ts';

/** A device in a folder, and a publisher on a real HTTPS server of this machine. */

const card = vi.hoisted(() => ({ beforeChange: async (): Promise<void> => undefined }));
vi.mock('node:fs/promises', async (original) => {
  const { interruptedFiles } = await import('../../../firstboot/interrupted-files.ts');
  return interruptedFiles(await original(), card, ['rename', 'rm', 'symlink']);
});

const newSigner = (): Signer => ({
  id: randomBytes(8),
  privateKey: generateKeyPairSync('ed25519').privateKey,
});
const signer = newSigner();
const day = 86_400_000;

let authority: Awaited<ReturnType<typeof makeAuthority>>;
let publisher: Server;
let address = '';
let served = new Map<string, Buffer>();
let device: SettingsDevice;
let system: System;
let options: Options;

beforeAll(async () => {
  authority = await makeAuthority(['127.0.0.1']);
  publisher = createServer(authority, ({ url = '' }, answer) => {
    const body = served.get(url.slice(1));
    answer.statusCode = body ? 200 : 404;
    answer.end(body);
  });
  publisher.on('tlsClientError', () => undefined);
  await new Promise<void>((ready) => publisher.listen(0, '127.0.0.1', ready));
  address = `https://127.0.0.1:${(publisher.address() as AddressInfo).port}`;
});
afterAll(() => {
  publisher.closeAllConnections();
  publisher.close();
});

/** Puts a release on the server. */
async function publish(
  version: string,
  o: { serial?: number; minimum?: string; by?: Signer; days?: number; said?: string } = {},
): Promise<void> {
  const facts = { version, minimum: o.minimum ?? '0.1.0' };
  const files = new Map([
    ['cli.mjs', Buffer.from(`console.log('${o.said ?? version}');\n`)],
    ['daemon.mjs', Buffer.from(`// ${version}\n`)],
    ['dashboard/index.html', Buffer.from(`<title>${version}</title>\n`)],
  ]);
  const now = Date.now();
  served = releaseFiles(
    await packRuntime(files, facts),
    facts,
    {
      serial: o.serial ?? 1,
      issuedAt: new Date(now - 2 * day),
      expiresAt: new Date(now + (o.days ?? 30) * day),
    },
    o.by ?? signer,
  );
}

/** The daemon of these versions does not answer. */
let unwell = new Set<string | null>();

beforeEach(async () => {
  unwell = new Set();
  device = await SettingsDevice.make();
  for (const command of ['tar', 'chmod'])
    device.programs.set(command, async (args) => (await run(command, args)).stdout);
  // Its flags are those of the device's node, which is an older one.
  device.programs.set(
    'node',
    async (args) =>
      (
        await run(
          process.execPath,
          args.filter((one) => one !== '--no-expose-wasm'),
        )
      ).stdout,
  );
  device.programs.set('systemctl', async (args) => {
    if (args[0] !== 'restart') return undefined;
    device.apiStatus = unwell.has(await currentRuntime(system)) ? 500 : 200;
    return '';
  });
  ({ system } = device);
  await device.put(keyFile, formatPublicKey(signer));
  options = {
    current: '0.1.0',
    url: `${address}/index.json`,
    ca: authority.ca,
    patience: { whole: 40, pause: 10 },
  };
});
afterEach(async () => {
  card.beforeChange = async () => undefined;
  await device.remove();
});

const failure = (work: Promise<unknown>) =>
  work.then(
    (done) => `done: ${JSON.stringify(done)}`,
    (error: Error) => error.message,
  );
const folders = async () =>
  (await readdir(join(device.root, runtimeFolder))).filter((name) => /^\d/.test(name)).sort();
const restarts = () => device.calls.filter((one) => one.includes('restart pi-gatewayd')).length;

describe('an update of the runtime', () => {
  test('is found, installed, and runs', async () => {
    await publish('0.2.0');
    expect(await check(system, options)).toMatchObject({ version: '0.2.0' });
    expect(restarts()).toBe(0);
    expect(await apply(system, options)).toMatchObject({ state: 'ok', version: '0.2.0' });
    expect(await currentRuntime(system)).toBe('0.2.0');
    expect(await device.read(`${runtimeFolder}/current/dashboard/index.html`)).toContain('0.2.0');
    expect(restarts()).toBe(1);
    expect(await readdir(join(device.root, runtimeFolder))).not.toContain('pending.json');
    expect(await apply(system, { ...options, current: '0.2.0' })).toBeUndefined();
  });

  test('keeps the one of before, which a roll-back returns to, and then that of the image', async () => {
    await publish('0.2.0');
    await apply(system, options);
    await publish('0.3.0', { serial: 2 });
    await apply(system, { ...options, current: '0.2.0' });
    await publish('0.4.0', { serial: 3 });
    await apply(system, { ...options, current: '0.3.0' });
    expect(await folders()).toEqual(['0.3.0', '0.4.0']);
    expect(await rollback(system, options)).toMatchObject({ state: 'ok', version: '0.3.0' });
    expect(await currentRuntime(system)).toBe('0.3.0');
    await switchTo(system, null);
    expect(await failure(rollback(system, options))).toMatch(/image's own/);
  });

  test('that makes the gateway unwell is taken back, told of, and not tried again by itself', async () => {
    unwell.add('0.2.0');
    await publish('0.2.0');
    expect(await apply(system, options)).toMatchObject({
      state: 'undone',
      detail: expect.stringContaining('api:answer'),
    });
    expect(await currentRuntime(system)).toBeNull();
    expect(device.apiStatus).toBe(200);
    expect((await updateConditions(system)).filter((one) => one.active)).toEqual([
      expect.objectContaining({ source: 'updates:runtime' }),
    ]);
    expect(await failure(apply(system, options))).toMatch(/was undone before/);
    unwell.clear();
    expect(await apply(system, { ...options, again: true })).toMatchObject({ state: 'ok' });
  });

  test('whose programs do not start is not even switched to', async () => {
    await publish('0.2.0', { said: 'something else' });
    expect(await failure(apply(system, options))).toMatch(/do not start/);
    expect(restarts()).toBe(0);
    expect(await folders()).toEqual([]);
  });
});

describe('nothing is changed by', () => {
  afterEach(async () => {
    expect(await currentRuntime(system)).toBeNull();
    expect(restarts()).toBe(0);
    expect(await folders().catch(() => [])).toEqual([]);
  });

  test('a byte that was changed, wherever in the list, its signature or the bundle', async () => {
    await publish('0.2.0');
    const good = served;
    for (const [name, content] of good) {
      const places = new Set(
        Array.from({ length: name.endsWith('.minisig') ? 60 : 12 }, () =>
          Math.floor(Math.random() * content.length),
        ),
      );
      for (const place of [0, content.length - 1, ...places]) {
        const bad = Buffer.from(content);
        bad[place] = (bad[place] ?? 0) ^ 1;
        served = new Map(good).set(name, bad);
        // The first line of a signature is the one that is not signed: it says so.
        if (name.endsWith('.minisig') && place < bad.indexOf('\n') && place > 18) continue;
        const said = await failure(apply(system, options));
        expect(said, `${name} at ${place}`).not.toMatch(/^done/);
      }
    }
  }, 60_000);

  test('another key, an image without one, a list that is over, and no address', async () => {
    await publish('0.2.0', { by: newSigner() });
    expect(await failure(apply(system, options))).toMatch(/none of those trusted/);
    await publish('0.2.0', { days: -1 });
    expect(await failure(apply(system, options))).toMatch(/was good until/);
    expect(await failure(apply(system, { ...options, url: undefined }))).toMatch(/not set/);
    await device.put(keyFile, '');
    expect(await failure(apply(system, options))).toMatch(/trusts nobody/);
    expect((await readState(system)).problem).toMatch(/trusts nobody/);
  });

  test('an older list, an older version, and one for later runtimes', async () => {
    await publish('0.1.0', { serial: 7 });
    expect(await apply(system, options)).toBeUndefined();
    await publish('0.2.0', { serial: 6 });
    expect(await failure(apply(system, options))).toMatch(/number 6, and number 7/);
    await publish('0.0.9', { serial: 8 });
    expect(await apply(system, options)).toBeUndefined();
    await publish('0.3.0', { serial: 9, minimum: '0.2.0' });
    expect(await apply(system, options)).toBeUndefined();
  });

  test('a bundle that is another release under a new name', async () => {
    await publish('0.2.0');
    const old = served.get('pi-gateway-runtime-0.2.0.tar.gz') ?? Buffer.alloc(0);
    const facts = { version: '0.9.0', minimum: '0.1.0' };
    const times = { serial: 2, issuedAt: new Date(), expiresAt: new Date(Date.now() + day) };
    served = releaseFiles(old, facts, times, signer);
    expect(await failure(apply(system, options))).toMatch(/says of itself that it is 0\.2\.0/);
  });

  test('a server that is not there, or of an authority that is not trusted', async () => {
    await publish('0.2.0');
    expect(await failure(apply(system, { ...options, ca: undefined }))).toMatch(/authority/);
    served = new Map();
    expect(await failure(apply(system, options))).toMatch(/404/);
    const url = 'https://127.0.0.1:1/index.json';
    expect(await failure(apply(system, { ...options, url }))).toMatch(/refused/);
  });

  test('a disk that is full', async () => {
    await publish('0.2.0');
    device.programs.set('tar', () => {
      throw new Error('tar failed: No space left on device');
    });
    expect(await failure(apply(system, options))).toMatch(/No space left/);
    expect(await readState(system)).toMatchObject({ last: { state: 'failed', version: '0.2.0' } });
    expect(
      (await readdir(join(device.root, runtimeFolder))).filter((one) => one !== 'state.json'),
    ).toEqual([]);
  });
});

test('a power cut before any change leaves the old runtime or the new one, whole', async () => {
  await publish('0.2.0');
  await apply(system, options);
  await publish('0.3.0', { serial: 2 });
  const real = await vi.importActual<typeof import('node:fs/promises')>('node:fs/promises');
  const cuts = await mkdtemp(join(tmpdir(), 'pi-gateway-cuts-'));
  const lib = join(device.root, 'var/lib/pi-gateway');
  let count = 0;
  card.beforeChange = async () => {
    await real.cp(lib, join(cuts, String(++count)), { recursive: true, verbatimSymlinks: true });
  };
  await apply(system, { ...options, current: '0.2.0' });
  card.beforeChange = async () => undefined;
  expect(count).toBeGreaterThan(20);
  const seen = new Set<string | null>();
  for (let cut = 1; cut <= count; cut++) {
    await rm(lib, { recursive: true });
    await mkdir(join(lib, '..'), { recursive: true });
    await real.cp(join(cuts, String(cut)), lib, { recursive: true, verbatimSymlinks: true });
    await recover(system);
    const now = await currentRuntime(system);
    seen.add(now);
    expect(['0.2.0', '0.3.0'], `cut ${cut}`).toContain(now);
    expect(await device.read(`${runtimeFolder}/${now}/daemon.mjs`), `cut ${cut}`).toBe(
      `// ${now}\n`,
    );
    expect(await recover(system), `cut ${cut}`).toBe(false);
    const left = await readdir(join(device.root, runtimeFolder));
    expect(
      left.filter((one) => one === 'pending.json' || /^\.(unpacked|bundle)$/.test(one)),
    ).toEqual([]);
  }
  expect([...seen].sort()).toEqual(['0.2.0', '0.3.0']);
  await rm(cuts, { recursive: true });
}, 60_000);
