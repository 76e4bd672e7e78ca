import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import type { Plugin } from 'esbuild';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import { digestOf } from '../plan/digest.ts';
import { Bundles } from './bundles.ts';
import type { OverlayFile } from './render.ts';

/** A web page with all that it needs, for a server on the device that only hands out files. */
export type Assets = {
  /** Page whose `./…` references say what there is: scripts and styles are bundled, other files copied. */
  html: string;
  /** Service worker; it is told the names of all files and the page's digest (SHELL_FILES, SHELL_VERSION). */
  worker?: string;
  /** Where the files lie on the device. */
  folder: string;
};

/** References of the page and of its web manifest to files beside them. */
const reference = /(?<=(?:src|href)="|"src": ")\.\/([\w.-]+)(?=")/g;

/** What is worth its gzip twin; pictures in other formats are packed already. */
const compresses = new Set(['.html', '.js', '.css', '.svg', '.webmanifest']);

/**
 * Bundles a page: every file but the page and its worker has its digest in its name, so that a browser may
 * keep it for ever; beside each lies the same with gzip. The same sources give the same bytes.
 * @throws BuildError if a reference leads nowhere, or esbuild refuses.
 */
export async function bundleAssets(
  root: string,
  assets: Assets,
  bundles = new Bundles(),
): Promise<OverlayFile[]> {
  const page = join(root, assets.html);
  const files = new Map<string, Buffer>();
  const html = await withReferences(page, files, bundles);
  files.set('index.html', html);
  if (assets.worker !== undefined) {
    const worker = await bundle(bundles, join(root, assets.worker), {
      SHELL_FILES: JSON.stringify(['./', ...[...files.keys()].filter((n) => n !== 'index.html')]),
      SHELL_VERSION: JSON.stringify(digestOf(html.toString()).slice(0, 16)),
    });
    files.set('service-worker.js', worker);
  }
  return [...files]
    .flatMap(([name, content]): [string, Buffer][] =>
      compresses.has(extname(name))
        ? [
            [name, content],
            [`${name}.gz`, gzip(content)],
          ]
        : [[name, content]],
    )
    .map(([name, content]) => ({
      path: `${assets.folder}/${name}`,
      content,
      mode: 0o644,
      owner: 'root:root',
      source: page,
    }))
    .toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** The file's text with the final names of what it refers to, which is added to `files`. */
async function withReferences(
  file: string,
  files: Map<string, Buffer>,
  bundles: Bundles,
): Promise<Buffer> {
  const text = await read(file, file);
  const names = new Map<string, string>();
  for (const [, target] of text.matchAll(reference)) {
    if (target === undefined || names.has(target)) continue;
    const source = join(dirname(file), target);
    const content = await made(source, file, files, bundles);
    const kind = extname(target).replace(/^\.tsx?$/, '.js');
    const name = `${basename(target, extname(target))}-${digestOf(content.toString('base64')).slice(0, 10)}${kind}`;
    names.set(target, name);
    files.set(name, content);
  }
  return Buffer.from(text.replaceAll(reference, (_, target: string) => `./${names.get(target)}`));
}

async function made(
  source: string,
  from: string,
  files: Map<string, Buffer>,
  bundles: Bundles,
): Promise<Buffer> {
  const kind = extname(source);
  if (kind === '.ts' || kind === '.tsx' || kind === '.css') return bundle(bundles, source, {});
  if (kind === '.webmanifest') return withReferences(source, files, bundles);
  return Buffer.from(await read(source, from));
}

async function read(file: string, from: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new BuildError({
      what: `${file} cannot be read`,
      where: from,
      detail: messageOf(cause),
      fix: 'Each ./… reference of the page must be a file beside it',
      code: exitCode.usage,
      cause,
    });
  }
}

/** For browsers of 2022 and later: Safari 15.4, Chrome 105, Firefox 104 (which all have <dialog>). */
async function bundle(
  bundles: Bundles,
  entry: string,
  define: Record<string, string>,
): Promise<Buffer> {
  try {
    const text = await bundles.build({
      entryPoints: [entry],
      bundle: true,
      platform: 'browser',
      target: ['safari15.4', 'chrome105', 'firefox104'],
      format: 'esm',
      minify: true,
      logLevel: 'silent',
      legalComments: 'none',
      define: { 'process.env.NODE_ENV': '"production"', ...define },
      plugins: [selfContained],
    });
    return Buffer.from(text);
  } catch (cause) {
    throw new BuildError({
      what: 'esbuild cannot bundle the page',
      where: entry,
      detail: messageOf(cause),
      code: exitCode.usage,
      cause,
    });
  }
}

/** The page works without the internet, so nothing of it may come from there. */
const selfContained: Plugin = {
  name: 'self-contained',
  setup({ onResolve }) {
    onResolve({ filter: /^(https?:)?\/\// }, ({ path }) => ({
      errors: [{ text: `${path} is on another server` }],
    }));
  },
};

/** RFC 1952: node writes no name and no date; byte 9 names the system that packed it, 255 is "unknown". */
function gzip(content: Buffer): Buffer {
  const packed = gzipSync(content, { level: constants.Z_BEST_COMPRESSION });
  packed[9] = 255;
  return packed;
}
