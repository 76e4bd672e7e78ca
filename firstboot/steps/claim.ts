import { randomBytes, timingSafeEqual } from 'node:crypto';
import { scryptAsync } from '../scrypt.ts';
import type { Step } from '../step.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../system.ts';

export const claimFolder = '/var/lib/pi-gateway/claim';
export const codePath = `${claimFolder}/code`;
export const hashPath = `${claimFolder}/hash`;

/** Crockford's base32: no I, L, O and U, which are read wrong (crockford.com/base32.html). */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/**
 * Work of one guess: scrypt (RFC 7914) with 4 MiB. The code's 80 random bits cannot be tried out without it
 * either, so it is less than a password would need.
 */
const cost = { ln: 12, r: 8, p: 1 } as const;

/**
 * Who has this code may make the first account of the gateway's own interfaces: no default password, and
 * the first visitor is not the owner. Once it is used the file `code` goes, and `hash` stays.
 */
export const claim: Step<Claim | undefined> = {
  name: 'claim-code',
  needs: ['entropy'],
  begin: async (system) => {
    if ((await readIfThere(at(system, hashPath))) !== undefined) return undefined;
    return await newClaim(await readIfThere(at(system, codePath)));
  },
  check: async (system) => {
    const hash = (await readIfThere(at(system, hashPath))) ?? '';
    if (!isHash(hash)) return false;
    const code = await readIfThere(at(system, codePath));
    return code === undefined || (await isClaimCode(code, hash));
  },
  apply: async (system, begun) => {
    await makeFolder(at(system, claimFolder), 0o700);
    const there = await readIfThere(at(system, codePath));
    const { code, hash } = begun ?? (await newClaim(there));
    // The code is the first on disk: a hash that is lost or torn is made anew of the same code.
    if (there !== code) await writeDurably(at(system, codePath), code, 0o600);
    await writeDurably(at(system, hashPath), hash, 0o600);
  },
};

/** The content of both files. */
type Claim = { code: string; hash: string };

/** @param there the code that was made before, if it is one. */
async function newClaim(there = ''): Promise<Claim> {
  const code = isCode(there.trim()) ? there.trim() : newCode(randomBytes(10));
  return { code: `${code}\n`, hash: `${await hashOf(code)}\n` };
}

/** The code as shown to the owner; undefined once it is used, or before it is made. */
export async function claimCode(system: System): Promise<string | undefined> {
  const code = (await readIfThere(at(system, codePath)))?.trim();
  return code !== undefined && isCode(code) ? code : undefined;
}

/**
 * True if the code is the one of the hash (file `hash`). Small letters, missing hyphens, and o, i and l
 * for 0, 1 and 1 are forgiven.
 */
export async function isClaimCode(given: string, hash: string): Promise<boolean> {
  const match = hashForm.exec(hash.trim());
  if (!match) return false;
  const [, ln, r, p, salt = '', wanted = ''] = match;
  const made = await derive(plain(given), Buffer.from(salt, 'base64url'), {
    ln: Number(ln),
    r: Number(r),
    p: Number(p),
  });
  return timingSafeEqual(made, Buffer.from(wanted, 'base64url'));
}

/** Ten bytes as XXXX-XXXX-XXXX-XXXX. */
export function newCode(bytes: Uint8Array): string {
  let bits = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  let text = '';
  for (let i = 0; i < 16; i += 1) {
    text = (alphabet[Number(bits & 31n)] ?? '') + text;
    bits >>= 5n;
  }
  return text.replace(/(.{4})(?=.)/g, '$1-');
}

function isCode(text: string): boolean {
  return /^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$/.test(text);
}

function plain(code: string): string {
  return code.toUpperCase().replace(/[\s-]/g, '').replaceAll('O', '0').replace(/[IL]/g, '1');
}

/** PHC string format: 16 bytes of salt, 32 of the key, base64url. */
const hashForm =
  /^\$scrypt\$ln=(1[0-9]),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9_-]{22})\$([A-Za-z0-9_-]{43})$/;

function isHash(text: string): boolean {
  return hashForm.test(text.trim());
}

async function hashOf(code: string): Promise<string> {
  const salt = randomBytes(16);
  const key = await derive(plain(code), salt, cost);
  return `$scrypt$ln=${cost.ln},r=${cost.r},p=${cost.p}$${salt.toString('base64url')}$${key.toString('base64url')}`;
}

async function derive(
  text: string,
  salt: Uint8Array,
  { ln, r, p }: { ln: number; r: number; p: number },
): Promise<Buffer> {
  const N = 2 ** ln;
  // RFC 7914 §2: 128·N·r bytes; OpenSSL refuses without some more.
  return await scryptAsync(text, salt, 32, { N, r, p, maxmem: 256 * N * r });
}
