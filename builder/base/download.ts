import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fetch, { type Response } from 'node-fetch';
import { fileDigest } from '../artifact/compress.ts';
import { BuildError, exitCode, isErrno, messageOf } from '../errors.ts';
import { replaceFile } from '../state.ts';
import { megabytes } from '../ui/present.ts';

export type DownloadOptions = {
  url: string;
  /** The download cache: `<sha256>` files, `partial/` and `urls/`. One process at a time. */
  directory: string;
  /** Bytes that it must have. */
  size?: number | undefined;
  /** What it must be: 64 hex digits. Also finds it in the cache without a request. */
  sha256?: string | undefined;
  /** New tries in a row that may bring no new byte. Default 5. */
  retries?: number | undefined;
  /** Milliseconds before the first new try, doubled for each next. Default 1000. */
  backoff?: number | undefined;
  /** Milliseconds that a transfer may bring no byte. Default 60 000. */
  stallTimeout?: number | undefined;
  /** Milliseconds until a server must begin to answer. Default 30 000. */
  connectTimeout?: number | undefined;
  /** Bytes there so far and, once known, in all. */
  onProgress?: ((done: number, total?: number) => void) | undefined;
  signal?: AbortSignal | undefined;
};

export type Downloaded = { path: string; sha256: string; size: number; etag?: string };

/** What the bytes are of, as the server says; lies as JSON beside them. */
type Origin = {
  url: string;
  /** A strong one, fit for If-Range. */
  etag?: string | undefined;
  /** Only if it is strong too. */
  lastModified?: string | undefined;
  length?: number | undefined;
};

const maxRedirects = 10;
/** Milliseconds between two tries at most. */
const maxPause = 30_000;
/** Milliseconds: a server that asks to wait longer is taken as out of order. */
const maxRetryAfter = 5 * 60_000;

/** Worth another try: the server is there, but this time it failed. */
class Transient extends Error {
  /** Milliseconds that the server asked to wait. */
  readonly wait: number | undefined;
  constructor(message: string, wait?: number) {
    super(message);
    this.wait = wait;
  }
}

/** The bytes there so far are not of the file that the server has now. */
class Changed extends Error {}

/**
 * Downloads a file into a content-addressed cache, whatever happens on the way: it resumes after a
 * cut connection or a killed build (Range with If-Range, RFC 9110 §13.1.5 and §14), tries again
 * after growing pauses, and never joins bytes of two versions of the file. What has its final name
 * is whole, on the disk and of that SHA-256.
 * @throws BuildError with code `source` (network, server, checksum) or `host` (disk full).
 */
export async function download(options: DownloadOptions): Promise<Downloaded> {
  const { directory, sha256, size } = options;
  const cached = sha256 ? await findDownload(directory, sha256) : undefined;
  if (cached && (size === undefined || size === cached.size)) return cached;
  await mkdir(join(directory, 'partial'), { recursive: true });
  await mkdir(join(directory, 'urls'), { recursive: true });
  const partial = await Partial.open(directory, options.url);
  try {
    return await new Transfer(options, partial).run();
  } catch (error) {
    if (isErrno(error, 'ENOSPC') || isErrno(error, 'EDQUOT'))
      throw noSpace(directory, 'The disk became full while the file was downloaded', error);
    throw error;
  } finally {
    await partial.close();
  }
}

/** The cached file, if it is there and still has its SHA-256; a damaged one is removed. */
async function findDownload(directory: string, sha256: string): Promise<Downloaded | undefined> {
  const path = join(directory, sha256);
  const found = await fileDigest(path).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (found?.sha256 === sha256) return { path, ...found };
  if (found) await rm(path);
  return undefined;
}

/** A download that isn't finished: its bytes, their running SHA-256, and what they are of. */
class Partial {
  readonly #directory: string;
  readonly #path: string;
  readonly #record: string;
  /** Kept after the download, to ask the server next time only for a newer one. */
  readonly #finished: string;
  origin: Origin;
  size = 0;
  #hash: Hash = createHash('sha256');
  #file: FileHandle | undefined;

