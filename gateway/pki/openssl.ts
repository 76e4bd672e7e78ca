import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asn1Time } from '../../firstboot/steps/ca.ts';
import { at, makeFolder, type System } from '../../firstboot/system.ts';

/** In memory: keys and passwords that openssl reads from files never come to the card. */
const workFolder = '/run/pi-gateway/pki';

/** Does something with files of its own, which are gone afterwards. */
export async function withWork<T>(
  system: System,
  work: (put: (name: string, text: string) => Promise<string>, folder: string) => Promise<T>,
): Promise<T> {
  const parent = at(system, workFolder);
  await makeFolder(parent, 0o700);
  const folder = await mkdtemp(join(parent, 'w-'));
  try {
    return await work(async (name, text) => {
      const path = join(folder, name);
      await writeFile(path, text, { mode: 0o600 });
      return path;
    }, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** PEM of an authority: its certificate and its key. */
export type Authority = { certificate: string; key: string };

export type Signing = {
  by: Authority;
  /** As openssl-ca(1) takes it, `/O=…/CN=…`: no value of it has a slash, an equals sign or a plus. */
  subject: string;
  /** PEM: the key of whom it is for, or a request signed by that key. */
  of: { key: string } | { request: string };
  /** x509v3_config(5): lines of the section `extensions`, then other sections. */
  extensions: readonly string[];
  from: Date;
  to: Date;
};

/**
 * `openssl ca`, which alone takes both dates in every version that devices have (3.0 to 3.5). What a request
 * asks for besides its key counts for nothing.
 * @returns the certificate, PEM.
 */
export async function signCertificate(
  system: System,
  { by, subject, of, extensions, from, to }: Signing,
): Promise<string> {
  return await withWork(system, async (put, folder) => {
    const config = await put('openssl.cnf', configuration(folder, extensions));
    await put('index.txt', '');
    const request =
      'request' in of
        ? await put('request.pem', of.request)
        : await requestBy(system, config, await put('of.key', of.key), join(folder, 'request.pem'));
    return await system.run('openssl', [
      ...['ca', '-config', config, '-batch', '-notext', '-in', request, '-subj', subject],
      ...['-cert', await put('by.crt', by.certificate), '-keyfile', await put('by.key', by.key)],
      ...['-startdate', asn1Time(from), '-enddate', asn1Time(to)],
    ]);
  });
}

async function requestBy(
  system: System,
  config: string,
  key: string,
  path: string,
): Promise<string> {
  await system.run('openssl', [
    ...['req', '-new', '-config', config, '-key', key, '-subj', '/CN=request', '-out', path],
  ]);
  return path;
}

function configuration(folder: string, extensions: readonly string[]): string {
  return [
    ...['[req]', 'distinguished_name = name', '[name]'],
    ...['[ca]', 'default_ca = this', '[this]'],
    `new_certs_dir = ${folder}`,
    ...[`database = ${folder}/index.txt`, `crlnumber = ${folder}/crlnumber`, 'rand_serial = yes'],
    ...['default_md = sha384', 'policy = any', 'x509_extensions = extensions', 'email_in_dn = no'],
    ...['unique_subject = no', 'crl_extensions = crl'],
    ...['[any]', 'organizationName = supplied', 'commonName = supplied'],
    ...['[crl]', 'authorityKeyIdentifier = keyid:always'],
    ...['[extensions]', ...extensions, ''],
  ].join('\n');
}

/** RFC 5280 §5.3.1, those that make sense for a certificate of a home. */
export const reasons = [
  'unspecified',
  'keyCompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
] as const;
export type Reason = (typeof reasons)[number];

export type Revoked = { serial: string; notAfter: Date; at: Date; reason: Reason };

/** @returns the list of what an authority has revoked, PEM. */
export async function makeCrl(
  system: System,
  by: Authority,
  revoked: readonly Revoked[],
  from: Date,
  to: Date,
): Promise<string> {
  return await withWork(system, async (put, folder) => {
    const config = await put('openssl.cnf', configuration(folder, []));
    await put('index.txt', revoked.map(indexLine).join(''));
    // RFC 5280 §5.2.3: it only ever grows; a clock that was set back is behind for as long as that.
    const number = Math.floor(from.getTime() / 1000).toString(16);
    await put('crlnumber', `${number.length % 2 === 0 ? '' : '0'}${number}\n`);
    return await system.run('openssl', [
      ...['ca', '-config', config, '-gencrl'],
      ...['-cert', await put('by.crt', by.certificate), '-keyfile', await put('by.key', by.key)],
      ...['-crl_lastupdate', asn1Time(from), '-crl_nextupdate', asn1Time(to)],
    ]);
  });
}

/** A line of openssl's database (`index.txt`); times are UTCTime, of years from 1950 to 2049. */
function indexLine({ serial, notAfter, at: when, reason }: Revoked): string {
  const time = (date: Date) => asn1Time(date).slice(2);
  return `R\t${time(notAfter)}\t${time(when)},${reason}\t${serial}\tunknown\t/CN=x\n`;
}

/** DER of something in PEM: between its lines stands base64 (RFC 7468). */
export function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----(BEGIN|END)[^\n]*-----/g, ''), 'base64');
}

/**
 * Key, certificate and chain in one file for a phone or a browser (RFC 7292), under a password.
 * @param old true for what older systems read (before Android 12, iOS 16, macOS 13, Windows 10 1809):
 *   3DES and SHA-1 instead of AES-256 and SHA-256.
 */
export async function pkcs12(
  system: System,
  parts: { key: string; certificate: string; chain: string; name: string; password: string },
  old: boolean,
): Promise<Buffer> {
  return await withWork(system, async (put, folder) => {
    const file = join(folder, 'out.p12');
    await system.run(
      'openssl',
      [
        ...['pkcs12', '-export', '-inkey', await put('key', parts.key)],
        ...[
          '-in',
          await put('crt', parts.certificate),
          '-certfile',
          await put('chain', parts.chain),
        ],
        ...['-name', parts.name, '-passout', 'stdin', '-out', file],
        ...(old
          ? ['-keypbe', 'PBE-SHA1-3DES', '-certpbe', 'PBE-SHA1-3DES', '-macalg', 'sha1']
          : ['-keypbe', 'AES-256-CBC', '-certpbe', 'AES-256-CBC', '-macalg', 'sha256']),
      ],
      { input: `${parts.password}\n` },
    );
    return await readFile(file);
  });
}
