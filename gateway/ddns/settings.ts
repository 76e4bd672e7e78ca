import * as z from 'zod';
import { fqdn, ipv4, ipv6, port } from '../../builder/config/fields.ts';
import { refuseUnlessCertificates } from '../certificates.ts';

/** What first boot accepts as `ddns:` of gateway-device.yaml, and the service as /etc/pi-gateway/ddns.yaml. */

/** A token or password: it goes into headers and URLs, so no line breaks, and it is no placeholder. */
function secret(what: string, example: string) {
  const message = `must be ${what}, e.g. ${example}`;
  return z
    .string({ error: message })
    .min(4, `${message}; this is too short`)
    .max(256, `${message}; this is longer than 256 characters`)
    .regex(/^[\x21-\x7e]+$/, `${message}: printable ASCII without spaces`);
}

/** RFC 7617 §2: no colon, as it ends the name. */
function login(what: string, example: string) {
  const message = `must be ${what}, e.g. ${example}: printable ASCII without spaces and colons`;
  return z
    .string({ error: message })
    .max(256, message)
    .regex(/^[\x21-\x39\x3b-\x7e]+$/, message);
}

const hostnames = z
  .array(fqdn, { error: 'must be a list of host names, e.g. [attic.example.org]' })
  .min(1, 'must name at least one host, e.g. [attic.example.org]')
  .max(20, 'must be at most 20 host names');

const httpsUrl = z
  .string({ error: 'must be an https URL, e.g. https://ddns.example.org' })
  .max(2048, 'must be an https URL, e.g. https://ddns.example.org')
  .refine((text) => {
    if (!URL.canParse(text)) return false;
    const { protocol, username, password, search, hash } = new URL(text);
    return protocol === 'https:' && [username, password, search, hash].every((part) => part === '');
  }, 'must be an https URL without user, password or query, e.g. https://ddns.example.org');

const certificate = z.string().superRefine(refuseUnlessCertificates);

const ca = certificate
  .optional()
  .describe("Certificates to trust for this server besides the system's");

const server = httpsUrl.optional().describe("Another server that speaks the provider's protocol");

/** RFC 1035 names, as TSIG keys have (RFC 8945); the dot at the end may be left out. */
const keyName = z
  .string()
  .regex(/^[A-Za-z0-9]([A-Za-z0-9_.-]{0,253})$/, "must be the key's name, e.g. attic-key");

const base64 = secret("the key's secret in base64", 'bWFkZSBieSB0c2lnLWtleWdlbg==').regex(
  /^[A-Za-z0-9+/]+={0,2}$/,
  "must be the key's secret in base64, as tsig-keygen prints it",
);

const duckdns = z.strictObject({
  type: z.literal('duckdns'),
  hostnames: z
    .array(
      fqdn.regex(
        /^[^.]+\.duckdns\.org$/,
        'must be a name below duckdns.org, e.g. attic.duckdns.org',
      ),
      { error: 'must be a list of host names, e.g. [attic.duckdns.org]' },
    )
    .min(1, 'must name at least one host, e.g. [attic.duckdns.org]')
    .max(20, 'must be at most 20 host names'),
  token: secret('the token that duckdns.org shows', '00000000-0000-4000-8000-000000000000'),
  server,
  ca,
});

const noip = z.strictObject({
  type: z.literal('noip'),
  hostnames,
  username: login("the user name of the name's DDNS key", 'abc1234'),
  password: secret("the password of the name's DDNS key", 'x9…'),
  contact: z
    .email('must be an e-mail address, e.g. you@example.org')
    .optional()
    .describe('Who No-IP may write to when the client misbehaves'),
  server,
  ca,
});

/** Every host name is the zone or lies in it. */
function inZone(
  value: { hostnames: readonly string[]; zone: string },
  context: z.RefinementCtx,
): void {
  for (const [index, name] of value.hostnames.entries())
    if (name !== value.zone && !name.endsWith(`.${value.zone}`))
      context.addIssue({
        code: 'custom',
        path: ['hostnames', index],
        message: `must be ${value.zone} or end in .${value.zone}`,
      });
}

const cloudflare = z
  .strictObject({
    type: z.literal('cloudflare'),
    zone: fqdn.describe('The zone in your account, e.g. example.org'),
    hostnames,
    token: secret('an API token with Zone.DNS edit and Zone read', 'v1.0-…'),
    server,
    ca,
  })
  .superRefine(inZone);

