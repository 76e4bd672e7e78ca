import { createHash } from 'node:crypto';
import { publicKeyProblem } from '../../builder/config/fields.ts';

/** One key of authorized_keys: sshd(8), AUTHORIZED_KEYS FILE FORMAT. */
export type AuthorizedKey = {
  /** As in the file; what is not known here is kept. */
  readonly line: string;
  readonly options: string;
  /** Type and base64 data, without options and comment. */
  readonly key: string;
  readonly type: string;
  readonly comment: string;
  /** As `ssh-keygen -l` prints it: SHA256:… */
  readonly fingerprint: string;
  /** When sshd stops taking it (option expiry-time=). */
  readonly expires?: Date;
};

/** A line of the file: a key, or text (comments, empty and damaged lines) that is kept as it is. */
export type Line = AuthorizedKey | { readonly line: string; readonly problem?: string };

export function isKey(line: Line): line is AuthorizedKey {
  return 'fingerprint' in line;
}

/** The lines of an authorized_keys file, in order; joined by line breaks they are the file again. */
export function parseAuthorizedKeys(text: string): Line[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map(parseLine);
}

export function formatAuthorizedKeys(lines: readonly Line[]): string {
  return lines.length === 0 ? '' : `${lines.map(({ line }) => line).join('\n')}\n`;
}

function parseLine(line: string): Line {
  const text = line.trim();
  if (text === '' || text.startsWith('#')) return { line };
  // Options come first, if the line does not start with a key type; spaces in them are quoted.
  const plain = publicKeyProblem(text) === undefined;
  const options = plain ? '' : (/^(?:[^\s"]|"(?:[^"\\]|\\.)*")+/.exec(text)?.[0] ?? '');
  const rest = text.slice(options.length).trim();
  const problem = publicKeyProblem(rest);
  if (problem) return { line, problem };
  const [type = '', blob = '', ...comment] = rest.split(/\s+/);
  const expires = expiryOf(options);
  if (expires === 'bad') return { line, problem: 'its expiry-time is no date' };
  return {
    line,
    options,
    key: `${type} ${blob}`,
    type,
    comment: comment.join(' '),
    fingerprint: fingerprintOf(blob),
    ...(expires ? { expires } : {}),
  };
}

/** RFC 4253's key blob hashed as `ssh-keygen -l` does: SHA-256, base64 without padding. */
function fingerprintOf(blob: string): string {
  const hash = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64');
  return `SHA256:${hash.replace(/=+$/, '')}`;
}

/** expiry-time="YYYYMMDD[HHMM[SS]][Z]"; without Z in the device's time zone. */
function expiryOf(options: string): Date | 'bad' | undefined {
  const match = /(?:^|,)expiry-time="([^"]*)"/i.exec(options);
  if (!match) return undefined;
  const parts = /^(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(Z?)$/.exec(match[1] ?? '');
  if (!parts) return 'bad';
  const [year, month, day, hour, minute, second] = parts
    .slice(1, 7)
    .map((part) => Number(part ?? 0));
  const fields = [
    year ?? 0,
    (month ?? 1) - 1,
    day ?? 1,
    hour ?? 0,
    minute ?? 0,
    second ?? 0,
  ] as const;
  const date = parts[7] === 'Z' ? new Date(Date.UTC(...fields)) : new Date(...fields);
  return Number.isNaN(date.getTime()) ? 'bad' : date;
}

/** The time as sshd reads it, in UTC to the minute (rounded up: never shorter than promised). */
export function expiryTime(date: Date): string {
  const up = new Date(Math.ceil(date.getTime() / 60_000) * 60_000);
  return `${up.toISOString().slice(0, 16).replaceAll(/[-:T]/g, '')}Z`;
}

/** The key with an end: sshd refuses it from then on. An earlier end that it has stays. */
export function expiring(key: AuthorizedKey, at: Date): AuthorizedKey {
  if (key.expires && key.expires <= at) return key;
  const others = key.options
    .split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/)
    .filter((option) => option !== '' && !/^expiry-time=/i.test(option));
  const options = [...others, `expiry-time="${expiryTime(at)}"`].join(',');
  const line = [options, key.key, key.comment].filter(Boolean).join(' ');
  const made = parseLine(line);
  if (!isKey(made)) throw new Error(`the key cannot be given an end: ${line}`);
  return made;
}

/** A key from the text of a .pub file. @throws Error that says what is wrong with it. */
export function newKey(text: string): AuthorizedKey {
  const line = text.trim();
  const problem = publicKeyProblem(line);
  if (problem) throw new Error(`The key ${problem}`);
  const made = parseLine(line);
  if (!isKey(made)) throw new Error('The key must be a public SSH key');
  return made;
}

export function isValid(key: AuthorizedKey, now: Date): boolean {
  return !key.expires || key.expires > now;
}
