import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { newExtension } from '../../builder/scaffold/new-extension.ts';
import { localTransport } from '../api/client.ts';
import { type Answer, ApiProbe } from '../api/conformance/http.ts';
import { operations } from '../api/operations.ts';
import type { ApiOptions } from '../api/server.ts';
import { TestApi } from '../api/testing.ts';
import type { Systemd } from '../monitor/checks/units.ts';
import { Files } from '../monitor/files.ts';
import { readServices } from '../services/units.ts';
import { extensionChecks } from './check.ts';
import { addVerbCommands } from './command.ts';
import { extensionGuests } from './guests.ts';
import { manifestFolder } from './manifest.ts';
import { routeOperations } from './routes.ts';
import { ActivatedService, installExtension, StandInSystemd } from './testing.ts';
import { extensionVerbs } from './verbs.ts';

/** An extension made by `stage new … --extension`, its program run as systemd runs it, with the API before it. */
let gateway: TestApi;
let probe: ApiProbe;
let systemd: StandInSystemd;
let services: ActivatedService[] = [];
let admin: Record<string, string>;
let viewer: Record<string, string>;
const project = resolve(import.meta.dirname, '../..');
const strange = join(import.meta.dirname, 'strange-service.mjs');

/** Milliseconds that an extension has in these tests. */
const wait = 1500;

const system = () => ({ ...gateway.system, run: systemd.run });

async function begin(guests: ApiOptions['guests'] = []): Promise<void> {
  await gateway.api?.close();
  await gateway.begin({
    system: system(),
    operations: [...operations, ...(await routeOperations(system(), wait))],
    guests,
  });
  probe?.close();
  probe = new ApiProbe(gateway.url, gateway.certificate.cert);
}