const freedns = z
  .strictObject({
    type: z.literal('freedns'),
    hostnames,
    token4: secret("the token of the A record's update URL (v2)", 'Zm9v…').optional(),
    token6: secret("the token of the AAAA record's update URL (v2)", 'Zm9v…').optional(),
    username: login('the user name at afraid.org (v1)', 'attic').optional(),
    password: secret('the password at afraid.org (v1)', 'x9…').optional(),
    server,
    ca,
  })
  .superRefine((value, context) => {
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    const two = value.token4 !== undefined || value.token6 !== undefined;
    const one = value.username !== undefined || value.password !== undefined;
    if (two && one)
      return refuse('token4', 'stands beside a user name: give tokens or user and password');
    if (!two && (value.username === undefined || value.password === undefined))
      return refuse('token4', 'is missing: give token4 and/or token6, or username and password');
    if (two && value.hostnames.length > 1)
      refuse('hostnames', 'must be one name: a token of FreeDNS belongs to one record');
  });

const namecheap = z
  .strictObject({
    type: z.literal('namecheap'),
    zone: fqdn.describe('The domain at Namecheap, e.g. example.org'),
    hostnames,
    password: secret("the domain's Dynamic DNS password", '0123456789abcdef0123456789abcdef'),
    server,
    ca,
  })
  .superRefine(inZone);

const dyndns2 = z.strictObject({
  type: z.literal('dyndns2'),
  server: httpsUrl.describe('Where updates go; without a path /nic/update is taken'),
  hostnames,
  username: login('the user name', 'attic'),
  password: secret('the password', 'x9…'),
  ipv6_parameter: z
    .enum(['myip', 'myipv6'], { error: 'must be myip or myipv6' })
    .default('myip')
    .describe('The name under which the server takes an IPv6 address'),
  ca,
});

const rfc2136 = z
  .strictObject({
    type: z.literal('rfc2136'),
    server: z
      .union([ipv4, ipv6, fqdn], {
        error: "must be the primary server's name or address, e.g. ns1.example.org",
      })
      .describe("The zone's primary name server"),
    port: port.default(53),
    zone: fqdn,
    hostnames,
    ttl: z
      .number({ error: 'must be seconds, e.g. 300' })
      .int('must be whole seconds, e.g. 300')
      .min(30, 'must be 30 to 86400 seconds')
      .max(86_400, 'must be 30 to 86400 seconds')
      .default(300),
    key: z.strictObject({
      name: keyName,
      secret: base64,
      algorithm: z
        .enum(['hmac-sha224', 'hmac-sha256', 'hmac-sha384', 'hmac-sha512'], {
          error: 'must be hmac-sha224, hmac-sha256, hmac-sha384 or hmac-sha512',
        })
        .default('hmac-sha256'),
    }),
  })
  .superRefine(inZone);

const provider = z.discriminatedUnion(
  'type',
  [duckdns, noip, cloudflare, freedns, namecheap, dyndns2, rfc2136],
  {
    error:
      'must have a type: duckdns, noip, cloudflare, freedns, namecheap, dyndns2 or rfc2136, e.g. {type: duckdns, …}',
  },
);

/** Address of a DNS server and, if it is not 53, its port, as node:dns takes it. */
const dnsServer = z.union(
  [
    ipv4,
    ipv6,
    z.string().regex(/^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}$/i, 'must be address:port'),
  ],
  { error: 'must be an address of a DNS server, e.g. 9.9.9.9 or [2620:fe::fe]:53' },
);

const endpoint = z
  .string({ error: 'must be host:port, e.g. stun.example.org:3478' })
  .regex(
    /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:]+\]):[1-9]\d{0,4}$/i,
    'must be host:port, e.g. stun.example.org:3478',
  )
  .refine((text) => Number(text.slice(text.lastIndexOf(':') + 1)) < 65_536, {
    error: 'must have a port from 1 to 65535',
  });

/** An interval with its unit in the key's name. */
function interval(usual: number, least: number, most: number, unit: string) {
  return z
    .number({ error: `must be ${unit}, e.g. ${usual}` })
    .min(least, `must be at least ${least} ${unit}`)
    .max(most, `must be at most ${most} ${unit}`)
    .default(usual);
}

const family = z.union([z.literal(4), z.literal(6)], { error: 'must be 4 or 6' });

