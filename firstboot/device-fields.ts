import * as z from 'zod';
import {
  fqdn,
  hostname,
  interfaceAddress4,
  interfaceAddress6,
  ipv4,
  ipv6,
  networksOverlap,
  unixName,
} from '../builder/config/fields.ts';

/**
 * Fields of gateway-device.yaml beyond those that the image's configuration has, too. No message
 * repeats the value: it may be a secret, and messages end up on the console and on the boot partition.
 */

export const deviceName = hostname.refine(
  (name) => name !== 'localhost',
  'is the name that every machine has for itself; take another, e.g. attic-gateway',
);

/** Accounts of Debian's base-passwd, and root. */
const systemAccounts = new Set(
  'root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc nobody'.split(
    ' ',
  ),
);

export const adminName = unixName.refine(
  (name) => !systemAccounts.has(name) && !/^(_|systemd-)/.test(name),
  "is an account of the system's own; take another, e.g. gateway",
);

/** Hashes of crypt(5) that are hard to guess from, each with the shape that its section gives. */
const strongHashes = [
  /^\$y\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}$/, // yescrypt
  /^\$gy\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}$/, // gost-yescrypt
  /^\$6\$(rounds=[1-9]\d{3,8}\$)?[!-#%-9;-~]{1,16}\$[./0-9A-Za-z]{86}$/, // sha512crypt
  /^\$5\$(rounds=[1-9]\d{3,8}\$)?[!-#%-9;-~]{1,16}\$[./0-9A-Za-z]{43}$/, // sha256crypt
  /^\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}$/, // bcrypt; $2x$ is of a program with an error
];

const howToHash = 'make one with `openssl passwd -6` or `mkpasswd`, which ask for the password';

/** Says why a text is no hash that a password of the admin may have; undefined if it is one. */
export function passwordHashProblem(text: string): string | undefined {
  if (strongHashes.some((shape) => shape.test(text))) return undefined;
  if (/^\$(y|gy|6|5|2[aby])\$/.test(text))
    return `is a damaged hash: copy the whole line, or ${howToHash}`;
  if (/^\$(1|md5|3|sha1|2x)[$,]/.test(text))
    return `is a weak hash (MD5, SHA-1, NT or a faulty bcrypt); ${howToHash}`;
  if (/^([./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19})$/.test(text))
    return `is a DES hash, which is weak, or a password in clear; ${howToHash}`;
  if (/^[!*]/.test(text)) return 'locks the password; without this line there is none anyway';
  return `must be the hash of a password, never the password itself; ${howToHash}`;
}

function checked(problem: (text: string) => string | undefined) {
  return z.string().superRefine((text, context) => {
    const message = problem(text);
    if (message) context.addIssue({ code: 'custom', message });
  });
}

export const passwordHash = checked(passwordHashProblem);

/** XKBLAYOUT of keyboard(5): up to 4 layouts of xkeyboard-config(7), comma-separated. */
export const keyboardLayout = z
  .string()
  .regex(
    /^[a-z][a-z0-9_]{1,15}(,[a-z][a-z0-9_]{1,15}){0,3}$/,
    'must be a keyboard layout by its XKB name, e.g. us, gb, de or us,de',
  );

/** XKBVARIANT of keyboard(5): one for each layout, which may be empty. */
export const keyboardVariant = z
  .string()
  .regex(
    /^(?=.)[A-Za-z0-9_-]{0,32}(,[A-Za-z0-9_-]{0,32}){0,3}$/,
    'must be a variant of the layout by its XKB name, e.g. nodeadkeys or dvorak',
  );

/** Networks whose addresses no interface of a gateway can have: RFC 6890, RFC 4291. */
const special = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '::/128', '::1/128', 'ff00::/8'];

const isSpecial = (address: string) =>
  special.some((network) => networksOverlap(address.split('/')[0] ?? '', network));

