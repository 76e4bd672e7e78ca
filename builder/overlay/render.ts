import { createHash } from 'node:crypto';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import ejs from 'ejs';
import Handlebars from 'handlebars';
import type { FileAttributes } from '../../stages/define.ts';
import { BuildError, exitCode, isErrno, messageOf } from '../errors.ts';

export type OverlayFile = {
  /** Path on the device. */
  path: string;
  content: Buffer;
  mode: number;
  /** `user:group` by name. */
  owner: string;
  /** The file that it was made from. */
  source: string;
};

export type OverlayLink = { path: string; link: string; source: string };

export type OverlayEntry = OverlayFile | OverlayLink;

/** What editors and file managers leave behind. */
const droppings = /(~|\.swp|\.swo|\.orig|\.rej)$|^\.DS_Store$|^\.#/;

/**
 * Renders the files of an overlay tree: `.hbs` with Handlebars, `.ejs` with EJS, others as they are.
 * Executable files get mode 0755, others 0644, unless `files` says otherwise. Sorted by path.
 * @throws BuildError for a template's error (a missing variable is one), two sources for one path,
 * or attributes of a file that is not there.
 */
export async function renderOverlay(
  directory: string,
  data: Record<string, unknown>,
  o: { files?: Record<string, FileAttributes>; stage?: string } = {},
): Promise<OverlayEntry[]> {
  const entries = new Map<string, OverlayEntry>();
  for (const source of await listFiles(directory)) {
    const entry = await renderFile(directory, source, data, o.files ?? {});
    const twin = entries.get(entry.path);
    if (twin)
      throw new BuildError({
        what: `Two overlay files make ${entry.path}`,
        where: `${twin.source} and ${entry.source}`,
        fix: 'Remove one of them',
        code: exitCode.usage,
      });
    entries.set(entry.path, entry);
  }
  for (const path of Object.keys(o.files ?? {}))
    if (!entries.has(path))
      throw new BuildError({
        what: `The stage sets the mode or owner of ${path}, which its overlay does not have`,
        where: `stage '${o.stage ?? ''}', files`,
        fix: `Add ${join(directory, path)}, or remove the entry`,
        code: exitCode.usage,
      });
  return [...entries.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** SHA-256 (hex) over everything about the files that reaches the image. */
export function overlayDigest(entries: readonly OverlayEntry[]): string {
  const hash = createHash('sha256');
  for (const entry of entries) {
    const head =
      'link' in entry
        ? [entry.path, 'link', entry.link]
        : [entry.path, entry.mode, entry.owner, entry.content.length];
    hash.update(`${JSON.stringify(head)}\n`);
    if ('content' in entry) hash.update(entry.content);
  }
  return hash.digest('hex');
}

async function listFiles(directory: string): Promise<string[]> {
  try {
    const found = await readdir(directory, { recursive: true, withFileTypes: true });
    return found
      .filter((entry) => !entry.isDirectory() && !droppings.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

async function renderFile(
  directory: string,
  source: string,
  data: Record<string, unknown>,
  files: Record<string, FileAttributes>,
): Promise<OverlayEntry> {
  const target = `/${relative(directory, source)}`;
  const link = await readlink(source).catch(() => undefined);
  if (link !== undefined) return { path: target, link, source };
  const path = target.replace(/\.(hbs|ejs)$/, '');
  const raw = await readFile(source);
  const content =
    path === target ? raw : Buffer.from(renderTemplate(source, raw.toString('utf8'), data));
  const executable = ((await stat(source)).mode & 0o100) !== 0;
  const attributes = files[path] ?? {};
  return {
    path,
    content,
    mode: attributes.mode ?? (executable ? 0o755 : 0o644),
    owner: attributes.owner ?? 'root:root',
    source,
  };
}

/** Renders one template; its kind is in the name's ending. */
export function renderTemplate(
  source: string,
  text: string,
  data: Record<string, unknown>,
): string {
  try {
    return source.endsWith('.ejs') ? renderEjs(source, text, data) : renderHandlebars(text, data);
  } catch (cause) {
    throw new BuildError({
      what: 'The template cannot be rendered',
      where: source,
      detail: messageOf(cause),
      fix: 'Each variable must be an option of the stage (options.…), of the configuration (config.…) or one that the stage derives (derived.…)',
      code: exitCode.usage,
      cause,
    });
  }
}

function renderEjs(source: string, text: string, data: Record<string, unknown>): string {
  return ejs.render(text, data, {
    filename: source,
    strict: true,
    localsName: 'data',
    destructuredLocals: ['options', 'config', 'derived'],
    escape: oneLine,
  });
}

const handlebars = Handlebars.create();
handlebars.registerHelper('sh', (value: unknown) => shellQuote(oneLine(value)));
handlebars.registerHelper('json', (value: unknown) => JSON.stringify(value));
handlebars.registerHelper('join', (value: unknown, separator: unknown) => {
  if (!Array.isArray(value)) throw new Error('join needs a list');
  return value.map(oneLine).join(typeof separator === 'string' ? separator : ' ');
});

function renderHandlebars(text: string, data: Record<string, unknown>): string {
  const guarded = guard(data);
  return handlebars.compile(text, { strict: true, noEscape: true })(guarded);
}

/** Every string that a template may print is checked when it is printed (see {@link oneLine}). */
function guard(value: unknown): unknown {
  if (typeof value === 'string') return oneLine(value);
  if (Array.isArray(value)) return value.map(guard);
  if (value && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, guard(inner)]));
  return value;
}

/**
 * The value as text for a line of a configuration file.
 * @throws Error where it could break out of its line: configuration files are read line by line.
 */
export function oneLine(value: unknown): string {
  if (value === undefined || value === null) throw new Error('a variable has no value');
  const text = String(value);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get through
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(text))
    throw new Error(`a value has a line break or control character: ${JSON.stringify(text)}`);
  return text;
}

/** Quotes a word for a POSIX shell. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
