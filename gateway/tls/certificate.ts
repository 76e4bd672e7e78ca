import {
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildTime } from '../../firstboot/image.ts';
import { asn1Time, caKeyPath, caPath } from '../../firstboot/steps/ca.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import type { Names } from './names.ts';

const folder = '/etc/pi-gateway/tls';
/** Key and certificate in one file, so that no power cut parts a pair. */
export const serverPem = `${folder}/server.pem`;

const day = 86_400_000;

/**
 * Days. CA/Browser Forum, ballot SC-081v3: at most 200 from March 2026; a browser may hold the CAs of its
 * user to that, too. It is renewed by itself, so it need not be long.
 */
const lifetime = 199;

/** Days before its end that it is renewed: a Pi may be off on some of them. */
const renewBefore = 30;

/** Days before now that it begins: clients' clocks are not the gateway's. */
const backdated = 1;

/**
 * Makes the API's certificate unless there is one that will do.
 * @returns why there is a new one; undefined: there is none.
 * @throws Error before first boot has made the CA.
 */
export async function renewCertificate(
  system: System,
  names: Names,
  now: number = Date.now(),
): Promise<string | undefined> {
  const root = await readRoot(system);
  const why = reasonToRenew((await readIfThere(at(system, serverPem))) ?? '', root, names, now);
  if (why === undefined) return undefined;
  await writeDurably(at(system, serverPem), await issue(system, root, names, now), 0o600);
  return why;
}

async function readRoot(system: System): Promise<X509Certificate> {
  const text = await readIfThere(at(system, caPath));
  if (text === undefined)
    throw new Error(`There is no CA yet (${caPath}): first boot makes it; see gateway-status.txt`);
  return new X509Certificate(text);
}

function reasonToRenew(
  pem: string,
  root: X509Certificate,
  names: Names,
  now: number,
): string | undefined {
  if (pem === '') return 'there was none';
  let certificate: X509Certificate;
  let key: KeyObject;
  try {
    certificate = new X509Certificate(pem);
    key = createPrivateKey(pem);
  } catch {
    return 'the old one could not be read';
  }
  if (!certificate.checkPrivateKey(key)) return 'key and certificate were no pair';
  if (!certificate.verify(root.publicKey)) return 'the CA is another one';
  if (Date.parse(certificate.validFrom) > now) return 'the clock has gone back';
  if (Date.parse(certificate.validTo) - now < renewBefore * day) return 'its time is nearly over';
  return hasNames(certificate, names) ? undefined : "the gateway's names or addresses have changed";
}

function hasNames(certificate: X509Certificate, names: Names): boolean {
  const count = certificate.subjectAltName?.split(', ').length ?? 0;
  return (
    count === names.dns.length + names.addresses.length &&
    names.dns.every((name) => certificate.checkHost(name) !== undefined) &&
    names.addresses.every((address) => certificate.checkIP(address) !== undefined)
  );
}

/** By `openssl ca`, as the root itself: firstboot/steps/ca.ts. @returns key and certificate in PEM. */
async function issue(
  system: System,
  root: X509Certificate,
  names: Names,
  now: number,
): Promise<string> {
  // A clock that was never set stands at the image's time, which is no earlier than the root's.
  const today = Math.max(now, (await buildTime(system)) * 1000);
  const from = Math.max(today - backdated * day, Date.parse(root.validFrom));
  const to = Math.min(from + lifetime * day, Date.parse(root.validTo));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const work = at(system, `${folder}/.new`);
  await rm(work, { recursive: true, force: true });
  await makeFolder(at(system, folder), 0o700);
  await makeFolder(work, 0o700);
  try {
    const config = join(work, 'openssl.cnf');
    const keyFile = join(work, 'server.key');
    const request = join(work, 'server.csr');
    const write = (path: string, text: string) => writeFile(path, text, { mode: 0o600 });
    await write(config, opensslConfig(work, names));
    await write(join(work, 'index.txt'), '');
    await write(keyFile, key);
    const [name = 'pi-gateway'] = names.dns[0]?.split('.') ?? [];
    // No host name by itself, which a client might hold against the CA's constraints.
    const subject = `/O=Pi Gateway/CN=Pi Gateway ${name.slice(0, 50)}`;
    await system.run('openssl', [
      ...['req', '-new', '-config', config, '-key', keyFile, '-subj', subject, '-out', request],
    ]);
    const certificate = await system.run('openssl', [
      ...['ca', '-config', config, '-batch', '-notext', '-in', request],
      ...['-cert', at(system, caPath), '-keyfile', at(system, caKeyPath)],
      ...['-startdate', asn1Time(new Date(from)), '-enddate', asn1Time(new Date(to))],
    ]);
    return `${key}${certificate}`;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function opensslConfig(work: string, names: Names): string {
  return [
    ...['[req]', 'distinguished_name = name', '[name]'],
    ...['[ca]', 'default_ca = server', '[server]'],
    `new_certs_dir = ${work}`,
    ...[`database = ${work}/index.txt`, 'rand_serial = yes'],
    ...['default_md = sha384', 'policy = any', 'x509_extensions = extensions', 'email_in_dn = no'],
    ...['[any]', 'organizationName = supplied', 'commonName = supplied'],
    '[extensions]',
    'basicConstraints = critical, CA:FALSE',
    'keyUsage = critical, digitalSignature',
    'extendedKeyUsage = serverAuth',
    'subjectKeyIdentifier = hash',
    'authorityKeyIdentifier = keyid:always',
    'subjectAltName = @names',
    '[names]',
    ...names.dns.map((name, index) => `DNS.${index} = ${name}`),
    ...names.addresses.map((address, index) => `IP.${index} = ${address}`),
    '',
  ].join('\n');
}
