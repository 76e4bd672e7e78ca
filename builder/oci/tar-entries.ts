import { BuildError, exitCode } from '../errors.ts';

/** tar works in blocks of 512 bytes (POSIX.1-2024, pax). */
export const tarBlock = 512;

/** A pax header is names and extended attributes; the kernel's limit for one attribute is 64 KiB. */
const maxPaxBytes = 1024 * 1024;

/** What a member of a pax archive is, in the one letter of its header. */
export type TarKind =
  | 'file'
  | 'hardlink'
  | 'symlink'
  | 'character device'
  | 'block device'
  | 'directory'
  | 'fifo';

const kinds: Record<string, TarKind> = {
  '0': 'file',
  '\0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character device',
  '4': 'block device',
  '5': 'directory',
  '6': 'fifo',
};

export type TarEntry = {
  kind: TarKind;
  /** As in the archive: `./etc/hosts`, directories without a slash at the end. A character is a byte: names need not be UTF-8. */
  path: string;
  link: string;
  size: number;
  major: number;
  minor: number;
  /** Extended header records, values as bytes: attributes need not be text. */
  pax: Map<string, Buffer>;
  /** The member's own header block. */
  header: Buffer;
};

/** Entries alternate with the bytes of their content. */
export type TarPart = { type: 'entry'; entry: TarEntry } | { type: 'content'; bytes: Uint8Array };

/**
 * Reads a pax archive as it comes, never more than a header at a time.
 * @throws BuildError with code `source` on anything that is no well-formed pax archive.
 */
export async function* readTar(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<TarPart> {
  const input = new BlockReader(bytes);
  try {
    yield* readMembers(input);
  } finally {
    // Whoever stops early must not leave the source waiting for a reader.
    await input.close();
  }
}

async function* readMembers(input: BlockReader): AsyncGenerator<TarPart> {
  let pax = new Map<string, Buffer>();
  for (;;) {
    const header = await input.take(tarBlock);
    if (header.every((byte) => byte === 0)) break;
    checkSum(header);
    const letter = String.fromCharCode(header[156] ?? 0);
    if (letter === 'x') {
      const size = numberAt(header, 124, 12);
      if (size > maxPaxBytes) throw malformed('an extended header is larger than 1 MiB');
      pax = parsePax((await input.take(padded(size))).subarray(0, size));
      continue;
    }
    const entry = entryOf(header, letter, pax);
    pax = new Map();
    yield { type: 'entry', entry };
    let left = padded(entry.size);
    let content = entry.size;
    while (left > 0) {
      const chunk = await input.some(left);
      left -= chunk.length;
      if (content > 0) yield { type: 'content', bytes: chunk.subarray(0, content) };
      content = Math.max(0, content - chunk.length);
    }
  }
  // Two zero blocks end an archive; GNU tar pads to its record size.
  for (let chunk = await input.rest(); chunk; chunk = await input.rest())
    if (chunk.some((byte) => byte !== 0)) throw malformed('there is something after its end');
}

function entryOf(header: Buffer, letter: string, pax: Map<string, Buffer>): TarEntry {
  const kind = kinds[letter];
  if (!kind) throw malformed(`a member of the unknown type '${letter}'`);
  const prefix = textAt(header, 345, 155);
  const name = textAt(header, 0, 100);
  const path = pax.get('path')?.toString('latin1') ?? (prefix ? `${prefix}/${name}` : name);
  const size = Number(pax.get('size')?.toString() ?? numberAt(header, 124, 12));
  if (!Number.isSafeInteger(size) || size < 0) throw malformed('a size that is none');
  const hasContent = kind === 'file';
  if (!hasContent && size !== 0) throw malformed(`a ${kind} with content`);
  return {
    kind,
    path: path.length > 1 ? path.replace(/\/$/, '') : path,
    link: pax.get('linkpath')?.toString('latin1') ?? textAt(header, 157, 100),
    size,
    major: numberAt(header, 329, 8),
    minor: numberAt(header, 337, 8),
    pax,
    header,
  };
}

/** The blocks of an entry in front of its content; its pax records in sorted order. */
export function entryBlocks(entry: Pick<TarEntry, 'pax' | 'header'>): Buffer[] {
  if (entry.pax.size === 0) return [entry.header];
  const records = [...entry.pax]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => paxRecord(key, value));
  const body = Buffer.concat(records);
  const extended = makeHeader({ name: 'PaxHeaders', letter: 'x', mode: 0o644, size: body.length });
  return [extended, body, padding(body.length), entry.header];
}