async function ask(
  method: string,
  path: string,
  headers: Record<string, string> = admin,
  body?: unknown,
): Promise<Answer & { json: Record<string, unknown> }> {
  const answer = await probe.ask({
    method,
    path: `/api/v1${path}`,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { ...answer, json: JSON.parse(answer.text || 'null') };
}

async function session(name: string, role: 'admin' | 'viewer'): Promise<Record<string, string>> {
  await gateway.accounts.add({ name, password: 'four words nobody guesses', role });
  const begun = await gateway.accounts.login(
    { name, password: 'four words nobody guesses' },
    { address: '192.0.2.1', client: 'test' },
  );
  if (begun.kind !== 'begun') throw new Error('no session');
  return { cookie: `__Host-session=${begun.session.secret}`, 'x-csrf-token': begun.session.csrf };
}

/** A manifest of one whose service does what its path says. */
const oddRoutes = (names: readonly string[]) =>
  names.map((name) => ({
    method: 'get',
    path: `/x/odd/${name}`,
    role: 'viewer',
    summary: name,
  }));
const deeds = [
  'good',
  'slow',
  'drip',
  'huge',
  'headers',
  'invalid',
  'deep',
  'binary',
  'html',
].concat([
  ...['cookie', 'redirect', 'teapot', 'login', 'refuse', 'half', 'crash', 'raw', 'switch'],
]);
const odd = {
  apiVersion: 1,
  name: 'odd',
  version: '1.0.0',
  title: 'Odd',
  summary: 'Does what nobody wants',
  service: { command: ['/usr/bin/odd'] },
  card: {},
  health: {},
  routes: oddRoutes(deeds),
};

const put = (name: string, manifest: unknown) =>
  gateway.put(`${manifestFolder}/${name}.json`, JSON.stringify({ manifest }));

beforeAll(async () => {
  gateway = await TestApi.start();
  systemd = new StandInSystemd();
  for (const name of ['hello', 'odd']) {
    systemd.units.set(`pi-gateway-x-${name}.socket`, { state: 'active', sub: 'listening' });
    systemd.units.set(`pi-gateway-x-${name}.service`, { state: 'inactive', sub: 'dead' });
  }
  const own = join(gateway.folder, 'elsewhere/hello');
  await newExtension(project, 'hello', own);
  await installExtension(own, gateway.folder);
  services.push(await ActivatedService.begin(gateway.folder, 'hello'));
  await put('odd', odd);
  await begin();
  admin = await session('ada', 'admin');
  viewer = await session('ben', 'viewer');
});

afterAll(async () => {
  await Promise.all(services.map((one) => one.end()));
  probe.close();
  await gateway.stop();
});

describe("an extension's routes", () => {
  test('are operations of the API: its service is started by the first question', async () => {
    expect((await ask('GET', '/x/hello/greetings', viewer)).json).toMatchObject({ count: 0 });
    const greeted = await ask('POST', '/x/hello/greetings', admin, { who: 'Ann' });
    expect(greeted).toMatchObject({ status: 200, json: { text: 'Hello, Ann!', count: 1 } });
    expect(greeted.headers['content-type']).toBe('application/json');
    expect((await ask('GET', '/x/hello/greetings', viewer)).json).toMatchObject({ count: 1 });
    const state = join(gateway.folder, 'var/lib/pi-gateway-x/hello/greetings.json');
    expect(JSON.parse(await readFile(state, 'utf8'))).toMatchObject({
      greetings: [{ who: 'Ann' }],
    });
  });

  test('are asked as roles, scopes and the session allow', async () => {
    const body = { who: 'Eve' };
    expect((await ask('POST', '/x/hello/greetings', viewer, body)).status).toBe(403);
    expect((await ask('POST', '/x/hello/greetings', {}, body)).status).toBe(401);
    const { cookie = '' } = admin;
    expect((await ask('POST', '/x/hello/greetings', { cookie }, body)).status).toBe(403);
    const { token } = await gateway.accounts.addToken('cli/root', {
      name: 'reads-the-vpn',
      role: 'admin',
      scopes: ['vpn:read'],
    });
    const bearer = { authorization: `Bearer ${token}` };
    expect((await ask('GET', '/x/hello/greetings', bearer)).status).toBe(403);
    const reader = await gateway.accounts.addToken('cli/root', {
      // No header has such letters.
      name: 'Küche',
      role: 'admin',
      scopes: ['extensions:read'],
    });
    const reads = { authorization: `Bearer ${reader.token}` };
    expect((await ask('GET', '/x/hello/greetings', reads)).status).toBe(200);
    expect((await ask('POST', '/x/hello/greetings', reads, body)).status).toBe(403);
    expect((await ask('GET', '/x/hello/greetings', viewer)).json).toMatchObject({ count: 1 });
  });

  test('are none but those of its manifest', async () => {
    expect((await ask('GET', '/x/hello/card')).status).toBe(404);
    expect((await ask('GET', '/x/hello/greetings/..%2f..%2fhealth')).status).toBe(405);
    expect((await ask('PUT', '/x/hello/greetings', admin, {})).status).toBe(405);
    expect((await ask('GET', '/x/nobody/greetings')).status).toBe(404);
  });

  test('refuse in their own words, and a parameter reaches them whole', async () => {
    const refused = await ask('POST', '/x/hello/greetings', admin, { who: '' });
    expect(refused).toMatchObject({
      status: 400,
      json: { detail: 'hello: who must be a name of at most 40 characters', fix: /Send/ },
    } as never);
    await ask('POST', '/x/hello/greetings', admin, { who: 'Ben/../é' });
    const gone = await ask('DELETE', `/x/hello/greetings/${encodeURIComponent('Ben/../é')}`);
    expect(gone).toMatchObject({ status: 200, json: { text: 'Ben/../é is forgotten.' } });
  });

  test('are in the audit log when they change something, and in the OpenAPI document', async () => {
    gateway.asked.length = 0;
    await ask('POST', '/x/hello/greetings', admin, { who: 'Cleo' });
    expect(gateway.asked).toContainEqual(
      expect.objectContaining({
        verb: 'audit.record',
        args: {
          action: 'extension.call',
          details: { extension: 'hello', route: 'post /x/hello/greetings' },
        },
        actor: expect.objectContaining({ name: 'ada' }),
      }),
    );
    const { json } = await ask('GET', '/openapi.json');
    const paths = json.paths as Record<string, Record<string, unknown>>;
    expect(paths['/x/hello/greetings']?.post).toMatchObject({
      summary: 'hello: Greets somebody',
      'x-role': 'admin',
      'x-scope': 'extensions:write',
    });
  });
});

describe('what an extension reads of the gateway', () => {
  const guest = (method: string, path: string, body?: string) =>
    localTransport(join(gateway.folder, 'guest.sock'))(method, `/api/v1${path}`, body);

  beforeAll(() =>
    begin([
      {
        extension: 'odd',
        scopes: ['services:read'],
        socket: join(gateway.folder, 'guest.sock'),
      },
    ]),
  );
  afterAll(() => begin());

  test('is what its manifest declares, as a viewer, by a socket of its own', async () => {
    expect((await guest('GET', '/services')).status).toBe(200);
    const other = await guest('GET', '/extensions');
    expect(other.status).toBe(403);
    expect(other.text).toContain('has no scope extensions:read');
  });

  test('is nothing that changes something, and no door to log in by', async () => {
    for (const [method, path, body] of [
      ['POST', '/services/dns/restart', undefined],
      ['POST', '/session', JSON.stringify({ name: 'ada', password: 'a guess' })],
      [
        'POST',
        '/claim',
        JSON.stringify({ code: 'GOOD-CODE', name: 'eve', password: 'x'.repeat(12) }),
      ],
      ['GET', '/claim', undefined],
      ['GET', '/accounts', undefined],
      ['GET', '/logs', undefined],
    ] as const)
      expect((await guest(method, path, body)).status, path).toBe(403);
  });

  test('is no more than two a second in the long run', async () => {
    const statuses: number[] = [];
    for (let asked = 0; asked < 30; asked += 1) statuses.push((await guest('GET', '/vpn')).status);
    expect(statuses).toContain(429);
    expect((await ask('GET', '/services', viewer)).status).toBe(200);
  });

  test('is with its own socket, which systemd passes on, and with no other', async () => {
    const sockets = [
      { fd: 3, name: 'https' },
      { fd: 4, name: 'x.reader' },
      { fd: 5, name: 'x.odd' },
    ];
    await put('reader', { ...odd, name: 'reader', routes: [], permissions: { api: ['vpn:read'] } });
    try {
      expect(await extensionGuests(system(), sockets)).toEqual([
        { extension: 'reader', scopes: ['vpn:read'], socket: { fd: 4 } },
      ]);
    } finally {
      await rm(join(gateway.folder, manifestFolder, 'reader.json'));
    }
  });
});

describe('its command', () => {
  afterEach(() => vi.restoreAllMocks());

  async function pigateway(...words: string[]): Promise<string> {
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    let said = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      said += text;
      return true;
    });
    const program = new Command().exitOverride();
    await addVerbCommands(program, system(), localTransport(gateway.socket, 'root'));
    await program.parseAsync(['node', 'pi-gateway', ...words]);
    return said;
  }

  test('asks its route, and says its answer', async () => {
    expect(await pigateway('x', 'hello', 'greet', 'Dora')).toBe('Hello, Dora!\n');
    expect(await pigateway('x', 'hello', 'list')).toMatch(/Z {2}Dora\n/);
    const answer = JSON.parse(await pigateway('x', 'hello', 'list', '--json'));
    expect(answer.greetings.at(-1)).toMatchObject({ who: 'Dora' });
    expect(await pigateway('x', 'hello', 'forget', 'Dora')).toBe('Dora is forgotten.\n');
  });

  test('fails with what it says is wrong, and what to do', async () => {
    await expect(pigateway('x', 'hello', 'forget', 'Dora')).rejects.toMatchObject({
      message: 'hello: Dora was never greeted',
      fix: 'See the list',
    });
  });
});

