import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join, posix } from 'node:path';
import { ProblemError } from '../problem.ts';
import { securityHeaders } from './headers.ts';

/** Where the image has the dashboard. */
export const dashboardFolder = '/usr/share/pi-gateway/dashboard';

const types: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
  '.woff2': 'font/woff2',
};

/** A file's name that has ten digits of its digest in it: bundleAssets of builder/overlay/assets.ts. */
const named = /-[0-9a-f]{10}\.[a-z0-9]+$/;

type File = { path: string; gzip: string | undefined; type: string; etag: string };

/**
 * The dashboard's files. They are listed once, when the server starts: what is asked for is looked up in
 * that list and never becomes part of a path, so no `..` leads anywhere.
 */
export class Files {
  readonly #files: ReadonlyMap<string, File>;

  constructor(files: ReadonlyMap<string, File>) {
    this.#files = files;
  }

  /** None if there is no such folder: the API does without a dashboard. */
  static async list(folder: string): Promise<Files> {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    const paths = entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
    const all = new Set(paths);
    const files = new Map<string, File>();
    for (const path of paths.filter((one) => !one.endsWith('.gz'))) {
      const digest = createHash('sha256')
        .update(await readFile(path))
        .digest('base64url');
      files.set(`/${posix.normalize(path.slice(folder.length)).replace(/^\/+/, '')}`, {
        path,
        gzip: all.has(`${path}.gz`) ? `${path}.gz` : undefined,
        type: types[extname(path)] ?? 'application/octet-stream',
        etag: digest.slice(0, 22),
      });
    }
    return new Files(files);
  }

  /** @throws ProblemError 404 or 405 */
  async answer(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const file = this.#files.get(path === '/' ? '/index.html' : path);
    if (!file)
      throw new ProblemError(
        404,
        'There is no such page',
        'Begin at /, or at /api/v1/openapi.json',
      );
    if (request.method !== 'GET' && request.method !== 'HEAD')
      throw new ProblemError(405, 'A file can only be read', 'Ask with GET', {
        headers: { allow: 'GET, HEAD' },
      });
    const zipped = file.gzip !== undefined && takesGzip(request.headers['accept-encoding']);
    // Each coding is a representation of its own (RFC 9110 §8.8.3.3).
    const etag = `"${file.etag}${zipped ? '-gz' : ''}"`;
    const headers = {
      ...securityHeaders,
      etag,
      vary: 'Accept-Encoding',
      'cache-control': named.test(path) ? 'public, max-age=31536000, immutable' : 'no-cache',
    };
    if (matches(request.headers['if-none-match'], etag)) {
      response.writeHead(304, headers).end();
      return;
    }
    const content = await readFile(zipped && file.gzip ? file.gzip : file.path);
    response.writeHead(200, {
      ...headers,
      'content-type': file.type,
      'content-length': content.length,
      ...(zipped ? { 'content-encoding': 'gzip' } : {}),
    });
    response.end(request.method === 'HEAD' ? undefined : content);
  }
}

function takesGzip(header: string | string[] | undefined): boolean {
  return String(header ?? '')
    .split(',')
    .some((one) => /^\s*gzip\s*(;\s*q=(1|0?\.\d*[1-9]\d*|1\.0*))?\s*$/i.test(one));
}

function matches(header: string | undefined, etag: string): boolean {
  return (header ?? '')
    .split(',')
    .map((one) => one.trim().replace(/^W\//, ''))
    .some((one) => one === etag || one === '*');
}
