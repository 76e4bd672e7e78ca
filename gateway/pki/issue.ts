import { generateKeyPairSync, randomInt, X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { isIP } from 'node:net';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { mayBeAddressed, mayBeNamed } from '../tls/names.ts';
import { backdated, ensureCrl, ensureIssuing, readRoot, trueTime } from './authority.ts';
import { type Authority, pkcs12, type Reason, signCertificate } from './openssl.ts';
import {
  allIssued,
  factsOf,
  forgetIssued,
  type Issued,
  keepIssued,
  keepKey,
  keyFileOf,
  pairIn,
} from './store.ts';
import { crlUrls } from './urls.ts';

const day = 86_400_000;

/**
 * Days that a server's certificate is good, and before its end that it is renewed: a Pi may be off on some of
 * them. Below the 200 that browsers may hold any CA to (CA/Browser Forum, ballot SC-081v3).
 */
export const serverDays = 90;
export const renewBefore = 30;

/** Days after its end that a certificate is forgotten. */
const kept = 30;

export type Wanted = {
  name: string;
  purpose: Issued['purpose'];
  dns: readonly string[];
  addresses: readonly string[];
};

/** Names that it may vouch for, as `--name` and the API take them. @throws GatewayError for others. */
export function namesIn(names: readonly string[]): { dns: string[]; addresses: string[] } {
  const dns = names.filter((name) => isIP(name) === 0).map((name) => name.toLowerCase());
  const addresses = names.filter((name) => isIP(name) !== 0);
  for (const name of dns)
    if (
      !mayBeNamed(name) ||
      !/^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)
    )
      throw new GatewayError(
        `The CA of this device may not vouch for '${name}'`,
        'It may for names that end in .home.arpa, .internal or .local, and for addresses of private networks; for names of the internet see proxy.acme in docs/certificates.md',
        'refused',
      );
  for (const address of addresses)
    if (!mayBeAddressed(address))
      throw new GatewayError(
        `The CA of this device may not vouch for ${address}`,
        'It may for addresses of private networks: 10.…, 172.16.… to 172.31.…, 192.168.…, fd…',
        'refused',
      );
  return { dns, addresses };
}

async function issue(
  system: System,
  issuing: Authority,
  asked: Wanted & {
    kind: Issued['kind'];
    of: { key: string } | { request: string };
    days: number;
  },
  now: number,
): Promise<Issued> {
  const { kind, name, purpose, dns, addresses, of, days } = asked;
  const today = await trueTime(system, now);
  const parent = new X509Certificate(issuing.certificate);
  const from = Math.max(today - backdated * day, Date.parse(parent.validFrom));
  const to = Math.min(today + days * day, Date.parse(parent.validTo));
  const alternatives = [
    ...dns.map((one, index) => `DNS.${index} = ${one}`),
    ...addresses.map((one, index) => `IP.${index} = ${one}`),
  ];
  const { issuing: crl } = await crlUrls(system);
  const pem = await signCertificate(system, {
    by: issuing,
    // No host name by itself, which a client might hold against the CA's constraints.
    subject: kind === 'client' ? `/O=Pi Gateway/CN=${name}` : `/O=Pi Gateway/CN=Pi Gateway ${name}`,
    of,
    extensions: [
      'basicConstraints = critical, CA:FALSE',
      'keyUsage = critical, digitalSignature',
      `extendedKeyUsage = ${kind === 'client' ? 'clientAuth' : 'serverAuth'}`,
      'subjectKeyIdentifier = hash',
      'authorityKeyIdentifier = keyid:always',
      ...(crl === undefined ? [] : [`crlDistributionPoints = URI:${crl}`]),
      ...(alternatives.length === 0 ? [] : ['subjectAltName = @names', '[names]', ...alternatives]),
    ],
    from: new Date(from),
    to: new Date(to),
  });
  const [newest] = await allIssued(system);
  const one: Issued = {
    number: (newest?.number ?? 0) + 1,
    ...factsOf(pem),
    kind,
    name,
    purpose,
    dns: [...dns],
    addresses: [...addresses],
    pem,
    revoked: null,
  };
  await keepIssued(system, one);
  return one;
}

function newKey(): string {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
}

async function issuingOf(system: System, now: number): Promise<Authority> {
  return await ensureIssuing(system, now, (await crlUrls(system)).root);
}

/** A key with a certificate for a server, in {@link keyFileOf}. Only with the lock. */
export async function issueServer(system: System, wanted: Wanted, now: number): Promise<Issued> {
  const issuing = await issuingOf(system, now);
  const key = newKey();
  const one = await issue(
    system,
    issuing,
    { ...wanted, kind: 'server', of: { key }, days: serverDays },
    now,
  );
  await keepKey(system, wanted.name, `${key}${one.pem}${issuing.certificate}`);
  return one;
}

/** Why there must be a new one; undefined: what there is will do. */
export function reasonToRenew(
  wanted: Wanted,
  there: Issued | undefined,
  now: number,
): string | undefined {
  if (!there) return 'there was none';
  if (there.revoked) return 'it was revoked';
  if (Date.parse(there.not_before) > now) return 'the clock has gone back';
  if (Date.parse(there.not_after) - now < renewBefore * day) return 'its time is nearly over';
  const same = (a: readonly string[], b: readonly string[]) =>
    a.toSorted().join() === b.toSorted().join();
  return same(wanted.dns, there.dns) && same(wanted.addresses, there.addresses)
    ? undefined
    : 'its names have changed';
}

/** The one that counts of each server: what was issued last for the name, and has its key here. */
export function currentServers(issued: readonly Issued[]): Map<string, Issued> {
  const current = new Map<string, Issued>();
  for (const one of issued)
    if (one.kind === 'server' && !current.has(one.name)) current.set(one.name, one);
  return current;
}