describe('its card', () => {
  test('is data that the dashboard draws', async () => {
    const { status, json } = await ask('GET', '/extensions/hello/card', viewer);
    expect(status).toBe(200);
    expect(json).toMatchObject({
      state: 'ok',
      values: [{ label: 'Greetings' }, { label: 'People' }],
      actions: [{ route: 'post /x/hello/greetings' }],
    });
  });

  test.each([
    ['markup of its own', { html: '<b>no</b>' }, 'Unrecognized key'],
    [
      'more rows than a card has',
      { table: { columns: ['a'], rows: Array(51).fill(['1']) } },
      'rows',
    ],
    [
      "an action of the gateway's",
      { actions: [{ label: 'Open', route: 'post /firewall/forwards' }] },
      "an action that is none of its routes: 'Open'",
    ],
    [
      'an action outside its own by dots',
      { actions: [{ label: 'Up', route: 'get /x/odd/good/../../../vpn' }] },
      'none of its routes',
    ],
  ])('with %s is refused', async (_, card, message) => {
    const program = join(gateway.folder, 'card.mjs');
    await writeFile(
      program,
      `process.env.CARD = ${JSON.stringify(JSON.stringify(card))}; await import(${JSON.stringify(strange)});`,
    );
    const service = await ActivatedService.begin(gateway.folder, 'odd', program);
    try {
      const answer = await ask('GET', '/extensions/odd/card');
      expect(answer.status).toBe(502);
      expect(answer.json.detail).toContain(message);
    } finally {
      await service.end();
    }
  });
});

