import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { exitCode } from '../errors.ts';
import { run } from '../exec.ts';
import { type DownloadOptions, download } from './download.ts';
import { type Behaviour, type ImageServer, serveImage } from './fixture.ts';

const first = randomBytes(400_000);
const second = randomBytes(400_000);
const third = randomBytes(400_000);
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

let directory: string;
let servers: ImageServer[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'download-'));
  servers = [];
});

afterEach(async () => {
  for (const server of servers) await server.close();
  await rm(directory, { recursive: true, force: true });
});

/** Serves `first`; the nth behaviour is for the nth request, the last for all after it. */
async function serve(...behaviours: Behaviour[]): Promise<ImageServer> {
  const server = await serveImage(first, behaviours.length > 0 ? behaviours : [{}]);
  servers.push(server);
  return server;
}

const get = (server: { url: string }, more: Partial<DownloadOptions> = {}) =>
  download({ url: server.url, directory, backoff: 1, ...more });

/** The ranges that were asked for, `-` for the whole file. */
const ranges = (server: ImageServer) => server.requests.map(({ headers }) => headers.range ?? '-');

const partials = () => readdir(join(directory, 'partial'));

/** Runs a program that downloads, in a process of its own. */
function elsewhere(script: string, options: { command?: string[]; env?: Record<string, string> }) {
  const module = JSON.stringify(new URL('./download.ts', import.meta.url).href);
  const code = `import { download } from ${module};\n${script}`;
  const [command = '', ...args] = [
    ...(options.command ?? []),
    process.execPath,
    '--input-type=module',
    '--eval',
    code,
  ];
  return execa(command, args, { reject: false, env: { ...options.env, NODE_OPTIONS: '' } });
}

describe('a download that goes well', () => {
  test('lies in the cache under its SHA-256, and nothing else is left', async () => {
    const got = await get(await serve());
    expect(got).toMatchObject({ path: join(directory, sha256(first)), size: first.length });
    expect(await readFile(got.path)).toEqual(first);
    expect(await partials()).toEqual([]);
  });

  test('tells its progress up to the end', async () => {
    const seen: (number | undefined)[][] = [];
    await get(await serve(), { onProgress: (done, total) => seen.push([done, total]) });
    expect(seen[0]).toEqual([0, first.length]);
    expect(seen.at(-1)).toEqual([first.length, first.length]);
  });

  test('is not asked for again when its SHA-256 is known', async () => {
    const server = await serve();
    const { path } = await get(server);
    const again = await get(server, { sha256: sha256(first), size: first.length });
    expect(again.path).toBe(path);
    expect(server.requests).toHaveLength(1);
  });

  test('is only asked whether it has changed when its SHA-256 is not known', async () => {
    const server = await serve({}, {}, { content: second, etag: '"new"' });
    const { path } = await get(server);
    expect(await get(server)).toMatchObject({ path });
    expect(server.requests[1]?.headers['if-none-match']).toBeDefined();
    expect(await get(server)).toMatchObject({ sha256: sha256(second) });
  });

  test('is fetched anew if the cached file was damaged since', async () => {
    const server = await serve();
    const { path } = await get(server);
    await writeFile(path, 'damaged');
    await get(server, { sha256: sha256(first) });
    expect(await readFile(path)).toEqual(first);
  });

  test('follows redirects', async () => {
    const server = await serve();
    const door = await serve({ status: 302, headers: { location: server.url } });
    expect(await get(door)).toMatchObject({ sha256: sha256(first) });
  });
});

