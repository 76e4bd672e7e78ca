import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import * as z from 'zod';
import { sha256Digest } from '../oci/pack.ts';
import type { Seal } from '../oci/parcel.ts';
import { Registry } from '../oci/registry.ts';
import { openRemote, type Remote } from '../oci/remote.ts';
import { openSeal } from '../oci/seal.ts';
import { type Behaviour, startRegistry, type TestRegistry, visitor } from '../oci/testing.ts';
import { freePort } from '../qemu/free-port.ts';
import { writeKeyPair } from '../trust/keys.ts';
import { type Shareable, SharedLayers, type Wanted } from './shared.ts';

let folder: string;
let registry: TestRegistry;
let closed: TestRegistry;
let repository = 0;

beforeAll(async () => {
  [registry, closed] = await Promise.all([startRegistry(), startRegistry({ auth: true })]);
});

afterAll(async () => {
  await Promise.all([registry.close(), closed.close()]);
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shared-'));
  repository += 1;
});

afterEach(async () => {
  registry.behave(undefined);
  await rm(folder, { recursive: true, force: true });
});

/** Quick to lose patience: a test must not take as long as a build would wait. */
const limits = { answer: 500, span: 300, leastBytes: 1000 };

function remoteAt(host: string, credentials = async () => undefined as never): Remote {
  return new Registry({
    name: `oci://${host}/layers-${repository}`,
    host,
    repository: `layers-${repository}`,
    plainHttp: true,
    credentials,
    limits,
  });
}

async function layer(name: string, content = name): Promise<Shareable> {
  const tree = join(folder, 'made', name);
  await mkdir(join(tree, 'etc'), { recursive: true });
  await writeFile(join(tree, 'etc/content'), content);
  return { tag: name, title: `layer ${name}`, seconds: 1, facts: { initramfs: false }, tree };
}

/** What a machine has; layers that it pulled lie in `got`. */
class Machine {
  readonly warnings: string[] = [];
  readonly got: string;
  readonly shared: SharedLayers;

  constructor(name: string, remotes: { push?: Remote; pull?: Remote[]; seal?: Seal }) {
    this.got = join(folder, name);
    this.shared = new SharedLayers({
      push: remotes.push,
      pull: remotes.pull ?? [],
      scratch: join(folder, `${name}-scratch`),
      seal: remotes.seal,
      say: (text) => this.warnings.push(text),
    });
  }

  wanted(tag: string): Wanted<{ initramfs: boolean }> {
    return {
      tag,
      facts: z.strictObject({ initramfs: z.boolean() }),
      fits: async (tree) => (await readdir(tree)).includes('etc'),
      place: (tree, parcel) => cp(tree, join(this.got, parcel.tag), { recursive: true }),
    };
  }

  async pull(...tags: string[]): Promise<string[]> {
    return [...(await this.shared.pull(tags.map((tag) => this.wanted(tag))))].sort();
  }

  async has(): Promise<string[]> {
    return (await readdir(this.got).catch(() => [])).sort();
  }
}

const uploads = () => registry.requests.filter((line) => line.startsWith('PUT '));

