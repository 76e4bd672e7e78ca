import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { BuildOptions } from 'esbuild';
import { digestOf } from '../plan/digest.ts';
import { replaceFile } from '../state.ts';

/** What a file was when it was read: as git's index, changed size, times or inode mean a changed file. */
type Mark = string | null;

type Entry = { digest: string; files: Record<string, Mark>; content: string };

/** Files that say how others are resolved and compiled; where there is none that counts too. */
const governing = ['package.json', 'tsconfig.json', 'node_modules/.package-lock.json'];

/** Where esbuild itself comes from. */
const project = resolve(import.meta.dirname, '../..');

/** Milliseconds: a file that was changed so shortly before it was read may change again unseen. */
const settled = 1000;

/**
 * Runs esbuild, and keeps what it made in a folder as long as no file that went in has changed. Without a
 * folder nothing is kept.
 */
export class Bundles {
  readonly #folder: string | undefined;
  /** Each file is looked at once. */
  readonly #marks = new Map<string, Mark>();

  constructor(folder?: string) {
    this.#folder = folder;
  }

  /**
   * The single output of a build with these options, which have one entry point. Plug-ins are not part of its
   * name: they must follow from the other options.
   */
  async build(options: BuildOptions): Promise<string> {
    if (this.#folder === undefined) return (await esbuild(options)).content;
    const { plugins: _, ...named } = options;
    const path = join(this.#folder, `${digestOf([process.cwd(), named]).slice(0, 20)}.json`);
    const known = await readEntry(path);
    if (known && Object.entries(known.files).every(([file, mark]) => this.#mark(file) === mark))
      return known.content;
    const begun = Date.now();
    const { content, inputs } = await esbuild(options);
    const folders = new Set(inputs.flatMap((file) => parents(file)));
    const files = [
      ...inputs,
      ...[...folders, project].flatMap((at) => governing.map((name) => join(at, name))),
    ];
    if (inputs.every((file) => changed(file) < begun - settled)) {
      const marks = Object.fromEntries(files.map((file) => [file, this.#mark(file)]));
      const entry: Entry = { digest: digestText(content), files: marks, content };
      // Who may not write there (`plan` needs no root) only bundles again the next time.
      await replaceFile(path, JSON.stringify(entry)).catch(() => undefined);
    }
    return content;
  }

  #mark(file: string): Mark {
    let mark = this.#marks.get(file);
    if (mark === undefined) {
      mark = markOf(file);
      this.#marks.set(file, mark);
    }
    return mark;
  }
}

async function esbuild(options: BuildOptions): Promise<{ content: string; inputs: string[] }> {
  const { build } = await import('esbuild');
  const result = await build({ ...options, write: false, metafile: true });
  return {
    content: result.outputFiles?.[0]?.text ?? '',
    inputs: Object.keys(result.metafile.inputs).map((file) => resolve(file)),
  };
}

async function readEntry(path: string): Promise<Entry | undefined> {
  try {
    const entry = JSON.parse(await readFile(path, 'utf8')) as Entry;
    return entry.digest === digestText(entry.content) ? entry : undefined;
  } catch {
    return undefined; // not there, or not whole: it is made again
  }
}

function digestText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function parents(file: string): string[] {
  const folder = dirname(file);
  return folder === dirname(folder) ? [folder] : [folder, ...parents(folder)];
}

function markOf(file: string): Mark {
  const facts = statSync(file, { bigint: true, throwIfNoEntry: false });
  if (!facts) return null;
  return [facts.ino, facts.size, facts.mtimeNs, facts.ctimeNs].join(' ');
}

/** When a file was last changed in any way, in milliseconds; one that is gone: now. */
function changed(file: string): number {
  const facts = statSync(file, { throwIfNoEntry: false });
  return facts ? Math.max(facts.mtimeMs, facts.ctimeMs) : Number.POSITIVE_INFINITY;
}