/** Zero bytes that fill the last block of so much content. */
export function padding(size: number): Buffer {
  return Buffer.alloc(padded(size) - size);
}

/** The end of an archive. */
export const tarEnd = Buffer.alloc(2 * tarBlock);

/** A ustar header that belongs to root, without a date. */
export function makeHeader(o: {
  name: string;
  letter: string;
  mode: number;
  size?: number;
}): Buffer {
  const header = Buffer.alloc(tarBlock);
  header.write(o.name.slice(0, 99), 0, 'latin1');
  const octal = (value: number, at: number, length: number) =>
    header.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  octal(o.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(o.size ?? 0, 124, 12);
  octal(0, 136, 12);
  header.write(o.letter, 156, 'latin1');
  header.write('ustar\0' + '00', 257, 'latin1');
  octal(0, 329, 8);
  octal(0, 337, 8);
  header.fill(' ', 148, 156);
  const sum = header.reduce((all, byte) => all + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

function parsePax(body: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const length = Number(body.subarray(at, space).toString('latin1'));
    const end = at + length;
    const equals = body.indexOf(0x3d, space);
    const fits = space > at && Number.isInteger(length) && length > 0 && end <= body.length;
    if (!fits || equals < 0 || equals >= end || body[end - 1] !== 0x0a)
      throw malformed('a broken extended header');
    records.set(body.subarray(space + 1, equals).toString(), body.subarray(equals + 1, end - 1));
    at = end;
  }
  return records;
}

/** `length key=value\n`, where the length counts its own digits too. */
function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length;
  while (String(length).length + rest.length !== length)
    length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function checkSum(header: Buffer): void {
  const expected = numberAt(header, 148, 8);
  let sum = 0;
  for (let at = 0; at < tarBlock; at++) sum += at >= 148 && at < 156 ? 0x20 : (header[at] ?? 0);
  if (sum !== expected) throw malformed('a header whose sum is wrong');
}

function textAt(header: Buffer, at: number, length: number): string {
  const field = header.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.subarray(0, end < 0 ? length : end).toString('latin1');
}

function numberAt(header: Buffer, at: number, length: number): number {
  const text = textAt(header, at, length).trim();
  if (!/^[0-7]*$/.test(text)) throw malformed('a number that is not octal');
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function padded(size: number): number {
  return Math.ceil(size / tarBlock) * tarBlock;
}

function malformed(what: string): BuildError {
  return new BuildError({ what: `The archive is malformed: ${what}`, code: exitCode.source });
}

/** Hands out bytes of a stream in the amounts that are asked for. */
class BlockReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array();

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#source = bytes[Symbol.asyncIterator]();
  }

  /** Exactly so many bytes, in a buffer of their own. */
  async take(count: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for (let left = count; left > 0; ) {
      const part = await this.some(left);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }

  /** At least one byte and at most so many. */
  async some(limit: number): Promise<Uint8Array> {
    if (this.#held.length === 0) {
      const next = await this.#next();
      if (!next) throw malformed('it ends in the middle');
      this.#held = next;
    }
    const part = this.#held.subarray(0, limit);
    this.#held = this.#held.subarray(part.length);
    return part;
  }

  /** Whatever comes next; undefined at the end. */
  async rest(): Promise<Uint8Array | undefined> {
    if (this.#held.length === 0) return await this.#next();
    const part = this.#held;
    this.#held = new Uint8Array();
    return part;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const { value, done } = await this.#source.next();
      if (done) return undefined;
      if (value.length > 0) return value;
    }
  }
}
