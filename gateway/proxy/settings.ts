import { isIP } from 'node:net';
import * as z from 'zod';
import { fqdn } from '../../builder/config/fields.ts';
import { refuseUnlessCertificates } from '../certificates.ts';
import { certificateName } from '../pki/store.ts';
import { proxyZones } from './facts.ts';

/** `proxy:` of /etc/pi-gateway/gateway.yaml: services behind names with TLS. */

/** Its name is a label of a host name. */
export const serviceName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, 'must be 1 to 40 of a-z, 0-9 and -, e.g. grafana');

const places = /^(https?):\/\/(\[[0-9a-f:]+\]|[0-9.]+|localhost):(\d{1,5})\/?$/;
const placeProblem =
  'must be http or https, an address (no host name) and a port, and no path, e.g. http://127.0.0.1:3000';

const target = z
  .string({ error: 'must be where the service is, e.g. http://127.0.0.1:3000' })
  .regex(places, { error: placeProblem, abort: true })
  .refine((text) => targetOf(text) !== undefined, { error: placeProblem });

export type Target = { tls: boolean; address: string; port: number };

/** @returns undefined for what is no target. */
export function targetOf(text: string): Target | undefined {
  const [, scheme, host = '', port = ''] = places.exec(text) ?? [];
  const address = host === 'localhost' ? '127.0.0.1' : host.replace(/^\[|\]$/g, '');
  const number = Number(port);
  if (isIP(address) === 0 || number < 1 || number > 65_535) return undefined;
  return { tls: scheme === 'https', address, port: number };
}

/** The device itself: nobody is between, so a certificate that nobody vouches for will do. */
export const isLoopback = (address: string) => address === '::1' || address.startsWith('127.');

const whole = (usual: number, least: number, most: number, unit: string) =>
  z
    .number({ error: `must be ${unit}, e.g. ${usual}` })
    .int(`must be whole ${unit}`)
    .min(least, `must be at least ${least} ${unit}`)
    .max(most, `must be at most ${most} ${unit}`)
    .default(usual);

export const proxyService = z
  .strictObject({
    to: target.describe('Where the service is: http or https, address and port'),
    names: z
      .array(fqdn, { error: 'must be a list of host names, e.g. [photos.example.org]' })
      .max(8, 'must be at most 8 names')
      .default([])
      .describe('Further names; those of the internet need proxy.acme'),
    zones: z
      .array(z.enum(proxyZones, { error: 'must be lan or vpn' }))
      .min(1, 'must have at least one zone, e.g. [vpn]')
      .default([...proxyZones])
      .describe('From where it may be used'),
    mtls: z
      .union([z.boolean(), z.array(certificateName).min(1)], {
        error: 'must be true, false or a list of clients, e.g. [anns-phone]',
      })
      .default(false)
      .describe('Only for clients with a certificate of this gateway: all of them, or those named'),
    hsts: z
      .boolean({ error: 'must be true or false' })
      .default(true)
      .describe('Browsers come back with TLS alone (RFC 6797)'),
    body_megabytes: whole(1024, 1, 1_048_576, 'megabytes').describe(
      'Longest body of a request that says how long it is',
    ),
    timeout_seconds: whole(300, 5, 86_400, 'seconds').describe(
      'Without a word of the service until it is given up; WebSockets have an hour',
    ),
    connections: whole(200, 1, 1000, 'connections').describe('To the service at a time'),
    ca: z
      .string()
      .superRefine(refuseUnlessCertificates)
      .optional()
      .describe(
        'Certificates (PEM) of authorities that the service is trusted by, if `to` is https',
      ),
    verify: z
      .boolean({ error: 'must be true or false' })
      .default(true)
      .describe(
        "False: the service's own certificate is not looked at; for https://127.0.0.1 alone",
      ),
  })
  .superRefine((service, context) => {
    const to = targetOf(service.to);
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    if (!service.verify && to && !isLoopback(to.address))
      refuse('verify', 'may be false for a service on the gateway itself alone; give its `ca`');
    if (service.ca !== undefined && !to?.tls)
      refuse('ca', 'has no use: the service is reached by http');
  });
export type ProxyService = z.output<typeof proxyService>;

const acme = z
  .strictObject({
    directory: z
      .url({ protocol: /^https$/, error: 'must be an address that begins with https://' })
      .default('https://acme-v02.api.letsencrypt.org/directory')
      .describe('The CA, by RFC 8555'),
    staging: z
      .boolean({ error: 'must be true or false' })
      .default(false)
      .describe("Let's Encrypt's CA for tries, which no browser trusts and which has wide limits"),
    email: z
      .email('must be an e-mail address, e.g. you@example.org')
      .optional()
      .describe('Where the CA may write to'),
    terms_agreed: z
      .boolean({ error: 'must be true: see the terms of the CA' })
      .default(false)
      .describe("You agree to the CA's terms of service; without it nothing is asked of it"),
    wait_seconds: whole(30, 0, 600, 'seconds').describe(
      'From the record in DNS until the CA is told to look',
    ),
  })
  .optional()
  .describe('Certificates of a public CA, proven in DNS through your dynamic DNS provider');

export const proxySettings = z.strictObject({
  dashboard: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe("The dashboard at https://NAME.home.arpa/ (NAME is the device's), without a port"),
  services: z
    .record(serviceName, proxyService)
    .refine((all) => Object.keys(all).length <= 100, 'must be at most 100 services')
    .default({})
    .describe('Services by name: NAME is found at https://NAME.home.arpa/'),
  acme,
});
export type ProxySettings = z.output<typeof proxySettings>;
export type AcmeSettings = NonNullable<ProxySettings['acme']>;
