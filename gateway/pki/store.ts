import { X509Certificate } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import * as z from 'zod';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { withLock } from '../settings/lock.ts';
import { reasons } from './openssl.ts';

/** Where the CA keeps what it has issued. All of it is root's alone, but for what others get copies of. */
export const caFolder = '/etc/pi-gateway/ca';
/** Key and certificate of the intermediate in one file, so that no power cut parts a pair. */
export const issuingPem = `${caFolder}/issuing.pem`;
/** Lists of what is revoked: of the intermediate, then of the root; PEM. */
export const crlPem = `${caFolder}/crl.pem`;
const issuedFolder = `${caFolder}/issued`;
/** Keys with their certificates, of servers: `NAME.pem`. */
export const keysFolder = '/etc/pi-gateway/certificates';

export const kinds = ['server', 'client', 'request'] as const;

/** What is known of a certificate that was issued; written before anybody gets it. */
const record = z.object({
  /** Counts up: the clock may be set back between two of them. */
  number: z.number().int(),
  serial: z.string().regex(/^[0-9A-F]{2,40}$/),
  /** server: key and renewal are ours; client: a person's or a device's; request: by somebody's own key. */
  kind: z.enum(kinds),
  name: z.string(),
  /** Whom it is for: the proxy, which asks for its own by itself, or the owner. */
  purpose: z.enum(['proxy', 'owner']),
  dns: z.array(z.string()),
  addresses: z.array(z.string()),
  not_before: z.iso.datetime(),
  not_after: z.iso.datetime(),
  pem: z.string(),
  revoked: z.object({ at: z.iso.datetime(), reason: z.enum(reasons) }).nullable(),
});
export type Issued = z.output<typeof record>;

/** A name of a certificate, as files and commands have it. */
export const certificateName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/,
    'must be 1 to 40 of a-z, 0-9 and -, e.g. nas or anns-phone',
  );

const fileOf = (serial: string) => `${issuedFolder}/${serial}.json`;
export const keyFileOf = (name: string) => `${keysFolder}/${name}.pem`;

/** One at a time issues, renews or revokes: the helper, and the unit that renews. */
export function withCaLock<T>(system: System, work: () => Promise<T>): Promise<T> {
  return withLock(system, work, 120, {
    path: '/run/pi-gateway/certificates.lock',
    of: 'certificates',
  });
}

/** All that was issued and has not been forgotten, newest first. A file that is none of ours is passed over. */
export async function allIssued(system: System): Promise<Issued[]> {
  const names = await readdir(at(system, issuedFolder)).catch(() => []);
  const found: Issued[] = [];
  for (const name of names) {
    const serial = /^([0-9A-F]+)\.json$/.exec(name)?.[1];
    if (serial === undefined) continue;
    const one = parse((await readIfThere(at(system, fileOf(serial)))) ?? '');
    if (one?.serial === serial) found.push(one);
  }
  return found.toSorted((a, b) => b.number - a.number);
}

function parse(text: string): Issued | undefined {
  try {
    return record.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

export async function keepIssued(system: System, one: Issued): Promise<void> {
  await makeFolder(at(system, issuedFolder), 0o700);
  await writeDurably(at(system, fileOf(one.serial)), `${JSON.stringify(one)}\n`, 0o600);
}

/** Forgets what nobody accepts any more, so that a list of revoked ones needs no entry of it. */
export async function forgetIssued(system: System, { serial }: Issued): Promise<void> {
  await rm(at(system, fileOf(serial)), { force: true });
}

export async function keepKey(system: System, name: string, pem: string): Promise<void> {
  await makeFolder(at(system, keysFolder), 0o700);
  await writeDurably(at(system, keyFileOf(name)), pem, 0o600);
}

/** What a file with key and certificates has. */
export type Pair = { key: string; certificate: string; chain: string };

/** @returns undefined for what has no key and certificate. */
export function pairIn(pem: string | undefined): Pair | undefined {
  const key =
    /-----BEGIN (?:EC )?PRIVATE KEY-----[\s\S]*?-----END (?:EC )?PRIVATE KEY-----\n?/.exec(
      pem ?? '',
    )?.[0];
  const [certificate, ...chain] =
    pem?.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----\n?/g) ?? [];
  return key === undefined || certificate === undefined
    ? undefined
    : { key, certificate, chain: chain.join('') };
}

export function factsOf(pem: string): Pick<Issued, 'serial' | 'not_before' | 'not_after'> {
  const one = new X509Certificate(pem);
  return {
    serial: one.serialNumber,
    not_before: new Date(one.validFrom).toISOString(),
    not_after: new Date(one.validTo).toISOString(),
  };
}
