import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { diffText, type ImageDiff, imageDiff } from './diff.ts';
import type { FileEntry, FileSystem } from './file-system.ts';
import { type OpenImage, withImage } from './open.ts';

/** Where two files of an image first differ. */
export type FirstDifference = {
  path: string;
  /** Byte offset. */
  offset: number;
  /** For text: line, counted from 1, and what it is in each; else 16 bytes in hex. */
  line?: number;
  before: string;
  after: string;
};

/** A part of the raw images that differs. */
export type RawDifference = {
  /** `partition table`, `boot partition`, `root partition`, `between partitions`. */
  place: string;
  /** Byte offset of the first difference in the image, and within the place. */
  offset: number;
  within: number;
  /** How many blocks of 4096 bytes differ there. */
  blocks: number;
};

/** Everything that tells two images apart, for finding out why. */
export type Explanation = ImageDiff & {
  raw: RawDifference[];
  firstDifferences: FirstDifference[];
  /** Files that have another date, or other extended attributes. */
  dates: { path: string; before: number; after: number }[];
  attributes: {
    path: string;
    before: Record<string, string>;
    after: Record<string, string>;
  }[];
};

/** Files of which the first difference is looked up. */
const explained = 50;

/** Compares two images down to the bytes, in the manner of diffoscope, without mounting either. */
export async function explainImages(a: string, b: string): Promise<Explanation> {
  return await withImage(a, (before) =>
    withImage(b, (after) => {
      const diff = imageDiff(before, after);
      const changed = diff.files.changed.filter((file) => file.what.includes('content'));
      return {
        ...diff,
        raw: rawDifferences(before, after),
        firstDifferences: changed.slice(0, explained).flatMap(({ path }) => {
          const [system, inner] = path.startsWith('boot:')
            ? (['boot', path.slice(5)] as const)
            : (['root', path] as const);
          return firstDifference(path, before[system].content(inner), after[system].content(inner));
        }),
        ...metadata(before.root, after.root),
      };
    }),
  );
}

function metadata(
  before: FileSystem,
  after: FileSystem,
): Pick<Explanation, 'dates' | 'attributes'> {
  const dates: Explanation['dates'] = [];
  const attributes: Explanation['attributes'] = [];
  for (const [path, old] of before.files) {
    const now: FileEntry | undefined = after.files.get(path);
    if (!now) continue;
    if (old.modified !== now.modified)
      dates.push({ path, before: old.modified ?? 0, after: now.modified ?? 0 });
    if (JSON.stringify(old.attributes) !== JSON.stringify(now.attributes))
      attributes.push({ path, before: old.attributes ?? {}, after: now.attributes ?? {} });
  }
  return { dates, attributes };
}

/** Finds where two contents part, without holding either as a whole. */
export function firstDifference(
  path: string,
  a: Iterable<Buffer>,
  b: Iterable<Buffer>,
): FirstDifference[] {
  const others = b[Symbol.iterator]();
  let rest: Buffer = Buffer.alloc(0);
  let offset = 0;
  let line = 1;
  let lastLine: Buffer = Buffer.alloc(0);
  for (let piece of a) {
    while (piece.length > 0) {
      if (rest.length === 0) rest = others.next().value ?? Buffer.alloc(0);
      const length = Math.min(piece.length, rest.length);
      if (length > 0 && piece.subarray(0, length).equals(rest.subarray(0, length))) {
        const same = piece.subarray(0, length);
        line += count(same, 0x0a);
        const end = same.lastIndexOf(0x0a);
        lastLine = end < 0 ? Buffer.concat([lastLine, same]) : same.subarray(end + 1);
        lastLine = lastLine.subarray(-longestLine);
        offset += length;
        piece = piece.subarray(length);
        rest = rest.subarray(length);
        continue;
      }
      let at = 0;
      while (at < length && piece[at] === rest[at]) at += 1;
      return [describe(path, { offset, line, lastLine }, piece, rest, at)];
    }
  }
  const more = rest.length > 0 ? rest : (others.next().value ?? Buffer.alloc(0));
  if (more.length === 0) return [];
  return [describe(path, { offset, line, lastLine }, Buffer.alloc(0), more, 0)];
}

/** Bytes of a line that are shown. */
const longestLine = 200;

