import { createHash, type Hash, randomInt } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fetch, { type Response } from 'node-fetch';
import { BuildError, exitCode, isErrno, messageOf } from '../errors.ts';
import { replaceFile } from '../state.ts';

export type DownloadOptions = {
  url: string;
  /** Keeps finished downloads by SHA-256, and unfinished ones in partial/. */
  directory: string;
  /** Bytes expected. */
  size?: number | undefined;
  sha256?: string | undefined;
  /** Times that a broken connection or a server's error is tried again. */
  retries?: number;
  /** Milliseconds before the first retry; doubled each time. */
  backoff?: number;
  /** Milliseconds without a byte until the connection counts as dead. */
  stall?: number;
  onProgress?: ((done: number, total?: number) => void) | undefined;
  signal?: AbortSignal | undefined;
};

export type Download = { path: string; sha256: string; size: number };

/** What identifies the version of the file that a partial download is of. */
type Validator = { etag: string | null; modified: string | null };

/** A passing fault: worth another try. */
class Transient extends Error {
  /** Milliseconds that the server asks to wait. */
  readonly wait: number | undefined;
  constructor(message: string, wait?: number) {
    super(message);
    this.wait = wait;
  }
}

/** The file on the server is no longer the one that was begun. */
class Changed extends Error {}

const maxWait = 60_000;

/**
 * Downloads a file into a content-addressed cache: resumed where it broke off (Range with If-Range,
 * RFC 9110 §13.1.5 and §14), tried again with growing pauses, checked by size and SHA-256, and only
 * then given its name. A file that changes on the server meanwhile is begun anew, never mixed.
 * @throws BuildError (exitCode.source) if it can't be had or isn't what was expected.
 */
export async function download(o: DownloadOptions): Promise<Download> {
  if (o.sha256) {
    const path = join(o.directory, o.sha256);
    const known = await stat(path).catch(() => undefined);
    if (known) return { path, sha256: o.sha256, size: known.size };
  }
  const retries = o.retries ?? 5;
  let restarts = 0;
  for (let attempt = 0; ; attempt++) {
    try {
      return await finish(o, await transfer(o));
    } catch (error) {
      if (error instanceof Changed && restarts++ < 2) {
        await forget(o);
        continue;
      }
      if (error instanceof Changed)
        throw failed(
          o,
          'The file changes on the server while it is downloaded',
          'Try again later, or give sha256 of the version that you want',
          error,
        );
      if (!(error instanceof Transient)) throw error;
      if (attempt >= retries)
        throw failed(
          o,
          `The download failed ${attempt + 1} times, at last: ${error.message}`,
          'Check the connection and run the build again; it resumes where it broke off',
          error,
        );
      const pause = (o.backoff ?? 1000) * 2 ** attempt;
      await sleep(Math.min(maxWait, error.wait ?? pause + randomInt(Math.ceil(pause / 2) + 1)));
    }
  }
}

function failed(o: DownloadOptions, what: string, fix: string, cause?: unknown): BuildError {
  return new BuildError({ what, where: o.url, fix, code: exitCode.source, cause });
}

function partialPath(o: DownloadOptions): string {
  return join(
    o.directory,
    'partial',
    createHash('sha256').update(o.url).digest('hex').slice(0, 24),
  );
}

async function forget(o: DownloadOptions): Promise<void> {
  await rm(partialPath(o), { force: true });
  await rm(`${partialPath(o)}.json`, { force: true });
}