  private constructor(directory: string, url: string) {
    const key = createHash('sha256').update(url).digest('hex').slice(0, 32);
    this.#directory = directory;
    this.#path = join(directory, 'partial', key);
    this.#record = `${this.#path}.json`;
    this.#finished = join(directory, 'urls', `${key}.json`);
    this.origin = { url };
  }

  /** Takes up what an earlier run left. */
  static async open(directory: string, url: string): Promise<Partial> {
    const partial = new Partial(directory, url);
    const origin = await readRecord(partial.#record, url);
    const left = await stat(partial.#path).catch(() => undefined);
    if (!origin || !left) {
      await partial.discard();
      return partial;
    }
    partial.origin = origin;
    partial.size = left.size;
    for await (const bytes of createReadStream(partial.#path)) partial.#hash.update(bytes);
    return partial;
  }

  /** The bytes go first: a record without bytes is harmless, bytes with a wrong one are not. */
  async discard(): Promise<void> {
    await this.close();
    await rm(this.#path, { force: true });
    await rm(this.#record, { force: true });
    this.origin = { url: this.origin.url };
    this.size = 0;
    this.#hash = createHash('sha256');
  }

  /** Starts from zero. */
  async begin(origin: Origin): Promise<void> {
    await this.discard();
    this.origin = origin;
    await replaceFile(this.#record, JSON.stringify(origin));
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#file ??= await open(this.#path, 'a');
    await this.#file.appendFile(bytes);
    this.#hash.update(bytes);
    this.size += bytes.length;
  }

  digest(): string {
    return this.#hash.digest('hex');
  }

  /** Gives the bytes their final name once they are on the disk. */
  async commit(sha256: string): Promise<string> {
    const path = join(this.#directory, sha256);
    this.#file ??= await open(this.#path, 'a');
    await this.#file.sync();
    await this.close();
    await rename(this.#path, path);
    const parent = await open(this.#directory, 'r');
    await parent.sync();
    await parent.close();
    await replaceFile(this.#finished, JSON.stringify({ ...this.origin, sha256 }));
    await rm(this.#record, { force: true });
    return path;
  }

  /** What the last whole download of this URL gave, if it is still there. */
  async last(): Promise<{ origin: Origin; file: Downloaded } | undefined> {
    const origin = await readRecord(this.#finished, this.origin.url);
    if (!origin?.sha256) return undefined;
    const file = await findDownload(this.#directory, origin.sha256);
    return file ? { origin, file } : undefined;
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }
}

/** A missing, broken or foreign record is none: it costs a download, nothing else. */
async function readRecord(
  path: string,
  url: string,
): Promise<(Origin & { sha256?: string }) | undefined> {
  try {
    const record = JSON.parse(await readFile(path, 'utf8'));
    return record.url === url ? record : undefined;
  } catch {
    return undefined;
  }
}

/** One call of {@link download}: tries until the file is there or it is clear that it won't be. */
class Transfer {
  readonly #o: DownloadOptions;
  readonly #partial: Partial;
  /** Most bytes that were there at any time: only more of them is progress. */
  #furthest: number;
  /** The server answered in this call: so a lost connection is worth another try. */
  #answered = false;
  /** The bytes come from more than one response. */
  #joined: boolean;
  #restarts = 0;

  constructor(options: DownloadOptions, partial: Partial) {
    this.#o = options;
    this.#partial = partial;
    this.#furthest = partial.size;
    this.#joined = partial.size > 0;
  }

  async run(): Promise<Downloaded> {
    for (let failures = 0; ; ) {
      this.#o.signal?.throwIfAborted();
      try {
        return (await this.#attempt()) ?? (await this.#finish());
      } catch (error) {
        if (error instanceof Changed) {
          await this.#restart(error);
        } else if (error instanceof Transient) {
          failures = this.#partial.size > this.#furthest ? 1 : failures + 1;
          this.#furthest = Math.max(this.#furthest, this.#partial.size);
          await this.#pause(failures, error);
        } else throw error;
      }
    }
  }

  /** The pause doubles each time; half of it is chance, so that clients don't come back at once. */
  async #pause(failures: number, reason: Transient): Promise<void> {
    if (failures > (this.#o.retries ?? 5))
      throw this.#error(
        `The download failed ${failures} times without getting further: ${reason.message}`,
        'Run it again later: it goes on where it stopped',
      );
    const full = Math.min(maxPause, (this.#o.backoff ?? 1000) * 2 ** (failures - 1));
    const wait = reason.wait ?? full * (0.5 + Math.random() / 2);
    const { signal } = this.#o;
    await sleep(wait, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
  }

  async #restart(reason: Changed): Promise<void> {
    await this.#partial.discard();
    this.#joined = false;
    this.#furthest = 0;
    if (++this.#restarts > 1)
      throw this.#error(
        `The file changes on the server while it is downloaded: ${reason.message}`,
        'Try again later, or take another server',
      );
  }

  /** One request. Gives the file only if the server says that the cached one is still right. */
  async #attempt(): Promise<Downloaded | undefined> {
    const { size, origin } = this.#partial;
    if (size > 0 && size === origin.length) return undefined;
    // Bytes may only be joined if something can tell whether they belong together.
    if (size > 0 && !(origin.etag ?? origin.lastModified ?? this.#o.sha256))
      await this.#partial.discard();
    const fresh = this.#partial.size === 0 && !this.#o.sha256;
    const last = fresh ? await this.#partial.last() : undefined;
    const watch = new Watch(this.#o);
    try {
      const response = await this.#request(last?.origin, watch);
      if (response.status === 304) return last?.file;
      await this.#receive(response, watch);
      return undefined;
    } finally {
      watch.end();
    }
  }

  async #request(last: Origin | undefined, watch: Watch): Promise<Response> {
    const { origin, size } = this.#partial;
    const validator = origin.etag ?? origin.lastModified;
    const headers: Record<string, string> = {
      // A coding would make the bytes others than those that the checksum is of.
      'Accept-Encoding': 'identity',
      ...(size > 0 ? { Range: `bytes=${size}-` } : {}),
      ...(size > 0 && validator ? { 'If-Range': validator } : {}),
      ...(last?.etag ? { 'If-None-Match': last.etag } : {}),
      ...(last?.lastModified ? { 'If-Modified-Since': last.lastModified } : {}),
    };
    const response = await follow(this.#o.url, headers, watch.signal).catch((error: unknown) => {
      throw this.#networkFailure(error, watch);
    });
    this.#answered = true;
    watch.alive();
    const { status } = response;
    if (status === 200 || (status === 206 && size > 0) || (status === 304 && last)) return response;
    if (status === 416 && size > 0) throw new Changed('it has become shorter');
    throw this.#refusal(response);
  }

  async #receive(response: Response, watch: Watch): Promise<void> {
    const origin = originOf(response, this.#o.url);
    if (response.status === 206) this.#checkContinues(response, origin);
    else {
      // The whole file although a part was asked for: another file, or a server without ranges.
      if (this.#partial.size > 0 && isOther(this.#partial.origin, origin))
        await this.#restart(new Changed('its identity or size is another one'));
      await this.#partial.begin(origin);
      this.#joined = false;
    }
    const total = this.#partial.origin.length;
    await this.#checkSize(total);
    await this.#checkSpace(total);
    this.#o.onProgress?.(this.#partial.size, total);
    await this.#readBody(response, watch);
    const goal = total ?? this.#o.size;
    if (goal !== undefined && this.#partial.size < goal)
      throw new Transient(`the connection ended after ${this.#partial.size} of ${goal} bytes`);
  }

  /** A 206 must be the rest of what is there; not every server heeds If-Range. */
  #checkContinues(response: Response, origin: Origin): void {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
    if (Number(range?.[1]) !== this.#partial.size)
      throw new Changed('the server sent another part than the one asked for');
    const length = range?.[2] === '*' ? undefined : Number(range?.[2]);
    if (isOther(this.#partial.origin, { ...origin, length }))
      throw new Changed('its identity or size is another one');
    this.#joined = true;
  }

  async #readBody(response: Response, watch: Watch): Promise<void> {
    const total = this.#partial.origin.length;
    const body = (response.body ?? []) as AsyncIterable<Uint8Array>;
    const chunks = body[Symbol.asyncIterator]();
    for (;;) {
      const chunk = await chunks.next().catch((error: unknown) => {
        throw this.#networkFailure(error, watch);
      });
      if (chunk.done) return;
      watch.alive();
      const size = this.#partial.size + chunk.value.length;
      if (total !== undefined && size > total) throw new Changed('it is longer than announced');
      if (this.#o.size !== undefined && size > this.#o.size) await this.#checkSize(size);
      await this.#partial.append(chunk.value);
      this.#o.onProgress?.(size, total);
    }
  }

  async #checkSize(size: number | undefined): Promise<void> {
    const expected = this.#o.size;
    if (expected === undefined || size === undefined || size === expected) return;
    await this.#partial.discard();
    throw this.#error(
      `Wrong size: expected ${expected} bytes, the server has ${size}`,
      'This is not the file that was announced: check the URL and the expected size',
    );
  }

  async #checkSpace(total: number | undefined): Promise<void> {
    if (total === undefined) return;
    const { bavail, bsize } = await statfs(this.#o.directory);
    const needed = total - this.#partial.size;
    if (needed > bavail * bsize)
      throw noSpace(
        this.#o.directory,
        `No space for the download: it needs ${megabytes(needed)}, ${megabytes(bavail * bsize)} are free`,
      );
  }

  async #finish(): Promise<Downloaded> {
    const { size, origin } = this.#partial;
    await this.#checkSize(size);
    const sha256 = this.#partial.digest();
    if (this.#o.sha256 !== undefined && sha256 !== this.#o.sha256) {
      // Perhaps two versions were joined and no validator told: once from zero, then it is certain.
      if (this.#joined && this.#restarts === 0) throw new Changed('the parts do not fit together');
      await this.#partial.discard();
      throw this.#error(
        `Wrong SHA-256: expected ${this.#o.sha256}, got ${sha256}`,
        'The file is damaged or not the expected one, and was thrown away. If it is right, correct the expected SHA-256',
      );
    }
    const path = await this.#partial.commit(sha256);
    return { path, sha256, size, ...(origin.etag ? { etag: origin.etag } : {}) };
  }

  /** Whether a status is worth another try (RFC 9110 §15.5 and §15.6; 429: RFC 6585). */
  #refusal(response: Response): Error {
    const status = `HTTP ${response.status} ${response.statusText}`.trim();
    const transient = response.status >= 500 || [408, 425, 429].includes(response.status);
    const wait = retryAfter(response);
    if (transient && (wait ?? 0) <= maxRetryAfter) return new Transient(status, wait);
    if (transient)
      return this.#error(
        `The server asks to wait ${Math.ceil((wait ?? 0) / 1000)} s: ${status}`,
        'Run it again later, or take another server',
      );
    const fix =
      response.status === 404 || response.status === 410
        ? 'The file is not there (any more): correct the URL'
        : 'Check the URL in a browser: the server gives it only to others, or not at all';
    return this.#error(`The server refuses the download: ${status}`, fix);
  }

  /** A lost connection is worth another try; a server that can't be reached at all is not. */
  #networkFailure(error: unknown, watch: Watch): unknown {
    if (this.#o.signal?.aborted) return this.#o.signal.reason;
    if (error instanceof BuildError) return error;
    const reason = watch.expired ?? messageOf(error);
    if (this.#answered) return new Transient(reason);
    const { host } = new URL(this.#o.url);
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (watch.expired !== undefined || unreachable.has(code))
      return this.#error(
        `Cannot reach ${host}: ${unreachable.get(code) ?? reason}`,
        'Check the network and the host name',
        error,
      );
    if (/^(CERT_|ERR_TLS_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/.test(code))
      return this.#error(
        `This machine does not trust the certificate of ${host}: ${reason}`,
        "Check this machine's clock, and whether something on the way intercepts the connection",
        error,
      );
    return new Transient(reason);
  }

  #error(what: string, fix: string, cause?: unknown): BuildError {
    return new BuildError({ what, where: shown(this.#o.url), fix, code: exitCode.source, cause });
  }
}

/** Says when no byte comes for too long, and ends the request then. */
class Watch {
  readonly signal: AbortSignal;
  /** Why it ended the request. */
  expired: string | undefined;
  readonly #controller = new AbortController();
  readonly #stall: number;
  #timer: NodeJS.Timeout;

  constructor(o: DownloadOptions) {
    this.signal = o.signal
      ? AbortSignal.any([this.#controller.signal, o.signal])
      : this.#controller.signal;
    this.#stall = o.stallTimeout ?? 60_000;
    this.#timer = this.#limit(o.connectTimeout ?? 30_000, 'no answer');
  }

  alive(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#limit(this.#stall, 'no data');
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }

  #limit(milliseconds: number, what: string): NodeJS.Timeout {
    return setTimeout(() => {
      this.expired = `${what} for ${milliseconds / 1000} s`;
      this.#controller.abort();
    }, milliseconds);
  }
}

/** GET with redirects, never from https down to http. */
async function follow(
  url: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  let here = new URL(url);
  for (let hops = 0; hops <= maxRedirects; hops++) {
    const response = await fetch(withoutUser(here), {
      headers: { ...headers, ...authorization(here) },
      signal,
      redirect: 'manual',
      compress: false,
    });
    const location = response.headers.get('location');
    if (![301, 302, 303, 307, 308].includes(response.status) || !location) return response;
    const next = new URL(location, here);
    if (next.protocol !== 'https:' && (next.protocol !== 'http:' || here.protocol === 'https:'))
      throw new BuildError({
        what: `The server redirects to an address that is not safe: ${shown(next.href)}`,
        where: shown(url),
        fix: 'Take a URL that stays on https',
        code: exitCode.source,
      });
    here = next;
  }
  throw new BuildError({
    what: `More than ${maxRedirects} redirects`,
    where: shown(url),
    fix: 'Check the URL in a browser',
    code: exitCode.source,
  });
}

/** The URL's own user and password (RFC 7617); they go to no other host. */
function authorization({ username, password }: URL): Record<string, string> {
  if (!username) return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { Authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

function withoutUser(url: URL): URL {
  const copy = new URL(url);
  copy.username = '';
  copy.password = '';
  return copy;
}

function originOf(response: Response, url: string): Origin {
  const { headers } = response;
  const etag = headers.get('etag');
  const length = headers.get('content-length');
  return {
    url,
    // If-Range takes strong validators only (RFC 9110 §13.1.5).
    etag: etag?.startsWith('"') ? etag : undefined,
    lastModified: strongDate(headers.get('last-modified'), headers.get('date')),
    length: length === null ? undefined : Number(length),
  };
}

/** A date is a strong validator if it is at least a second before the answer (RFC 9110 §8.8.2.2). */
function strongDate(modified: string | null, answered: string | null): string | undefined {
  if (!modified || !answered) return undefined;
  return Date.parse(answered) - Date.parse(modified) >= 1000 ? modified : undefined;
}

/** True if anything that both responses state differs. */
function isOther(a: Origin, b: Origin): boolean {
  return (['etag', 'lastModified', 'length'] as const).some(
    (key) => a[key] !== undefined && b[key] !== undefined && a[key] !== b[key],
  );
}

/** Milliseconds; the header holds seconds or a date (RFC 9110 §10.2.3). */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get('retry-after');
  if (!value) return undefined;
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(wait) ? undefined : Math.max(0, wait);
}

/** Error codes of getaddrinfo(3) and connect(2) that a new try would only meet again. */
const unreachable = new Map([
  ['ENOTFOUND', 'there is no such host'],
  ['EAI_AGAIN', 'its name cannot be looked up'],
  ['ECONNREFUSED', 'the connection is refused'],
  ['EHOSTUNREACH', 'there is no way to the host'],
  ['ENETUNREACH', 'there is no network'],
  ['ETIMEDOUT', 'no answer'],
]);

function noSpace(directory: string, what: string, cause?: unknown): BuildError {
  return new BuildError({
    what,
    where: directory,
    fix: 'Free some space, or set paths.cache to another disk; the download then goes on where it stopped',
    code: exitCode.host,
    cause,
  });
}

/** A URL as it may be printed: without user and password. */
function shown(url: string): string {
  return withoutUser(new URL(url)).href;
}