const address = z
  .strictObject({
    families: z
      .array(family, { error: 'must be [4], [6] or [4, 6]' })
      .min(1, 'must be [4], [6] or [4, 6]')
      .max(2, 'must be [4], [6] or [4, 6]')
      .default([4, 6])
      .describe('IPv4 (A record), IPv6 (AAAA record)'),
    interface: z
      .boolean({ error: 'must be true or false' })
      .default(true)
      .describe("Ask the device's own network interfaces"),
    stun: z
      .array(endpoint, { error: 'must be a list of STUN servers, e.g. [stun.example.org:3478]' })
      .max(8, 'must be at most 8 servers')
      .default(['stun.cloudflare.com:3478', 'stun.l.google.com:19302'])
      .describe('STUN servers (RFC 8489); [] turns the method off'),
    dns: z
      .array(
        z.strictObject({
          name: fqdn.describe('A name that the server answers with the address of who asks'),
          type: z.enum(['address', 'TXT'], { error: 'must be address (A, AAAA) or TXT' }),
          server4: dnsServer.optional(),
          server6: dnsServer.optional(),
        }),
        { error: 'must be a list of {name, type, server4, server6}' },
      )
      .max(8, 'must be at most 8 services')
      .default([
        {
          name: 'myip.opendns.com',
          type: 'address',
          server4: '208.67.222.222',
          server6: '2620:119:35::35',
        },
        {
          name: 'o-o.myaddr.l.google.com',
          type: 'TXT',
          server4: '216.239.32.10',
          server6: '2001:4860:4802:32::a',
        },
      ])
      .describe('DNS servers that tell the address of who asks; [] turns the method off'),
    https: z
      .array(httpsUrl, { error: 'must be a list of https URLs' })
      .max(8, 'must be at most 8 URLs')
      .default(['https://api64.ipify.org/', 'https://ident.me/', 'https://checkip.amazonaws.com/'])
      .describe('Pages that hold the address of who asks, and nothing else; [] turns it off'),
    ca,
    quorum: z
      .number({ error: 'must be a number of services, e.g. 2' })
      .int('must be a whole number, e.g. 2')
      .min(1, 'must be 1 to 5')
      .max(5, 'must be 1 to 5')
      .default(2)
      .describe('How many independent operators must name the same address'),
  })
  .prefault({});

const timings = z
  .strictObject({
    refresh_days: interval(25, 1, 365, 'days').describe(
      'An unchanged address is sent again, so that the provider keeps the name',
    ),
    fallback_minutes: interval(15, 1, 1440, 'minutes').describe(
      'A provider that fails for so long is replaced by the next',
    ),
    fallback_failures: interval(3, 1, 20, 'failures').describe('… or so often in a row'),
    retry_minutes: interval(2, 0.5, 60, 'minutes').describe(
      'After a first failure; doubled at each further one',
    ),
    retry_max_minutes: interval(60, 5, 1440, 'minutes').describe('… up to this'),
    clear_minutes: interval(30, 5, 1440, 'minutes').describe(
      'A family that is gone for so long has its record cleared, where the protocol can',
    ),
    timeout_seconds: interval(15, 1, 60, 'seconds').describe('For each request'),
  })
  .prefault({});

export const ddnsSettings = z.strictObject({
  providers: z
    .array(provider, { error: 'must be a list of providers, e.g. [{type: duckdns, …}]' })
    .min(1, 'must have at least one provider')
    .max(10, 'must be at most 10 providers')
    .describe('In the order of fall-back: the next is taken while the one before it is down'),
  address,
  timings,
});

export type DdnsSettings = z.output<typeof ddnsSettings>;
export type ProviderSettings = DdnsSettings['providers'][number];
export type SettingsOf<Type extends ProviderSettings['type']> = Extract<
  ProviderSettings,
  { type: Type }
>;
export type AddressSettings = DdnsSettings['address'];
export type Timings = DdnsSettings['timings'];

/**
 * The settings with what the owner chose alone: what is usual today may be another tomorrow, e.g. the
 * servers that tell the address, and a new version then brings it.
 */
export function withoutDefaults(settings: DdnsSettings): z.input<typeof ddnsSettings> {
  const usual = ddnsSettings.parse({ providers: settings.providers });
  const own = <Section extends object>(section: Section, usually: Section) =>
    Object.fromEntries(
      Object.entries(section).filter(
        ([key, value]) => JSON.stringify(value) !== JSON.stringify(usually[key as keyof Section]),
      ),
    );
  return {
    providers: settings.providers,
    address: own(settings.address, usual.address),
    timings: own(settings.timings, usual.timings),
  };
}

/** Keys of the settings whose values are secrets. */
const secretKeys = new Set(['token', 'token4', 'token6', 'password', 'secret']);

/** Every secret of the settings, for redaction. */
export function secretsOf(settings: unknown): string[] {
  if (typeof settings !== 'object' || settings === null) return [];
  return Object.entries(settings).flatMap(([key, value]) =>
    secretKeys.has(key) && typeof value === 'string' ? [value] : secretsOf(value),
  );
}

/** The settings without their secrets. */
export function withoutSecrets(settings: unknown): unknown {
  if (Array.isArray(settings)) return settings.map(withoutSecrets);
  if (typeof settings !== 'object' || settings === null) return settings;
  return Object.fromEntries(
    Object.entries(settings)
      .filter(([key]) => !secretKeys.has(key))
      .map(([key, value]) => [key, withoutSecrets(value)]),
  );
}