/** One connection: appends to the partial file. Resolves with the whole file's hash. */
async function transfer(o: DownloadOptions): Promise<{ sha256: string; size: number }> {
  const path = partialPath(o);
  await mkdir(join(o.directory, 'partial'), { recursive: true });
  const validator = await readValidator(`${path}.json`);
  const begun = validator ? await sizeOf(path) : 0;
  const strong =
    validator?.etag && !validator.etag.startsWith('W/') ? validator.etag : validator?.modified;
  const resuming = begun > 0 && Boolean(strong);
  const stall = new AbortController();
  let timer = setTimeout(() => stall.abort(), o.stall ?? 60_000);
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stall.abort(), o.stall ?? 60_000);
  };
  try {
    const response = await request(
      o,
      resuming ? { range: `bytes=${begun}-`, 'if-range': strong ?? '' } : {},
      stall.signal,
    );
    const from = acceptRange(response, o, begun);
    const hash = createHash('sha256');
    if (from > 0) await hashFile(path, hash);
    await replaceFile(
      `${path}.json`,
      JSON.stringify({
        etag: response.headers.get('etag'),
        modified: response.headers.get('last-modified'),
      } satisfies Validator),
    );
    const total = totalSize(response, from) ?? o.size;
    let size = from;
    const file = await open(path, from > 0 ? 'a' : 'w');
    try {
      if (!response.body) throw new Transient('the answer has no body');
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        alive();
        hash.update(chunk);
        await file.write(chunk);
        size += chunk.length;
        o.onProgress?.(size, total);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (total !== undefined && size < total)
      throw new Transient(`the connection ended after ${size} of ${total} bytes`);
    return { sha256: hash.digest('hex'), size };
  } catch (error) {
    throw classify(error, stall.signal.aborted, o);
  } finally {
    clearTimeout(timer);
    stall.abort();
  }
}

async function request(
  o: DownloadOptions,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Response> {
  const response = await fetch(o.url, {
    headers: { 'user-agent': 'pi-gateway-image', 'accept-encoding': 'identity', ...headers },
    signal,
    follow: 10,
  });
  if (o.url.startsWith('https:') && !response.url.startsWith('https:'))
    throw failed(
      o,
      `The server redirects from https to ${new URL(response.url).protocol}//`,
      'Use the address of a server that keeps https',
    );
  const { status } = response;
  if (status === 200 || status === 206) return response;
  if (status === 416) throw new Changed();
  if (status === 429 || status >= 500) {
    const after = Number(response.headers.get('retry-after'));
    throw new Transient(
      `the server answers ${status} ${response.statusText}`,
      after > 0 ? after * 1000 : undefined,
    );
  }
  throw failed(o, `The server answers ${status} ${response.statusText}`, 'Check the address');
}

/** Byte that the answer starts at. A server without Range answers 200 with the whole file. */
function acceptRange(response: Response, o: DownloadOptions, begun: number): number {
  if (response.status === 200) return 0;
  const start = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1];
  if (start === undefined || Number(start) !== begun)
    throw failed(
      o,
      `The server answers another range (from ${start ?? '?'}) than was asked for (from ${begun})`,
      'Use another server',
    );
  return begun;
}

function totalSize(response: Response, from: number): number | undefined {
  const length = response.headers.get('content-length');
  return length === null ? undefined : Number(length) + from;
}

function classify(error: unknown, stalled: boolean, o: DownloadOptions): unknown {
  if (error instanceof BuildError || error instanceof Transient || error instanceof Changed)
    return error;
  if (stalled) return new Transient('the server sent nothing for a while');
  for (const code of ['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ENETUNREACH', 'EHOSTUNREACH'])
    if (isErrno(error, code) || messageOf(error).includes(code))
      return failed(
        o,
        `The server cannot be reached (${code})`,
        'Check the network and the address',
        error,
      );
  if (isErrno(error, 'ENOSPC')) return error;
  return new Transient(messageOf(error));
}

/** Checks the finished partial file and gives it its name. */
async function finish(
  o: DownloadOptions,
  got: { sha256: string; size: number },
): Promise<Download> {
  const bad = async (what: string) => {
    await forget(o);
    return failed(
      o,
      what,
      'Check size and SHA-256 in gateway.yaml; if they are right, the server or someone between has altered the file',
    );
  };
  if (o.size !== undefined && got.size !== o.size)
    throw await bad(`The download has ${got.size} bytes, expected ${o.size}`);
  if (o.sha256 && got.sha256 !== o.sha256)
    throw await bad(`The download's SHA-256 is ${got.sha256}, expected ${o.sha256}`);
  const path = join(o.directory, got.sha256);
  await rename(partialPath(o), path);
  await rm(`${partialPath(o)}.json`, { force: true });
  return { path, ...got };
}

async function hashFile(path: string, hash: Hash): Promise<void> {
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0;
}

async function readValidator(path: string): Promise<Validator | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Validator;
  } catch {
    return undefined;
  }
}