/** An address with prefix, of either family. */
export const interfaceAddress = checked((text) => {
  const family = text.includes(':') ? interfaceAddress6 : interfaceAddress4;
  const result = family.safeParse(text);
  if (!result.success) return result.error.issues[0]?.message;
  return isSpecial(text)
    ? 'is loopback, multicast or reserved; take an address of your network, e.g. 192.168.1.10/24'
    : undefined;
});

/** The address of another machine. */
export const hostAddress = checked((text) => {
  if (!ipv4.safeParse(text).success && !ipv6.safeParse(text).success)
    return text.includes('/')
      ? 'must be without a prefix (/…), e.g. 192.168.1.1 or fd00::1'
      : 'must be an IPv4 or IPv6 address, e.g. 192.168.1.1 or fd00::1';
  return isSpecial(text)
    ? 'is loopback, multicast or reserved; give the address of a machine, e.g. 192.168.1.1'
    : undefined;
});

const regions = new Intl.DisplayNames('en', { type: 'region', fallback: 'none' });
/** Two letters that name regions in CLDR, and no country in ISO 3166-1. */
const noCountries = new Set([
  'EU',
  'EZ',
  'UN',
  'ZZ',
  'QO',
  'XA',
  'XB',
  'AC',
  'CP',
  'DG',
  'EA',
  'IC',
  'TA',
]);

/** ISO 3166-1 alpha-2: what the regulatory database (regulatory.bin(5)) goes by. */
export const country = checked((text) => {
  const example = 'must be a country as two capital letters (ISO 3166-1), e.g. DE, GB or US';
  if (!/^[A-Z]{2}$/.test(text)) return example;
  const region = new Intl.Locale(`und-${text}`).region;
  // CLDR follows names that have changed: the United Kingdom is GB, and DD is DE now.
  if (region && region !== text) return `is not in ISO 3166-1 (any more); it may be ${region}`;
  return noCountries.has(text) || !regions.of(text) ? example : undefined;
});

/** IEEE 802.11: 1 to 32 octets. */
export const ssid = checked((text) => {
  const bytes = Buffer.byteLength(text);
  if (bytes < 1 || bytes > 32)
    return `must be the name of a Wi-Fi network, 1 to 32 bytes; this one has ${bytes}`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(text)) return 'must not contain control characters';
  return undefined;
});

/** IEEE 802.11 annex J.4: a passphrase of 8 to 63 printable ASCII characters, or the key of 256 bit. */
export const wifiPassword = checked((text) =>
  /^([ -~]{8,63}|[0-9a-fA-F]{64})$/.test(text)
    ? undefined
    : 'must be the WPA passphrase of 8 to 63 characters of ASCII, or 64 hex digits; none for an open network',
);

/** Where clients find the gateway; the port is the image's. */
export const endpoint = checked((text) => {
  if (ipv4.safeParse(text).success || ipv6.safeParse(text).success)
    return isSpecial(text) ? 'must be an address that clients can reach' : undefined;
  if (/^(\[.*\]|[^:]*):\d+$/.test(text))
    return "must be without a port: the image's own is used (stages.wireguard.port)";
  const last = text.split('.').at(-1) ?? '';
  // A last label of digits is a mistyped address to every resolver (URL standard, "ends in a number").
  const isName =
    !/^\d+$/.test(last) && (fqdn.safeParse(text).success || hostname.safeParse(text).success);
  return isName
    ? undefined
    : 'must be a host name in lower case or an address, e.g. gateway.example.org or 203.0.113.7';
});

/** What YAML 1.1 took for false, and YAML 1.2 takes for a name. */
const noNames = new Set(['no', 'off', 'none', 'false', 'null', 'yes', 'on', 'true']);

export const peerName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/,
    'must be the name of a client: 1 to 32 of a-z, 0-9 and -, e.g. phone; or false for none',
  )
  .refine((name) => !noNames.has(name), 'must be a name, e.g. phone; or false, in full, for none');
