import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { deviceId } from '../../firstboot/device-id.ts';
import { buildTime } from '../../firstboot/image.ts';
import { caKeyPath, caPath, constraintLines } from '../../firstboot/steps/ca.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { type Authority, makeCrl, signCertificate } from './openssl.ts';
import { caFolder, crlPem, type Issued, issuingPem, pairIn } from './store.ts';

/**
 * The CA's two steps. First boot has made the root, whose key is used for the intermediate and its list of
 * revoked ones alone; the intermediate issues everything. Whoever trusts the root trusts its next intermediate.
 */

const day = 86_400_000;

/** Days: five years. It is made anew with the same key, so that whatever it has issued stays good. */
const lifetime = 1826;
const renewBefore = 365;

/** Days that a list of revoked ones is good: a gateway that was off for less serves its clients at once. */
const crlLifetime = 30;
/** Hours after which it is made anew. */
const crlAge = 24;

/** Days before now that something begins: clients' clocks are not the gateway's. */
export const backdated = 1;

/** A clock that was never set stands at the image's time, which is no earlier than the root's. */
export async function trueTime(system: System, now: number): Promise<number> {
  return Math.max(now, (await buildTime(system)) * 1000);
}

/** @throws GatewayError before first boot has made it. */
export async function readRoot(system: System): Promise<string> {
  const root = await readIfThere(at(system, caPath));
  if (root === undefined)
    throw new GatewayError(
      `This device has no CA yet (${caPath})`,
      'First boot makes it; see gateway-status.txt on the boot partition',
      'missing',
    );
  return root;
}

async function readRootAuthority(system: System): Promise<Authority> {
  const certificate = await readRoot(system);
  const key = await readIfThere(at(system, caKeyPath));
  if (key === undefined)
    throw new GatewayError(
      `The CA's key is not there (${caKeyPath})`,
      'Restore it from a backup of this gateway: without it nothing can be issued',
    );
  return { certificate, key };
}

/**
 * The intermediate; made if there is none, and made anew before its end. Only with the lock.
 * @param crlUrl where its clients find the root's list of revoked ones.
 */
export async function ensureIssuing(
  system: System,
  now: number,
  crlUrl: string | undefined,
): Promise<Authority> {
  const root = await readRootAuthority(system);
  const there = authorityIn(await readIfThere(at(system, issuingPem)));
  if (there && isGood(there, root.certificate, now)) return there;
  const today = await trueTime(system, now);
  const rootCertificate = new X509Certificate(root.certificate);
  const from = Math.max(today - backdated * day, Date.parse(rootCertificate.validFrom));
  const to = Math.min(from + lifetime * day, Date.parse(rootCertificate.validTo));
  const key =
    there?.key ??
    generateKeyPairSync('ec', { namedCurve: 'P-384' })
      .privateKey.export({ type: 'pkcs8', format: 'pem' })
      .toString();
  const certificate = await signCertificate(system, {
    by: root,
    subject: `/O=Pi Gateway/CN=Pi Gateway issuing CA ${await deviceId(system)}`,
    of: { key },
    extensions: [
      'basicConstraints = critical, CA:TRUE, pathlen:0',
      'keyUsage = critical, keyCertSign, cRLSign',
      'subjectKeyIdentifier = hash',
      'authorityKeyIdentifier = keyid:always',
      ...(crlUrl === undefined ? [] : [`crlDistributionPoints = URI:${crlUrl}`]),
      // The last, as a section of its own follows.
      ...constraintLines(),
    ],
    from: new Date(from),
    to: new Date(to),
  });
  await makeFolder(at(system, caFolder), 0o700);
  await writeDurably(at(system, issuingPem), `${key}${certificate}`, 0o600);
  return { key, certificate };
}

function authorityIn(pem: string | undefined): Authority | undefined {
  const pair = pairIn(pem);
  if (!pair) return undefined;
  try {
    const isPair = new X509Certificate(pair.certificate).checkPrivateKey(
      createPrivateKey(pair.key),
    );
    return isPair ? { certificate: pair.certificate, key: pair.key } : undefined;
  } catch {
    return undefined;
  }
}

function isGood({ certificate }: Authority, root: string, now: number): boolean {
  const one = new X509Certificate(certificate);
  const { validTo: end, publicKey } = new X509Certificate(root);
  return (
    one.verify(publicKey) &&
    // Made while the clock was ahead.
    Date.parse(one.validFrom) <= now &&
    // One that ends with the root cannot be made longer.
    (Date.parse(one.validTo) - now > renewBefore * day || one.validTo === end)
  );
}

/**
 * Makes the lists of revoked ones anew when they are due, or something was revoked. Only with the lock.
 * @returns whether they are new.
 */
export async function ensureCrl(
  system: System,
  issuing: Authority,
  issued: readonly Issued[],
  now: number,
): Promise<boolean> {
  const revoked = issued.flatMap(({ serial, not_after, revoked: how }) =>
    how && Date.parse(not_after) > now - crlLifetime * day
      ? [{ serial, notAfter: new Date(not_after), at: new Date(how.at), reason: how.reason }]
      : [],
  );
  const mark = `# ${revoked
    .map(({ serial }) => serial)
    .toSorted()
    .join(' ')}`;
  const text = (await readIfThere(at(system, crlPem))) ?? '';
  const [made = '', listed = ''] = text.split('\n', 2);
  const age = now - Date.parse(made.slice(2));
  if (listed === mark && age >= 0 && age < crlAge * 3_600_000) return false;
  const today = await trueTime(system, now);
  const from = new Date(today - 3_600_000);
  const to = new Date(today + crlLifetime * day);
  const own = await makeCrl(system, issuing, revoked, from, to);
  const roots = await makeCrl(system, await readRootAuthority(system), [], from, to);
  await writeDurably(
    at(system, crlPem),
    `# ${new Date(now).toISOString()}\n${mark}\n${own}${roots}`,
    0o600,
  );
  return true;
}

/** The lists in {@link crlPem}, PEM. */
export function crlsIn(text: string): { issuing: string; root: string } {
  const [issuing = '', root = ''] =
    text.match(/-----BEGIN X509 CRL-----[\s\S]*?-----END X509 CRL-----\n?/g) ?? [];
  return { issuing, root };
}