describe('a connection that breaks', () => {
  test('is resumed where it ended, if the file is still the same', async () => {
    const server = await serve({ cutAfter: 150_000 }, {});
    expect(await get(server)).toMatchObject({ sha256: sha256(first) });
    expect(ranges(server)).toEqual(['-', 'bytes=150000-']);
    expect(server.requests[1]?.headers['if-range']).toMatch(/^".+"$/);
  });

  test('again and again is no reason to give up as long as bytes come', async () => {
    const server = await serve({ cutAfter: 50_000 });
    expect(await get(server, { retries: 1 })).toMatchObject({ sha256: sha256(first) });
    expect(server.requests).toHaveLength(8);
  });

  test('is resumed after the process was killed', async () => {
    const server = await serve({ stallAfter: 150_000 }, {});
    const child = elsewhere(
      `await download(${JSON.stringify({ url: server.url, directory })});`,
      {},
    );
    await expect
      .poll(
        async () => {
          const [name] = (await partials().catch(() => [])).filter(
            (file) => !file.endsWith('.json'),
          );
          return name ? (await stat(join(directory, 'partial', name))).size : 0;
        },
        { timeout: 20_000 },
      )
      .toBe(150_000);
    child.kill('SIGKILL');
    await child;
    expect(await get(server)).toMatchObject({ sha256: sha256(first) });
    expect(ranges(server)).toEqual(['-', 'bytes=150000-']);
  });

  test('starts over on a server without Range', async () => {
    const server = await serve({ cutAfter: 150_000, range: false }, { range: false });
    const got = await get(server);
    expect(await readFile(got.path)).toEqual(first);
  });

  test('on a server without Range at the same place each time is given up', async () => {
    const server = await serve({ cutAfter: 150_000, range: false });
    await expect(get(server, { retries: 3 })).rejects.toMatchObject({
      message: expect.stringMatching(/failed 4 times without getting further/),
      code: exitCode.source,
    });
  });

  test('before a file of unknown length is whole is noticed', async () => {
    const server = await serve({ cutAfter: 150_000, length: false }, { length: false });
    const got = await get(server);
    expect(await readFile(got.path)).toEqual(first);
  });

  test('is taken for broken when no byte comes for a while', async () => {
    const server = await serve({ stallAfter: 150_000 }, {});
    expect(await get(server, { stallTimeout: 100 })).toMatchObject({ sha256: sha256(first) });
    expect(ranges(server)).toEqual(['-', 'bytes=150000-']);
  });
});

describe('a file that changes on the server in mid-download', () => {
  const changes: [string, Behaviour, Behaviour, Partial<DownloadOptions>][] = [
    ['is seen by its ETag', { etag: '"1"' }, { etag: '"2"' }, {}],
    [
      'is seen by its date',
      { etag: null, lastModified: new Date('2026-01-01') },
      { etag: null, lastModified: new Date('2026-02-01') },
      {},
    ],
    [
      'is seen by its ETag though the server ignores If-Range',
      { etag: '"1"' },
      { etag: '"2"', ignoreIfRange: true },
      {},
    ],
    [
      'is seen by its SHA-256 though it keeps its ETag',
      { etag: '"1"' },
      { etag: '"1"' },
      { sha256: sha256(second) },
    ],
    [
      'is seen by its SHA-256 though the server gives no ETag or date',
      { etag: null },
      { etag: null },
      { sha256: sha256(second) },
    ],
    ['is not resumed if nothing could tell', { etag: null }, { etag: null }, {}],
    ['is not resumed by a weak ETag', { etag: 'W/"1"' }, { etag: 'W/"1"' }, {}],
  ];
  test.each(changes)('%s: all bytes are of the new file', async (_, before, after, options) => {
    const server = await serve({ ...before, cutAfter: 150_000 }, { ...after, content: second });
    const got = await get(server, options);
    expect((await readFile(got.path)).equals(second)).toBe(true);
  });

  test('and has become shorter is taken from the start', async () => {
    const short = first.subarray(0, 100_000);
    const server = await serve(
      { etag: '"same"', cutAfter: 150_000 },
      { etag: '"same"', content: short },
    );
    const got = await get(server);
    expect((await readFile(got.path)).equals(short)).toBe(true);
  });

  test('and has grown is taken from the start', async () => {
    const long = Buffer.concat([second, third]);
    const server = await serve(
      { etag: '"same"', cutAfter: 150_000 },
      { etag: '"same"', content: long },
    );
    const got = await get(server);
    expect((await readFile(got.path)).equals(long)).toBe(true);
  });

  test('over and over is given up after one clean restart', async () => {
    const server = await serve(
      { etag: '"1"', cutAfter: 150_000 },
      { etag: '"2"', content: second, cutAfter: 150_000 },
      { etag: '"3"', content: third },
    );
    await expect(get(server)).rejects.toMatchObject({
      message: expect.stringMatching(/changes on the server while it is downloaded/),
      code: exitCode.source,
    });
    expect(await partials()).toEqual([]);
  });
});

