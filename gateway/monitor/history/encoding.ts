import { crc32 } from 'node:zlib';

/**
 * The history's file: what it is and its version, then records, each with its length and CRC-32. New values
 * are appended; a record that a power cut has torn has a wrong sum and ends the file.
 */
export const magic = Buffer.from('PGHIST1\n');

/** Numbers of series, so that a record need not repeat their names. */
export type Names = { kind: 'names'; names: readonly { id: number; name: string }[] };

/** Values of one resolution: `values[i]` is of slot `start` + i, NaN where there is none. */
export type Block = {
  kind: 'block';
  /** Seconds of a slot. */
  step: number;
  start: number;
  count: number;
  series: readonly { id: number; values: Float32Array }[];
};

export type HistoryRecord = Names | Block;

/** A record is never longer: 30 days of 256 series. */
const longestRecord = 4_000_000;

const kinds = { names: 1, block: 2 } as const;

export function encode(record: HistoryRecord): Buffer {
  const payload = record.kind === 'names' ? encodeNames(record) : encodeBlock(record);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(payload.length, 0);
  head.writeUInt32LE(crc32(payload), 4);
  return Buffer.concat([head, payload]);
}

function encodeNames({ names }: Names): Buffer {
  const parts = [Buffer.from([kinds.names])];
  for (const { id, name } of names) {
    const text = Buffer.from(name);
    const head = Buffer.alloc(3);
    head.writeUInt16LE(id, 0);
    head.writeUInt8(text.length, 2);
    parts.push(head, text);
  }
  return Buffer.concat(parts);
}

function encodeBlock({ step, start, count, series }: Block): Buffer {
  const head = Buffer.alloc(9);
  head.writeUInt8(kinds.block, 0);
  head.writeUInt16LE(step, 1);
  head.writeUInt32LE(start, 3);
  head.writeUInt16LE(count, 7);
  const parts = [head];
  for (const { id, values } of series) {
    const first = values[0] ?? Number.NaN;
    // Most counters of an idle device stay 0.
    const constant = values.every((value) => Object.is(value, first));
    if (constant && Number.isNaN(first)) continue;
    const stored = constant ? 1 : count;
    const part = Buffer.alloc(3 + stored * 4);
    part.writeUInt16LE(id, 0);
    part.writeUInt8(constant ? 1 : 0, 2);
    for (let index = 0; index < stored; index += 1)
      part.writeFloatLE(values[index] ?? Number.NaN, 3 + index * 4);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** @returns the records up to the first that is damaged, and how many bytes are left out. */
export function decode(file: Buffer): { records: HistoryRecord[]; lost: number } {
  const records: HistoryRecord[] = [];
  if (!file.subarray(0, magic.length).equals(magic)) return { records, lost: file.length };
  let at = magic.length;
  while (at < file.length) {
    const record = decodeAt(file, at);
    if (!record) break;
    records.push(record.record);
    at = record.end;
  }
  return { records, lost: file.length - at };
}

function decodeAt(file: Buffer, at: number): { record: HistoryRecord; end: number } | undefined {
  if (at + 8 > file.length) return undefined;
  const length = file.readUInt32LE(at);
  const end = at + 8 + length;
  if (length < 1 || length > longestRecord || end > file.length) return undefined;
  const payload = file.subarray(at + 8, end);
  if (crc32(payload) !== file.readUInt32LE(at + 4)) return undefined;
  try {
    const record = decodePayload(payload);
    return record && { record, end };
  } catch {
    // A right sum over fields that are none: not written by this version.
    return undefined;
  }
}

function decodePayload(payload: Buffer): HistoryRecord | undefined {
  if (payload[0] === kinds.names) return decodeNames(payload);
  return payload[0] === kinds.block ? decodeBlock(payload) : undefined;
}

function decodeNames(payload: Buffer): Names {
  const names: { id: number; name: string }[] = [];
  for (let at = 1; at < payload.length; ) {
    const length = payload.readUInt8(at + 2);
    if (at + 3 + length > payload.length) throw new RangeError('a name is cut off');
    names.push({
      id: payload.readUInt16LE(at),
      name: payload.toString('utf8', at + 3, at + 3 + length),
    });
    at += 3 + length;
  }
  return { kind: 'names', names };
}

function decodeBlock(payload: Buffer): Block {
  const count = payload.readUInt16LE(7);
  const series: { id: number; values: Float32Array }[] = [];
  for (let at = 9; at < payload.length; ) {
    const constant = payload.readUInt8(at + 2) === 1;
    const values = new Float32Array(count);
    if (constant) values.fill(payload.readFloatLE(at + 3));
    else
      for (let index = 0; index < count; index += 1)
        values[index] = payload.readFloatLE(at + 3 + index * 4);
    series.push({ id: payload.readUInt16LE(at), values });
    at += 3 + (constant ? 1 : count) * 4;
  }
  return {
    kind: 'block',
    step: payload.readUInt16LE(1),
    start: payload.readUInt32LE(3),
    count,
    series,
  };
}
