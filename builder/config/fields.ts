import * as z from 'zod';
import { zones as zoneNames } from '../../stages/define.ts';

/** Fields that stages share; each says in its message what a right value looks like. */

export const port = z
  .number({ error: 'must be a port number, e.g. 51820' })
  .int('must be a whole port number, e.g. 51820')
  .min(1, 'must be a port from 1 to 65535')
  .max(65535, 'must be a port from 1 to 65535');

/** RFC 1123, one label. */
export const hostname = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be a host name: 1 to 63 of a-z, 0-9 and -, no - at either end, e.g. pi-gateway',
  );

/** RFC 1123 and 1035: labels of 63, 253 in all. */
export const fqdn = z
  .string()
  .max(253, 'must be a domain name of at most 253 characters')
  .regex(
    /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'must be a domain name, e.g. gateway.example.org',
  );

function parseIpv4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (
    parts.length !== 4 ||
    !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)
  )
    return undefined;
  return parts.map(Number);
}

/** Eight 16-bit groups of an IPv6 address (RFC 4291), or undefined. */
function parseIpv6(text: string): number[] | undefined {
  if (!/^[0-9a-f:]+$/i.test(text) || /:::/.test(text)) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = (half: string) => (half === '' ? [] : half.split(':'));
  const [left = [], right = []] = halves.map(groups);
  const missing = 8 - left.length - right.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const all = [...left, ...Array<string>(halves.length === 2 ? missing : 0).fill('0'), ...right];
  if (!all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return all.map((group) => Number.parseInt(group, 16));
}

function formatIpv6(groups: readonly number[]): string {
  const url = new URL(`http://[${groups.map((group) => group.toString(16)).join(':')}]`);
  return url.hostname.slice(1, -1);
}

export const ipv4 = z
  .string()
  .refine((text) => parseIpv4(text) !== undefined, 'must be an IPv4 address, e.g. 192.168.1.1');

export const ipv6 = z
  .string()
  .refine((text) => parseIpv6(text) !== undefined, 'must be an IPv6 address, e.g. fd00::1');

export type Network = { bytes: number[]; bits: number; family: 4 | 6 };

/** Address bytes and prefix length of a CIDR; undefined if it is none. Host bits are kept. */
export function parseCidr(text: string): Network | undefined {
  const [address = '', prefix = '', more] = text.split('/');
  if (more !== undefined || !/^(0|[1-9]\d{0,2})$/.test(prefix)) return undefined;
  const bits = Number(prefix);
  const four = parseIpv4(address);
  if (four) return bits <= 32 ? { bytes: four, bits, family: 4 } : undefined;
  const six = parseIpv6(address);
  if (!six || bits > 128) return undefined;
  return { bytes: six.flatMap((group) => [group >> 8, group & 255]), bits, family: 6 };
}

function masked(network: Network): number[] {
  return network.bytes.map((byte, index) => {
    const kept = Math.min(8, Math.max(0, network.bits - index * 8));
    return byte & (0xff << (8 - kept)) & 0xff;
  });
}

function formatNetwork(network: Network): string {
  const bytes = masked(network);
  if (network.family === 4) return `${bytes.join('.')}/${network.bits}`;
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0),
  );
  return `${formatIpv6(groups)}/${network.bits}`;
}

/** The network that an address with prefix (10.0.0.1/24) lies in: 10.0.0.0/24. */
export function networkOf(address: string): string {
  const network = parseCidr(address);
  if (!network) throw new Error(`no address with prefix: ${address}`);
  return formatNetwork(network);
}

/** True if one of the networks holds the other; a plain address counts as a network of its own. */
export function networksOverlap(a: string, b: string): boolean {
  const one = parseCidr(asNetwork(a));
  const two = parseCidr(asNetwork(b));
  if (!one || !two || one.family !== two.family) return false;
  const bits = Math.min(one.bits, two.bits);
  return formatNetwork({ ...one, bits }) === formatNetwork({ ...two, bits });
}

function asNetwork(text: string): string {
  if (text.includes('/')) return text;
  return `${text}/${text.includes(':') ? 128 : 32}`;
}

/** The address at `offset` in the network, without prefix length: 1 is the gateway's own by habit. */
export function addressIn(cidr: string, offset: number): string {
  const network = parseCidr(cidr);
  if (!network) throw new Error(`no network: ${cidr}`);
  const bytes = masked(network);
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) + offset;
  return (
    formatNetwork({ bytes, bits: bytes.length * 8, family: network.family }).split('/')[0] ?? ''
  );
}

function cidrOf(families: readonly (4 | 6)[], example: string) {
  return z.string().superRefine((text, context) => {
    const network = parseCidr(text);
    if (!network || !families.includes(network.family)) {
      context.addIssue({
        code: 'custom',
        message: `must be a network in CIDR notation, e.g. ${example}`,
      });
      return;
    }
    if (masked(network).some((byte, index) => byte !== network.bytes[index]))
      context.addIssue({
        code: 'custom',
        message: `has host bits set; the network is ${formatNetwork(network)}`,
      });
  });
}