describe('two machines share layers over a registry', () => {
  test('one pushes what it made, the other gets it and makes nothing', async () => {
    const remote = remoteAt(registry.host);
    const one = new Machine('one', { push: remote });
    const layers = [await layer('base'), await layer('ssh'), await layer('vpn')];
    expect((await one.shared.push(layers)).trees).toBe(3);
    const two = new Machine('two', { pull: [remoteAt(registry.host)] });
    expect(await two.pull('base', 'ssh', 'vpn', 'never-made')).toEqual(['base', 'ssh', 'vpn']);
    expect(await readFile(join(two.got, 'ssh/etc/content'), 'utf8')).toBe('ssh');
    expect([...one.warnings, ...two.warnings]).toEqual([]);
  });

  test('what the registry has is not sent again, and equal content is sent once', async () => {
    const one = new Machine('one', { push: remoteAt(registry.host) });
    const first = await layer('a');
    await one.shared.push([first]);
    const before = uploads().length;
    expect((await one.shared.push([first])).trees).toBe(0);
    expect(uploads().length).toBe(before);
    await one.shared.push([{ ...first, tag: 'b' }]);
    const sent = uploads().slice(before);
    expect(sent.filter((line) => line.includes('/blobs/'))).toHaveLength(1); // its description
    expect(sent.filter((line) => line.includes('/manifests/'))).toHaveLength(1);
  });

  test('the first store of the list that has a layer gives it', async () => {
    const far = openRemote(`oci-layout:${folder}/far`, {
      root: '/',
      plainHttp: [],
      authFile: null,
    });
    const near = remoteAt(registry.host);
    await new Machine('one', { push: far }).shared.push([await layer('a'), await layer('b')]);
    await new Machine('two', { push: near }).shared.push([await layer('a', 'near')]);
    const three = new Machine('three', { pull: [near, far] });
    expect(await three.shared.offered(['a', 'b', 'c'])).toEqual(new Set(['a', 'b']));
    expect(await three.pull('a', 'b', 'c')).toEqual(['a', 'b']);
    expect(await readFile(join(three.got, 'a/etc/content'), 'utf8')).toBe('near');
  });

  test('with the password of a config.json of docker login; without it with one warning', async () => {
    const auth = Buffer.from(`${visitor.user}:${visitor.password}`).toString('base64');
    const authFile = join(folder, 'config.json');
    await writeFile(authFile, JSON.stringify({ auths: { [closed.host]: { auth } } }));
    const name = `oci://${closed.host}/private/layers`;
    const remote = openRemote(name, { root: '/', plainHttp: [], authFile });
    const one = new Machine('one', { push: remote });
    expect((await one.shared.push([await layer('a')])).trees).toBe(1);
    expect(await new Machine('two', { pull: [remote] }).pull('a')).toEqual(['a']);
    await writeFile(authFile, JSON.stringify({ auths: {} }));
    const stranger = openRemote(name, { root: '/', plainHttp: [], authFile });
    const three = new Machine('three', { push: stranger, pull: [stranger] });
    expect(await three.pull('a')).toEqual([]);
    await three.shared.push([await layer('b')]);
    expect(three.warnings).toEqual([
      expect.stringMatching(/wants a name and password.*goes on without it/),
    ]);
    expect(three.warnings.join()).not.toContain(visitor.password);
  });

  test('with a token from where the registry says', async () => {
    const remote = remoteAt(registry.host, async () => ({ kind: 'password', ...visitor }) as never);
    await new Machine('one', { push: remoteAt(registry.host) }).shared.push([await layer('a')]);
    registry.behave((request, response) => {
      if (request.url?.startsWith('/token?')) {
        const right = Buffer.from(`${visitor.user}:${visitor.password}`).toString('base64');
        const asked = new URL(request.url, 'http://x').searchParams;
        const ok =
          request.headers.authorization === `Basic ${right}` && asked.get('service') === 'layers';
        response.writeHead(ok ? 200 : 403).end(JSON.stringify({ token: 'ticket' }));
        return true;
      }
      if (request.headers.authorization === 'Bearer ticket') return false;
      const realm = `http://${registry.host}/token`;
      response.setHeader(
        'WWW-Authenticate',
        `Bearer realm="${realm}",service="layers",scope="repository:x:pull"`,
      );
      response.writeHead(401).end();
      return true;
    });
    const two = new Machine('two', { pull: [remote] });
    expect(await two.pull('a')).toEqual(['a']);
    expect(two.warnings).toEqual([]);
  });
});