function describe(
  path: string,
  so: { offset: number; line: number; lastLine: Buffer },
  a: Buffer,
  b: Buffer,
  at: number,
): FirstDifference {
  const same = a.subarray(0, at);
  const start = same.lastIndexOf(0x0a) + 1;
  const before = start > 0 ? same.subarray(start) : Buffer.concat([so.lastLine, same]);
  const whole = (bytes: Buffer) => {
    const end = bytes.indexOf(0x0a, at);
    const stop = end < 0 ? bytes.length : end;
    return Buffer.concat([before, bytes.subarray(at, Math.min(stop, at + longestLine))]);
  };
  const [one, other] = [whole(a), whole(b)];
  const place = { path, offset: so.offset + at };
  if (isText(one) && isText(other))
    return {
      ...place,
      line: so.line + count(same, 0x0a),
      before: one.toString('utf8'),
      after: other.toString('utf8'),
    };
  return {
    ...place,
    before: a.subarray(at, at + 16).toString('hex'),
    after: b.subarray(at, at + 16).toString('hex'),
  };
}

function isText(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x09 || byte === 0x0d || byte >= 0x20);
}

function count(bytes: Buffer, value: number): number {
  let found = 0;
  for (let at = bytes.indexOf(value); at >= 0; at = bytes.indexOf(value, at + 1)) found += 1;
  return found;
}

const block = 4096;
const piece = 256 * block;

/** Compares the raw images by blocks, and names the parts that differ. */
function rawDifferences(before: OpenImage, after: OpenImage): RawDifference[] {
  const [a, b] = [openSync(before.raw, 'r'), openSync(after.raw, 'r')];
  const found = new Map<string, RawDifference>();
  try {
    const size = Math.max(statSync(before.raw).size, statSync(after.raw).size);
    const [one, other] = [Buffer.alloc(piece), Buffer.alloc(piece)];
    for (let at = 0; at < size; at += piece) {
      const [left, right] = [readAt(a, one, at), readAt(b, other, at)];
      if (left.equals(right)) continue;
      for (let inner = 0; inner < Math.max(left.length, right.length); inner += block) {
        const [x, y] = [left.subarray(inner, inner + block), right.subarray(inner, inner + block)];
        if (x.equals(y)) continue;
        let byte = 0;
        while (byte < x.length && x[byte] === y[byte]) byte += 1;
        const { place, start } = placeOf(before, at + inner + byte);
        const known = found.get(place);
        if (known) known.blocks += 1;
        else {
          const offset = at + inner + byte;
          found.set(place, { place, offset, within: offset - start, blocks: 1 });
        }
      }
    }
  } finally {
    closeSync(a);
    closeSync(b);
  }
  return [...found.values()];
}

function readAt(descriptor: number, buffer: Buffer, at: number): Buffer {
  return buffer.subarray(0, readSync(descriptor, buffer, 0, buffer.length, at));
}

function placeOf({ layout }: OpenImage, at: number): { place: string; start: number } {
  for (const role of ['boot', 'root'] as const) {
    const { startBytes, sizeBytes } = layout[role];
    if (at >= startBytes && at < startBytes + sizeBytes)
      return { place: `${role} partition`, start: startBytes };
  }
  const first = Math.min(layout.boot.startBytes, layout.root.startBytes);
  return { place: at < first ? 'partition table' : 'between partitions', start: 0 };
}

/** The explanation for people. */
export function explanationText(why: Explanation): string {
  const hex = (value: number) => `0x${value.toString(16)}`;
  const parts = [
    ...(why.raw.length > 0
      ? [
          'Raw image',
          ...why.raw.map(
            (one) =>
              `  ${one.place}: ${one.blocks} blocks of 4096 bytes, first at ${hex(one.offset)} (${hex(one.within)} within it)`,
          ),
          '',
        ]
      : []),
    diffText(why),
    ...section(
      'Where contents part',
      why.firstDifferences.map((one) =>
        [
          `  ${one.path}, ${one.line === undefined ? `byte ${one.offset}` : `line ${one.line}`}`,
          `    - ${one.before}`,
          `    + ${one.after}`,
        ].join('\n'),
      ),
    ),
    ...section(
      'Dates',
      why.dates.map((one) => `  ${one.path}: ${date(one.before)} → ${date(one.after)}`),
    ),
    ...section(
      'Extended attributes',
      why.attributes.map(
        (one) => `  ${one.path}: ${JSON.stringify(one.before)} → ${JSON.stringify(one.after)}`,
      ),
    ),
  ];
  return parts.join('\n');
}

/** Lines of a section that are printed; --json has all. */
const shown = 40;

function section(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  const more = lines.length - shown;
  return [
    '',
    `${title} (${lines.length})`,
    ...lines.slice(0, shown),
    ...(more > 0 ? [`  … ${more} more: --json`] : []),
  ];
}

function date(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000', '');
}