describe('a file that is not the expected one', () => {
  test('by SHA-256: the error says both, and the bytes are thrown away', async () => {
    const server = await serve({ content: second });
    await expect(get(server, { sha256: sha256(first) })).rejects.toMatchObject({
      message: `Wrong SHA-256: expected ${sha256(first)}, got ${sha256(second)}`,
      where: server.url,
      code: exitCode.source,
    });
    expect(server.requests).toHaveLength(1);
    expect(await partials()).toEqual([]);
    expect(await readdir(directory)).toEqual(['partial', 'urls']);
  });

  test('by SHA-256 after a broken connection: it is fetched once more from the start', async () => {
    const server = await serve({ content: second, cutAfter: 150_000 }, { content: second });
    await expect(get(server, { sha256: sha256(first) })).rejects.toThrow(/Wrong SHA-256/);
    expect(ranges(server)).toEqual(['-', 'bytes=150000-', '-']);
  });

  test('by size, because it is cut off on the server: no byte is fetched', async () => {
    const server = await serve({ content: first.subarray(0, 1000) });
    await expect(get(server, { size: first.length })).rejects.toMatchObject({
      message: `Wrong size: expected ${first.length} bytes, the server has 1000`,
      code: exitCode.source,
    });
    expect(await partials()).toEqual([]);
  });

  test('by size, of a server that gives no length: it stops as soon as there is too much', async () => {
    const server = await serve({ length: false });
    await expect(get(server, { size: 1000 })).rejects.toThrow(/Wrong size: expected 1000 bytes/);
    expect(await partials()).toEqual([]);
  });
});

describe('a server that refuses', () => {
  test.each([401, 403, 404, 410])('with %d is asked once', async (status) => {
    const server = await serve({ status });
    await expect(get(server)).rejects.toMatchObject({
      message: expect.stringContaining(`HTTP ${status}`),
      where: server.url,
      fix: expect.stringMatching(/URL/),
      code: exitCode.source,
    });
    expect(server.requests).toHaveLength(1);
  });

  test.each([500, 503, 429])('with %d is asked again', async (status) => {
    const server = await serve({ status }, { status }, {});
    expect(await get(server)).toMatchObject({ sha256: sha256(first) });
    expect(server.requests).toHaveLength(3);
  });

  test('for good ends in an error that names its answer', async () => {
    const server = await serve({ status: 503 });
    await expect(get(server, { retries: 2 })).rejects.toThrow(/HTTP 503/);
    expect(server.requests).toHaveLength(3);
  });

  test('and says when to come back is asked then', async () => {
    const server = await serve({ status: 503, headers: { 'retry-after': '1' } }, {});
    const start = performance.now();
    await get(server);
    expect(performance.now() - start).toBeGreaterThanOrEqual(990);
  });

  test('and says to come back in an hour is not waited for', async () => {
    const server = await serve({ status: 429, headers: { 'retry-after': '3600' } });
    await expect(get(server)).rejects.toThrow(/asks to wait 3600 s/);
  });

  test('by sending in circles is left after 10 redirects', async () => {
    const server = await serve({ status: 302, headers: { location: '/image.img.xz' } });
    await expect(get(server)).rejects.toThrow(/More than 10 redirects/);
    expect(server.requests).toHaveLength(11);
  });

  test('by sending to what is not http is not followed', async () => {
    const server = await serve({ status: 302, headers: { location: 'data:,evil' } });
    await expect(get(server)).rejects.toThrow(/redirects to an address that is not safe: data:/);
  });
});