/** Never an error, never a wrong layer: one warning, and the layers are made here. */
describe('a registry that fails costs one warning', () => {
  const fill = async (size = 10): Promise<void> => {
    const one = new Machine('one', { push: remoteAt(registry.host) });
    for (const name of ['a', 'b', 'c', 'd', 'e'])
      await one.shared.push([await layer(name, randomText(size))]);
  };
  const answer = (status: number) => (_: unknown, response: ServerResponse) => {
    response.writeHead(status).end();
    return true;
  };

  test('when nobody answers there', async () => {
    const nowhere = remoteAt(`127.0.0.1:${await freePort()}`);
    const machine = new Machine('two', { pull: [nowhere], push: nowhere });
    expect(await machine.pull('a', 'b', 'c')).toEqual([]);
    expect((await machine.shared.push([await layer('a')])).trees).toBe(0);
    expect(machine.warnings).toEqual([expect.stringMatching(/ECONNREFUSED.*goes on without it/)]);
  });

  test.each([
    ['takes the connection and never answers', () => true, /no answer within 0.5 s/],
    ['answers with errors', answer(503), /HTTP 503/],
    [
      'answers with nonsense',
      (_: unknown, response: ServerResponse) => Boolean(response.writeHead(200).end('<html>')),
      /refused: its manifest is malformed/,
    ],
    ['does not let us in', answer(403), /does not let us in: HTTP 403/],
  ] as [string, Behaviour, RegExp][])('when it %s', async (_, behaviour, why) => {
    await fill();
    registry.behave(behaviour);
    const machine = new Machine('two', { pull: [remoteAt(registry.host)] });
    expect(await machine.pull('a', 'b', 'c', 'd', 'e')).toEqual([]);
    expect(await machine.has()).toEqual([]);
    expect(machine.warnings).toEqual([expect.stringMatching(why)]);
  });

  test('when it sends a layer byte by byte', async () => {
    await fill(100_000);
    registry.behave((request, response) => {
      if (!request.url?.includes('/blobs/')) return false;
      response.writeHead(200);
      const timer = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(timer));
      return true;
    });
    const begun = performance.now();
    const machine = new Machine('two', { pull: [remoteAt(registry.host)] });
    expect(await machine.pull('a', 'b', 'c')).toEqual([]);
    expect(machine.warnings).toEqual([expect.stringMatching(/fewer than 1 KiB in 0.3 s/)]);
    expect(performance.now() - begun).toBeLessThan(5_000);
  });

  test.each([413, 429, 500, 507])('when it takes no more layers: HTTP %i', async (status) => {
    registry.behave((request, response) => {
      if (request.method !== 'PUT' || !request.url?.includes('/blobs/')) return false;
      request.resume();
      request.on('end', () => response.writeHead(status).end());
      return true;
    });
    const machine = new Machine('one', { push: remoteAt(registry.host) });
    expect((await machine.shared.push([await layer('a'), await layer('b')])).trees).toBe(0);
    expect(machine.warnings).toEqual([
      expect.stringMatching(new RegExp(`takes no more: HTTP ${status}.*stays on this machine`)),
    ]);
    registry.behave(undefined);
    expect(await new Machine('two', { pull: [remoteAt(registry.host)] }).pull('a', 'b')).toEqual(
      [],
    );
  });

  test('when it stops reading in the middle of an upload', async () => {
    registry.behave(
      (request) => request.method === 'PUT' && Boolean(request.url?.includes('/blobs/')),
    );
    const machine = new Machine('one', { push: remoteAt(registry.host) });
    await machine.shared.push([await layer('a', randomText(20_000_000))]);
    expect(machine.warnings).toHaveLength(1);
  });
});