describe('a strange service', () => {
  let service: ActivatedService;
  beforeAll(async () => {
    service = await ActivatedService.begin(gateway.folder, 'odd', strange);
  });
  afterAll(() => service.end());

  test.each([
    ['slow', 504, 'has not answered within 1.5 s'],
    ['drip', 504, 'has not answered within 1.5 s'],
    ['huge', 502, 'more than 262144 bytes'],
    ['headers', 502, 'does not answer'],
    ['invalid', 502, 'no JSON'],
    ['deep', 502, 'too much'],
    ['binary', 502, 'no UTF-8'],
    ['html', 502, 'no JSON'],
    ['redirect', 502, 'no JSON'],
    ['teapot', 502, 'status 418'],
    ['login', 502, 'status 401'],
    ['half', 502, 'broke off'],
    ['raw', 502, 'does not answer'],
    ['switch', 502, 'another protocol'],
  ])('that is %s is answered with %i', async (name, status, message) => {
    const answer = await ask('GET', `/x/odd/${name}`);
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.json.detail).toContain(message);
    expect(answer.json.fix).toContain('pi-gateway logs --unit pi-gateway-x-odd');
  });

  test('sets no header and no cookie, and its text moves no cursor', async () => {
    const answer = await ask('GET', '/x/odd/cookie');
    expect(answer.status).toBe(200);
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(answer.headers['x-mine']).toBeUndefined();
    const refused = await ask('GET', '/x/odd/refuse');
    expect(refused).toMatchObject({ status: 409, json: { detail: 'odd: It rains', fix: 'Wait' } });
    expect(refused.text).not.toContain('secret');
  });

  test('that hangs holds four questions, and nobody else', async () => {
    const hanging = Array.from({ length: 6 }, () => ask('GET', '/x/odd/slow'));
    const begun = performance.now();
    // Its own connections: those of the probe are taken.
    const other = new ApiProbe(gateway.url, gateway.certificate.cert);
    const answer = await other.ask({ method: 'GET', path: '/api/v1/extensions', headers: viewer });
    other.close();
    expect(answer.status).toBe(200);
    expect(performance.now() - begun).toBeLessThan(1000);
    const statuses = (await Promise.all(hanging)).map(({ status }) => status);
    expect(new Set(statuses)).toEqual(new Set([504]));
    const crowd = new ApiProbe(gateway.url, gateway.certificate.cert);
    const more = new ApiProbe(gateway.url, gateway.certificate.cert);
    const get = (from: ApiProbe) =>
      from.ask({ method: 'GET', path: '/api/v1/x/odd/slow', headers: viewer });
    const all = await Promise.all([...Array(4)].flatMap(() => [get(crowd), get(more)]));
    crowd.close();
    more.close();
    expect(all.map(({ status }) => status).toSorted()).toEqual([
      ...[503, 503, 503, 503],
      ...[504, 504, 504, 504],
    ]);
    expect((await ask('GET', '/x/odd/good')).status).toBe(200);
  });

  test('that ends is told as such', async () => {
    expect(await ask('GET', '/x/odd/crash')).toMatchObject({ status: 502 });
    // Where systemd does not start it again, either.
    const answer = await ask('GET', '/x/odd/good');
    expect(answer.status).toBe(502);
    expect(answer.json.detail).toContain('ECONNREFUSED');
  });
});