/** The file has the certificate with its key, by this CA: it may be damaged, or of before a restore. */
export async function hasKey(system: System, one: Issued): Promise<boolean> {
  const pair = pairIn(await readIfThere(at(system, keyFileOf(one.name))));
  return pair !== undefined && factsOf(pair.certificate).serial === one.serial;
}

/**
 * Renews what is due: those that the proxy wants, and those that the owner had issued. Only with the lock.
 * @returns what it did, for the journal.
 */
export async function renewDue(
  system: System,
  wanted: readonly Wanted[],
  now: number,
): Promise<string[]> {
  const issuing = await issuingOf(system, now);
  const said: string[] = [];
  let issued = await allIssued(system);
  const current = currentServers(issued);
  const owners = [...current.values()].filter(
    ({ purpose, revoked }) => purpose === 'owner' && !revoked,
  );
  for (const one of [...wanted, ...owners]) {
    const there = current.get(one.name);
    const why =
      reasonToRenew(one, there, now) ??
      (there && !isOf(issuing, there) ? 'the CA is another one' : undefined) ??
      (there && !(await hasKey(system, there)) ? 'its key was not there' : undefined);
    if (why === undefined) continue;
    await issueServer(system, one, now);
    said.push(`A new certificate of ${one.name}: ${why}`);
  }
  issued = await allIssued(system);
  for (const one of issued)
    if (now - Date.parse(one.not_after) > kept * day) await forgetIssued(system, one);
  // The proxy's, of services that there are no more: nobody has the key then.
  const names = new Set(wanted.map(({ name }) => name));
  for (const one of issued) {
    if (one.purpose !== 'proxy' || names.has(one.name)) continue;
    await rm(at(system, keyFileOf(one.name)), { force: true });
    if (!one.revoked) await forgetIssued(system, one);
  }
  await ensureCrl(system, issuing, issued, now);
  return said;
}

function isOf(issuing: Authority, { pem }: Issued): boolean {
  return new X509Certificate(pem).verify(new X509Certificate(issuing.certificate).publicKey);
}

/** By the key of somebody else's request (PKCS#10, PEM). @returns the certificate with its chain. */
export async function signRequest(
  system: System,
  wanted: Wanted & { request: string; days: number },
  now: number,
): Promise<{ issued: Issued; pem: string }> {
  const issuing = await issuingOf(system, now);
  const { request, ...rest } = wanted;
  const issued = await issue(
    system,
    issuing,
    { ...rest, kind: 'request', of: { request } },
    now,
  ).catch((cause: unknown) => {
    throw new GatewayError(
      'openssl does not take the request',
      `It must be PKCS#10 in PEM form, signed by its own key: openssl req -in FILE -verify (${firstLine(cause)})`,
      'refused',
    );
  });
  return { issued, pem: `${issued.pem}${issuing.certificate}` };
}

const firstLine = (cause: unknown) =>
  (cause instanceof Error ? cause.message : String(cause)).split('\n')[0];

/** Letters that nobody takes for others. */
const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789';

/** 80 bits, in groups to type. */
export function newPassword(): string {
  const letters = Array.from({ length: 16 }, () => alphabet[randomInt(alphabet.length)]).join('');
  return letters.replace(/(.{4})(?=.)/g, '$1-');
}

/** A certificate for a person's device, with its key as PKCS#12; the key is kept nowhere here. */
export async function issueClient(
  system: System,
  asked: { name: string; days: number; password: string; old: boolean },
  now: number,
): Promise<{ issued: Issued; p12: Buffer }> {
  const twin = (await allIssued(system)).find(
    (one) =>
      one.kind === 'client' &&
      one.name === asked.name &&
      !one.revoked &&
      Date.parse(one.not_after) > now,
  );
  if (twin)
    throw new GatewayError(
      `There is a client ${asked.name} already, until ${twin.not_after.slice(0, 10)}`,
      `Take another name, or end that one first: sudo pi-gateway certificate revoke ${twin.serial}`,
      'conflict',
    );
  const issuing = await issuingOf(system, now);
  const key = newKey();
  const issued = await issue(
    system,
    issuing,
    {
      kind: 'client',
      name: asked.name,
      purpose: 'owner',
      dns: [],
      addresses: [],
      of: { key },
      days: asked.days,
    },
    now,
  );
  const p12 = await pkcs12(
    system,
    {
      key,
      certificate: issued.pem,
      chain: `${issuing.certificate}${await readRoot(system)}`,
      name: asked.name,
      password: asked.password,
    },
    asked.old,
  );
  return { issued, p12 };
}

/** Revokes one, and publishes that. Only with the lock. @throws GatewayError if there is no such one. */
export async function revoke(
  system: System,
  serial: string,
  reason: Reason,
  now: number,
): Promise<Issued> {
  const issued = await allIssued(system);
  const one = issued.find((other) => other.serial === serial);
  if (!one)
    throw new GatewayError(
      `There is no certificate ${serial}`,
      'See which there are: sudo pi-gateway certificate list --all',
      'missing',
    );
  if (one.revoked)
    throw new GatewayError(
      `${serial} (${one.name}) was revoked ${one.revoked.at}`,
      'There is nothing more to do',
      'conflict',
    );
  const today = await trueTime(system, now);
  const ended: Issued = { ...one, revoked: { at: new Date(today).toISOString(), reason } };
  await keepIssued(system, ended);
  await ensureCrl(
    system,
    await issuingOf(system, now),
    issued.map((other) => (other.serial === serial ? ended : other)),
    now,
  );
  return ended;
}