describe('a registry that lies', () => {
  /** Blobs of layer `a` are answered by what `change` makes of their bytes. */
  const lie = async (change: (bytes: Buffer) => Buffer): Promise<Machine> => {
    const one = new Machine('one', { push: remoteAt(registry.host) });
    await one.shared.push([await layer('a', randomText(5_000)), await layer('b')]);
    const { port } = new URL(`http://${registry.host}`);
    registry.behave((request, response) => {
      if (request.headers['x-honest'] || request.method !== 'GET') return false;
      void fetch(`http://127.0.0.1:${port}${request.url}`, {
        headers: { 'x-honest': '1', accept: request.headers.accept ?? '*/*' },
      }).then(async (honest) => {
        response.writeHead(honest.status);
        response.end(change(Buffer.from(await honest.arrayBuffer())));
      });
      return true;
    });
    return new Machine('two', { pull: [remoteAt(registry.host)] });
  };
  const isLayer = (bytes: Buffer) => bytes.readUInt32LE(0) === 0xfd2fb528; // zstd's magic number, RFC 8878
  const inManifest = (change: (text: string) => string) => (bytes: Buffer) =>
    !isLayer(bytes) && bytes.includes('"schemaVersion"')
      ? Buffer.from(change(String(bytes)))
      : bytes;
  const inConfig = (change: (text: string) => string) => (bytes: Buffer) =>
    !isLayer(bytes) && bytes.includes('"diff_ids"') ? Buffer.from(change(String(bytes))) : bytes;

  test.each([
    [
      'changes a byte of a layer',
      (b: Buffer) => {
        if (isLayer(b)) b[b.length >> 1] = (b[b.length >> 1] ?? 0) ^ 1;
        return b;
      },
      /what came is sha256:/,
    ],
    [
      'cuts a layer off',
      (b: Buffer) => (isLayer(b) ? b.subarray(0, b.length >> 1) : b),
      /of \d+ bytes came/,
    ],
    [
      'sends more than announced',
      (b: Buffer) => (isLayer(b) ? Buffer.concat([b, b]) : b),
      /more bytes than/,
    ],
    [
      'gives another digest for the same layer',
      inManifest((t) => t.replace(/(tar\+zstd","digest":"sha256:)\w{8}/, '$100000000')),
      /The registry fails: HTTP 404/,
    ],
    [
      'changes what is recorded of it',
      inConfig((t) => t.replace('false', 'true ')),
      /what came is sha256:/,
    ],
    [
      'says that the image has another form',
      inManifest((t) => t.replace('tar+zstd', 'tar+gzip')),
      /no layer of ours/,
    ],
  ])('and %s is refused, and nothing of it gets in', async (_, change, why) => {
    const machine = await lie(change);
    expect(await machine.pull('a')).toEqual([]);
    expect(await machine.has()).toEqual([]);
    expect(machine.warnings).toEqual([expect.stringMatching(why)]);
    expect(await readdir(join(folder, 'two-scratch/pull')).catch(() => [])).toEqual([]);
  });

  test('and gives another layer under the name is refused; the next push mends it', async () => {
    const one = new Machine('one', { push: remoteAt(registry.host) });
    await one.shared.push([await layer('a'), await layer('b')]);
    const base = `http://${registry.host}/v2/layers-${repository}/manifests`;
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const other = await (await fetch(`${base}/b`, { headers: { accept: type } })).text();
    await fetch(`${base}/a`, { method: 'PUT', headers: { 'content-type': type }, body: other });
    const remote = remoteAt(registry.host);
    const two = new Machine('two', { pull: [remote], push: remote });
    expect(await two.pull('a')).toEqual([]);
    expect(two.warnings).toEqual([expect.stringMatching(/refused: it says that it is b/)]);
    expect((await two.shared.push([await layer('a')])).trees).toBe(1);
    const three = new Machine('three', { pull: [remoteAt(registry.host)] });
    expect(await three.pull('a')).toEqual(['a']);
    expect(await readFile(join(three.got, 'a/etc/content'), 'utf8')).toBe('a');
  });

  test('with an own layer whose facts are not of the tree is refused', async () => {
    const remote = remoteAt(registry.host);
    const odd = { ...(await layer('a')), facts: { initramfs: 'perhaps' } };
    const empty = { ...(await layer('b')), tree: join(folder, 'empty') };
    await mkdir(empty.tree);
    await new Machine('one', { push: remote }).shared.push([odd, empty]);
    const two = new Machine('two', { pull: [remote] });
    expect(await two.pull('a')).toEqual([]);
    const three = new Machine('three', { pull: [remote] });
    expect(await three.pull('b')).toEqual([]);
    expect(three.warnings).toEqual([expect.stringMatching(/not what is recorded of it/)]);
    expect([...(await two.has()), ...(await three.has())]).toEqual([]);
  });
});