describe('the list', () => {
  test('tells how each is, what it may and what it adds', async () => {
    const { json } = await ask('GET', '/extensions', viewer);
    expect(json.api_versions).toEqual([1]);
    const [hello] = json.extensions as Record<string, unknown>[];
    expect(hello).toMatchObject({
      name: 'hello',
      version: '0.1.0',
      state: 'waits',
      verbs: [{ usage: 'x hello greet <who>' }, { usage: 'x hello list' }, {}],
      card: { every: 30 },
    });
    expect(hello?.permissions).toContainEqual({ what: 'network', may: 'none', reaches: false });
  });

  test('one of another version, and a damaged one, are told, and harm no other', async () => {
    await put('late', { apiVersion: 9, name: 'late', colour: 'of a later version' });
    await gateway.put(`${manifestFolder}/torn.json`, '{"manifest":');
    gateway.said.length = 0;
    await begin();
    try {
      const { json } = await ask('GET', '/extensions', viewer);
      const all = json.extensions as { name: string; state: string; detail: string }[];
      expect(all.map(({ name, state }) => `${name} ${state}`)).toEqual([
        'hello waits',
        'late refused',
        'odd waits',
        'torn refused',
      ]);
      expect(all[1]?.detail).toContain('written for version 9 of the extension API');
      expect(gateway.said.join('\n')).toContain('and this gateway has 1');
      expect((await ask('GET', '/x/hello/greetings', viewer)).status).toBe(200);
      expect((await ask('GET', '/extensions/late/card')).status).toBe(409);
    } finally {
      await rm(join(gateway.folder, manifestFolder, 'late.json'));
      await rm(join(gateway.folder, manifestFolder, 'torn.json'));
    }
  });

  test('one whose service failed says so', async () => {
    systemd.units.set('pi-gateway-x-odd.socket', {
      state: 'failed',
      sub: 'failed',
      result: 'service-start-limit-hit',
    });
    const { json } = await ask('GET', '/extensions', viewer);
    expect((json.extensions as unknown[])[1]).toMatchObject({
      name: 'odd',
      state: 'failed',
      detail: expect.stringContaining('sudo pi-gateway extension restart odd'),
    });
    systemd.units.set('pi-gateway-x-odd.socket', { state: 'active', sub: 'listening' });
  });
});

