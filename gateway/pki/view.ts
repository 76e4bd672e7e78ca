import * as z from 'zod';
import { reasons } from './openssl.ts';
import { certificateName, kinds } from './store.ts';

/** What the API says of certificates. */

export const certificate = z.object({
  serial: z.string(),
  kind: z.enum(kinds).describe('request: of a key that the gateway does not have'),
  name: z.string(),
  purpose: z.enum(['proxy', 'owner']),
  names: z.array(z.string()).describe('Host names and addresses that it is for'),
  not_before: z.iso.datetime(),
  not_after: z.iso.datetime(),
  state: z
    .enum(['good', 'ending', 'over', 'revoked', 'replaced'])
    .describe('ending: in less than 14 days; replaced: there is a newer one of the name'),
  renewed: z.boolean().describe('By itself, before its end'),
  revoked: z.object({ at: z.iso.datetime(), reason: z.string() }).nullable(),
});
export type CertificateView = z.output<typeof certificate>;

export const certificateList = z.object({
  /** False: the image was built without the stage, and the rest is empty. */
  available: z.boolean().describe('False where the image was built without stage `proxy`'),
  root: z
    .object({ name: z.string(), fingerprint: z.string(), not_after: z.iso.datetime() })
    .nullable(),
  trust_url: z.string().nullable().describe('The page for devices that shall trust the root'),
  certificates: z.array(certificate),
});
export type CertificateList = z.output<typeof certificateList>;

export const trust = z.object({
  name: z.string(),
  fingerprint: z.string().describe('SHA-256, as browsers show it'),
  not_after: z.iso.datetime(),
  pem: z.string(),
  mobileconfig: z.string().describe('Profile for iOS and macOS'),
  url: z.string().nullable(),
  steps: z.array(z.object({ system: z.string(), file: z.string(), steps: z.string() })),
});

const names = z
  .array(z.string().min(1).max(253))
  .min(1, 'must have at least one name, e.g. nas.home.arpa')
  .max(16, 'must be at most 16 names');

export const serial = z
  .string()
  .regex(/^[0-9A-F]{2,40}$/, 'must be a serial number as certificate list shows it');

export const newServer = z.strictObject({
  name: certificateName,
  names: names.describe('Host names below home.arpa, internal or local, and private addresses'),
});

export const newSigned = z.strictObject({
  ...newServer.shape,
  request: z.string().max(16_384).describe('PKCS#10 in PEM; of its wishes the key alone counts'),
  days: z.number().int().min(1).max(199).default(90),
});

export const newClient = z.strictObject({
  name: certificateName,
  days: z.number().int().min(1).max(825).default(365),
  password: z
    .string()
    .regex(/^[\x21-\x7e]{8,64}$/, 'must be 8 to 64 printable letters without blanks')
    .optional()
    .describe('Of the file; made if there is none'),
  old: z
    .boolean()
    .default(false)
    .describe('For systems before Android 12, iOS 16, macOS 13 and Windows 10 1809'),
});

export const handedClient = z.object({
  certificate,
  password: z.string(),
  p12: z.string().describe('PKCS#12, base64; the gateway keeps no copy'),
});

export const revocation = z.strictObject({ reason: z.enum(reasons).default('unspecified') });