export const cidr4 = cidrOf([4], '10.66.0.0/24');
export const cidr6 = cidrOf([6], 'fd66::/64');
export const cidr = cidrOf([4, 6], '10.66.0.0/24 or fd66::/64');

/** An address of a machine with its network's prefix, as ip-address(8) takes it. */
function interfaceAddressOf(family: 4 | 6, example: string) {
  return z.string().superRefine((text, context) => {
    const refuse = (message: string) => context.addIssue({ code: 'custom', message });
    const network = parseCidr(text);
    if (network?.family !== family)
      return refuse(`must be an address with its prefix, e.g. ${example}`);
    const spare = network.bytes.length * 8 - network.bits;
    if (spare < 2) return refuse(`leaves no room for others; take e.g. ${example}`);
    const net = masked(network);
    if (network.bytes.every((byte, index) => byte === net[index]))
      return refuse(
        `is the network itself; the gateway's address may be ${addressIn(text, 1)}/${network.bits}`,
      );
    // IPv6 has no broadcast address.
    const host = network.bytes.map((byte, index) => byte - (net[index] ?? 0));
    const ones = host.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0);
    if (family === 4 && ones === spare)
      refuse(
        `is the broadcast address of its network; the gateway's may be ${addressIn(text, 1)}/${network.bits}`,
      );
  });
}

export const interfaceAddress4 = interfaceAddressOf(4, '192.168.10.1/24');
export const interfaceAddress6 = interfaceAddressOf(6, 'fd10::1/64');

/** A network interface, at most 15 characters (IFNAMSIZ), or the start of one's name and `*`. */
export const interfaceName = z
  .string()
  .regex(
    /^(?=.{1,15}$)[A-Za-z0-9][A-Za-z0-9_.-]*\*?$/,
    'must be a network interface, e.g. eth1, or the start of a name and *, e.g. podman*',
  );

export const zone = z.enum(zoneNames, { error: `must be a zone: ${zoneNames.join(', ')}` });

const units: Record<string, number> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** Bytes, from `256M` (powers of 1024) or a number. */
export const byteSize = z
  .union([z.number().int().nonnegative(), z.string()], { error: 'must be a size, e.g. 256M or 1G' })
  .transform((value, context) => {
    const match = /^(\d+)\s*([KMG]?)i?B?$/i.exec(String(value));
    if (!match) {
      context.addIssue({ code: 'custom', message: 'must be a size, e.g. 256M or 1G' });
      return z.NEVER;
    }
    return Number(match[1]) * (units[(match[2] ?? '').toUpperCase()] ?? 1);
  });

/** Names without a slash that are more than an abbreviation. */
const plainTimeZones = new Set(['UTC', 'GMT']);

/**
 * A name of the tz database. Intl takes it in any case of letters, which files in /usr/share/zoneinfo do
 * not. (Its list has one name of each zone, and not always today's: Asia/Calcutta, not Asia/Kolkata.)
 */
function isTimeZone(text: string): boolean {
  if (plainTimeZones.has(text)) return true;
  if (!/^[A-Z][A-Za-z]*(\/[A-Z][A-Za-z0-9_+-]*)+$/.test(text)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    return true;
  } catch {
    return false;
  }
}

export const timeZone = z
  .string()
  .refine(isTimeZone, 'must be a time zone of the tz database, e.g. Europe/Berlin or UTC');

export const locale = z
  .string()
  .regex(
    /^(C|[a-z]{2,3}(_[A-Z]{2})?)\.UTF-8$/,
    'must be a UTF-8 locale, e.g. C.UTF-8 or en_GB.UTF-8',
  );

/** useradd(8)'s default name rule. */
export const unixName = z
  .string()
  .regex(
    /^[a-z_][a-z0-9_-]{0,31}$/,
    'must be a user name: a-z, 0-9, _ and -, at most 32, starting with a letter',
  );

const keyTypes = new Set([
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
]);

/** Says what is wrong with a public key line (sshd(8), AUTHORIZED_KEYS FILE FORMAT); undefined if nothing. */
export function publicKeyProblem(text: string): string | undefined {
  if (/PRIVATE KEY/.test(text))
    return 'is a PRIVATE key: keep it secret, replace it, and give the public one (the .pub file)';
  const [type = '', blob = ''] = text.trim().split(/\s+/);
  const example = 'must be a public SSH key, e.g. ssh-ed25519 AAAA… you@laptop';
  if (!keyTypes.has(type)) return example;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(blob)) return example;
  // RFC 4253 §6.6: the blob starts with the length and name of the same key type.
  const bytes = Buffer.from(blob, 'base64');
  if (bytes.length < 4 + type.length + 32)
    return 'is cut short: copy the whole line of the .pub file';
  const length = bytes.readUInt32BE(0);
  if (bytes.subarray(4, 4 + length).toString('latin1') !== type)
    return `is damaged: its data is not of type ${type}; copy the whole line of the .pub file`;
  if (/[\r\n]/.test(text.trim())) return 'must be one line';
  return undefined;
}

export const sshPublicKey = z.string().superRefine((text, context) => {
  const problem = publicKeyProblem(text);
  if (problem) context.addIssue({ code: 'custom', message: problem });
});