describe('switched off', () => {
  const turn = (to: 'on' | 'off' | 'restart') =>
    extensionVerbs['extension.switch'].run(
      system(),
      { name: 'hello', to },
      { via: 'cli', name: 'root' },
    );
  const file = () => join(gateway.folder, 'etc/pi-gateway/extensions/hello.off');

  test('it is asked nothing more, also after a restart; and on again', async () => {
    systemd.did.length = 0;
    // As the helper's unit has it; the API is another user, and must see the file.
    const before = process.umask(0o077);
    expect(await turn('off')).toMatchObject({ state: 'off' });
    process.umask(before);
    expect((await stat(file())).isFile()).toBe(true);
    expect((await stat(join(file(), '..'))).mode & 0o777).toBe(0o755);
    expect(systemd.did).toEqual(['stop pi-gateway-x-hello.socket pi-gateway-x-hello.service']);
    for (const path of ['/x/hello/greetings', '/extensions/hello/card']) {
      const answer = await ask('GET', path);
      expect(answer.status).toBe(409);
      expect(answer.json).toMatchObject({ detail: 'The extension hello is switched off' });
    }
    await expect(turn('restart')).rejects.toThrow('is switched off');
    expect(await turn('on')).toMatchObject({ state: 'waits' });
    await expect(stat(file())).rejects.toThrow('ENOENT');
    expect((await ask('GET', '/x/hello/greetings')).status).toBe(200);
  });

  test('its unit looks for the same file', async () => {
    for (const unit of ['pi-gateway-x-hello.socket', 'pi-gateway-x-hello.service']) {
      const path = join(gateway.folder, 'usr/lib/systemd/system', unit);
      expect(await readFile(path, 'utf8')).toContain(
        'ConditionPathExists=!/etc/pi-gateway/extensions/hello.off\n',
      );
    }
  });

  test('what is no extension of the image is switched nowhere', async () => {
    await mkdir(join(gateway.folder, 'etc/pi-gateway/extensions'), { recursive: true });
    await expect(
      extensionVerbs['extension.switch'].run(
        system(),
        { name: '../../x', to: 'off' },
        { via: 'api', name: 'ada' },
      ),
    ).rejects.toThrow("This image has no extension '../../x'");
  });
});

describe('monitoring', () => {
  const states = (service: string, sub = 'running') =>
    ({
      state: async (unit: string) => ({
        load: 'loaded',
        active: unit.endsWith('.service') ? service : 'active',
        sub: unit.endsWith('.service') ? sub : 'listening',
        path: '/',
      }),
    }) as unknown as Systemd;

  async function look(service: string, sub?: string, name = 'hello') {
    const files = new Files(gateway.folder);
    const { checks } = extensionChecks(files, states(service, sub), 30);
    return await checks.find(({ id }) => id === `extension:${name}`)?.look();
  }

  test('an extension is one of the services', async () => {
    const found = await readServices(system());
    expect(found.map(({ definition }) => definition.id)).toEqual(['x-hello', 'x-odd']);
  });

  test('asks one that runs how it is, and wakes none that waits', async () => {
    expect(await look('active')).toMatchObject({
      health: 'ok',
      detail: expect.stringMatching(/^It has greeted \d+ times$/),
      samples: [
        { measure: 'extension.value', label: 'hello.greetings', value: expect.any(Number) },
      ],
    });
    expect(await look('inactive', 'dead')).toMatchObject({
      health: 'ok',
      detail: 'It runs when it is needed',
    });
  });

  test('tells of one that this gateway cannot run', async () => {
    await put('late', { apiVersion: 9, name: 'late' });
    expect(await look('active', 'running', 'late')).toMatchObject({
      health: 'warning',
      detail: expect.stringContaining('version 9 of the extension API'),
    });
    await rm(join(gateway.folder, manifestFolder, 'late.json'));
  });

  test('its failure deserves a look: it is never the gateway that failed', async () => {
    expect(await look('failed', 'failed')).toMatchObject({ health: 'warning' });
    expect(await look('activating', 'auto-restart')).toMatchObject({ health: 'warning' });
    for (const service of services) await service.end();
    services = [];
    expect(await look('active')).toMatchObject({
      health: 'warning',
      detail: expect.stringContaining('does not answer'),
    });
  });
});