describe('a server that cannot be reached', () => {
  test('is given up at once, so that the next base can be tried', async () => {
    const server = await serve();
    await server.close();
    const start = performance.now();
    await expect(get(server, { backoff: 10_000 })).rejects.toMatchObject({
      message: expect.stringMatching(/^Cannot reach 127\.0\.0\.1:\d+: the connection is refused$/),
      code: exitCode.source,
    });
    expect(performance.now() - start).toBeLessThan(1000);
  });

  test('because it never answers is given up after connectTimeout', async () => {
    const server = await serve({ delay: Number.POSITIVE_INFINITY });
    await expect(get(server, { connectTimeout: 100 })).rejects.toThrow(/Cannot reach .*no answer/);
    expect(server.requests).toHaveLength(1);
  });

  test('gets user and password of its URL, and no error shows them', async () => {
    const server = await serve({ status: 404 });
    const url = server.url.replace('http://', 'http://user:secret@');
    const error: Error = await get({ url }).then(
      () => expect.unreachable(),
      (thrown) => thrown,
    );
    expect(server.requests[0]?.headers.authorization).toBe(`Basic ${btoa('user:secret')}`);
    expect(JSON.stringify({ ...error, message: error.message })).not.toContain('secret');
  });
});

describe('https', () => {
  test('is never left for http, and needs a certificate that is trusted', async () => {
    const key = join(directory, 'key.pem');
    const certificate = join(directory, 'certificate.pem');
    await run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
      ...['-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'],
      ...['-keyout', key, '-out', certificate],
    ]);
    const plain = await serve();
    const tls = createTlsServer(
      { key: await readFile(key), cert: await readFile(certificate) },
      (_, response) => response.writeHead(302, { location: plain.url }).end(),
    );
    await new Promise<void>((ready) => tls.listen(0, '127.0.0.1', ready));
    try {
      const url = `https://127.0.0.1:${(tls.address() as AddressInfo).port}/image`;
      await expect(get({ url })).rejects.toMatchObject({
        message: expect.stringMatching(/does not trust the certificate/),
        fix: expect.stringMatching(/clock/),
      });
      const { stderr } = await elsewhere(`await download(${JSON.stringify({ url, directory })});`, {
        env: { NODE_EXTRA_CA_CERTS: certificate },
      });
      expect(stderr).toMatch(/redirects to an address that is not safe: http:/);
      expect(plain.requests).toHaveLength(0);
    } finally {
      await new Promise((closed) => tls.close(closed));
    }
  });
});

describe('a disk that is full', () => {
  test.each([
    ['before the first byte, by the announced length', true, /No space for the download.* 3 1$/],
    ['in mid-download, and what is there stays for later', false, /The disk became full.* 3 2$/],
  ])('is told %s', async (_, length, message) => {
    const server = await serve({ length });
    // A private mount of 256 KiB: needs no root where users may have namespaces.
    const { stderr } = await elsewhere(
      `await download(${JSON.stringify({ url: server.url, directory })}).catch(async (error) => {
         const { readdirSync } = await import('node:fs');
         console.error(error.message, error.code, readdirSync('${directory}/partial').length);
       });`,
      {
        command: [
          ...['unshare', '--map-root-user', '--mount', 'sh', '-c'],
          `mount -t tmpfs -o size=256k none '${directory}' && exec "$@"`,
          'sh',
        ],
      },
    );
    expect(stderr).toMatch(message);
  });
});

test('a download that is aborted ends with the reason, and can be resumed', async () => {
  const server = await serve({ stallAfter: 150_000 }, {});
  const abort = new AbortController();
  const reason = new Error('enough');
  const going = get(server, {
    signal: abort.signal,
    onProgress: (done) => done === 150_000 && abort.abort(reason),
  });
  await expect(going).rejects.toBe(reason);
  expect(await get(server)).toMatchObject({ sha256: sha256(first) });
  expect(ranges(server)).toEqual(['-', 'bytes=150000-']);
});