describe('with cache.verify_key', () => {
  const keys = async (name: string): Promise<{ signKey: string; verifyKey: string }> => {
    const pair = await writeKeyPair(join(folder, name), undefined);
    return { signKey: pair.secret, verifyKey: pair.public };
  };
  const manifests = () => `http://${registry.host}/v2/layers-${repository}/manifests`;
  const type = 'application/vnd.oci.image.manifest.v1+json';

  test('only what was signed with that key is taken', async () => {
    const [ours, theirs] = [await keys('ours'), await keys('theirs')];
    const signer = (signKey: string) => openSeal({ signKey, verifyKey: null });
    const remote = remoteAt(registry.host);
    const seals = { a: await signer(ours.signKey), b: await signer(theirs.signKey), c: undefined };
    for (const [name, seal] of Object.entries(seals))
      await new Machine('one', { push: remote, ...(seal ? { seal } : {}) }).shared.push([
        await layer(name),
      ]);
    const seal = await openSeal({ signKey: null, verifyKey: ours.verifyKey });
    const pulls = async (tag: string) => {
      const machine = new Machine(`wants-${tag}`, { pull: [remote], seal });
      return [await machine.pull(tag), machine.warnings];
    };
    expect(await pulls('a')).toEqual([['a'], []]);
    expect(await pulls('b')).toEqual([[], [expect.stringMatching(/not of the key/)]]);
    expect(await pulls('c')).toEqual([[], [expect.stringMatching(/not signed/)]]);
  });

  test('the signature of one layer does not do for another', async () => {
    const { signKey, verifyKey } = await keys('ours');
    const remote = remoteAt(registry.host);
    const seal = await openSeal({ signKey, verifyKey });
    const one = new Machine('one', { push: remote, seal });
    await one.shared.push([await layer('a'), await layer('b')]);
    const get = async (tag: string) =>
      (await (
        await fetch(`${manifests()}/${tag}`, { headers: { accept: type } })
      ).json()) as Record<string, unknown>;
    const [a, b] = [await get('a'), await get('b')];
    // The planted content under an honest name, with an honest signature, of another layer.
    const planted = { ...b, config: a.config, annotations: a.annotations };
    await fetch(`${manifests()}/a`, {
      method: 'PUT',
      headers: { 'content-type': type },
      body: JSON.stringify(planted),
    });
    const two = new Machine('two', { pull: [remote], seal });
    expect(await two.pull('a')).toEqual([]);
    expect(two.warnings).toEqual([expect.stringMatching(/not of the key/)]);
  });

  test('a key that is none ends the build before it begins', async () => {
    await writeFile(join(folder, 'no.pub'), 'nothing');
    await expect(openSeal({ signKey: null, verifyKey: join(folder, 'no.pub') })).rejects.toThrow(
      /public key cannot be used/,
    );
  });
});

test('a folder as the store refuses a damaged layer as a registry would', async () => {
  const open = () =>
    openRemote('oci-layout:store', { root: folder, plainHttp: [], authFile: null });
  const { shared } = new Machine('one', { push: open() });
  await shared.push([await layer('a')]);
  expect(await new Machine('two', { pull: [open()] }).pull('a')).toEqual(['a']);
  const blobs = join(folder, 'store/blobs/sha256');
  for (const name of await readdir(blobs)) {
    expect(sha256Digest(await readFile(join(blobs, name)))).toBe(`sha256:${name}`);
    const bytes = await readFile(join(blobs, name));
    if (bytes.readUInt32LE(0) === 0xfd2fb528) await truncate(join(blobs, name), bytes.length - 1);
  }
  const three = new Machine('three', { pull: [open()] });
  expect(await three.pull('a')).toEqual([]);
  expect(three.warnings).toEqual([expect.stringMatching(/of \d+ bytes came/)]);
});

/** Text that does not compress to nothing. */
function randomText(size: number): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(Math.min(size, 60_000))))
    .toString('base64')
    .repeat(Math.ceil(size / 60_000));
}
