import { open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import * as z from 'zod';
import { at, makeFolder, readIfThere, type System, syncDirectory } from '../../firstboot/system.ts';
import { turnstile } from '../turnstile.ts';

/**
 * The audit log: one JSON object a line for each change of the device, whoever asked for it. logrotate(8)
 * takes it away at night (/etc/logrotate.d/pi-gateway-audit), and keeps some.
 */
export const auditFile = '/var/log/pi-gateway/audit.jsonl';

export const auditActor = z.strictObject({
  via: z.enum(['cli', 'api', 'device']),
  name: z.string().max(64),
  address: z.string().max(64).optional(),
});

export const auditEntry = z.strictObject({
  at: z.iso.datetime(),
  actor: auditActor,
  /** The verb, or what the API did by itself: `accounts.add`. */
  verb: z.string().max(64),
  /** What it was asked for, without secrets. */
  args: z.unknown().optional(),
  /** `done`, or the kind of the failure. What failed in words is not here: other programs' words may quote secrets. */
  outcome: z.enum(['done', 'refused', 'conflict', 'missing', 'failed']),
});

export type AuditEntry = z.output<typeof auditEntry>;

/** Bytes of one entry; the arguments of a longer one are left out. */
const longestEntry = 8192;

/**
 * Bytes of the file: logrotate comes once a day, and a program with a token may fill the card before it does.
 * Then the file takes the place of the one before, as if logrotate had been there.
 */
const longestFile = 2_097_152;

const inTurn = turnstile(1);

/**
 * Adds one entry, on disk before this returns. The kernel puts what is written with O_APPEND whole at the
 * end (write(2)); a line that a power cut has torn is ended first, so that it costs no other.
 */
export async function addAudit(system: System, entry: AuditEntry): Promise<void> {
  await inTurn(() => add(at(system, auditFile), entry));
}

async function add(path: string, entry: AuditEntry): Promise<void> {
  // Its reader is root: an API client's address and what it did is nobody else's business.
  await makeFolder(dirname(path), 0o700);
  const there = await stat(path).catch(() => undefined);
  if (there && there.size >= longestFile) await rename(path, `${path}.1`);
  const file = await open(path, 'a+', 0o600);
  try {
    const { size } = await file.stat();
    const torn = size > 0 && (await byteAt(file, size - 1)) !== newline;
    await file.appendFile(`${torn ? '\n' : ''}${lineOf(entry)}\n`);
    await file.sync();
    if (size === 0) await syncDirectory(dirname(path));
  } finally {
    await file.close();
  }
}

const newline = 0x0a;

async function byteAt(
  file: Awaited<ReturnType<typeof open>>,
  position: number,
): Promise<number | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(1), 0, 1, position);
  return bytesRead === 1 ? buffer[0] : undefined;
}

function lineOf(entry: AuditEntry): string {
  const line = JSON.stringify(entry);
  if (Buffer.byteLength(line) <= longestEntry) return line;
  return JSON.stringify({ ...entry, args: '(too long to be kept)' });
}

/** The newest entries, newest first; those of the file before this one too. A line that is none is passed over. */
export async function listAudit(system: System, limit: number): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  for (const path of [auditFile, `${auditFile}.1`]) {
    const lines = ((await readIfThere(at(system, path))) ?? '').split('\n');
    for (let i = lines.length - 1; i >= 0 && found.length < limit; i -= 1) {
      const entry = parseEntry(lines[i] ?? '');
      if (entry) found.push(entry);
    }
  }
  return found;
}

function parseEntry(line: string): AuditEntry | undefined {
  if (line === '') return undefined;
  try {
    return auditEntry.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}
