import { randomBytes, timingSafeEqual } from 'node:crypto';
import { scryptAsync } from '../../../firstboot/scrypt.ts';
import { GatewayError } from '../../errors.ts';

/** Cost of one hash; `ln` is the logarithm of scrypt's N. */
export type Cost = { ln: number; r: number; p: number };

/**
 * The variant of OWASP's Password Storage Cheat Sheet with the least memory (N=2^14, r=8, p=5): 16 MiB, of
 * which a Pi with 512 MiB can spare one at a time. The others of that list cost an attacker as much.
 */
export const usualCost: Cost = { ln: 14, r: 8, p: 5 };

/** PHC string format: 16 bytes of salt, 32 of the key, base64url. */
const form =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9_-]{22})\$([A-Za-z0-9_-]{43})$/;

/** Hashes one password after the other: two at once would need twice the memory. */
export class PasswordHasher {
  readonly #cost: Cost;
  readonly #longest: number;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();
  /** Of no password; compared with where there is no account, so that the time tells nothing. */
  readonly #nobody: string;

  /** @param longest how many may wait: at a fifth of a second each, 16 are some seconds on a Pi. */
  constructor(cost: Cost = usualCost, longest = 16) {
    this.#cost = cost;
    this.#longest = longest;
    this.#nobody = phc(cost, randomBytes(16), randomBytes(32));
  }

  /** @throws BusyError when too many wait already. */
  async hash(password: string): Promise<string> {
    const salt = randomBytes(16);
    return phc(this.#cost, salt, await this.#derive(password, salt, this.#cost));
  }

  /**
   * Whether the password is the hash's, and whether the hash should be made anew as its cost is another than
   * today's. Takes as long where there is no account (`undefined`), and then says no.
   */
  async verify(
    password: string,
    hash: string | undefined,
  ): Promise<{ ok: boolean; stale: boolean }> {
    const match = form.exec(hash ?? this.#nobody);
    if (!match) return { ok: false, stale: false };
    const [, ln = '', r = '', p = '', salt = '', wanted = ''] = match;
    const cost = { ln: Number(ln), r: Number(r), p: Number(p) };
    const made = await this.#derive(password, Buffer.from(salt, 'base64url'), cost);
    return {
      ok: timingSafeEqual(made, Buffer.from(wanted, 'base64url')) && hash !== undefined,
      stale: cost.ln !== this.#cost.ln || cost.r !== this.#cost.r || cost.p !== this.#cost.p,
    };
  }

  #derive(password: string, salt: Uint8Array, { ln, r, p }: Cost): Promise<Buffer> {
    if (this.#waiting >= this.#longest) throw new BusyError();
    this.#waiting += 1;
    const N = 2 ** ln;
    const work = this.#last.then(() =>
      // The same characters, however a keyboard composes them (NIST SP 800-63B §3.1.1.2). RFC 7914 §2 asks
      // for 128·N·r bytes; OpenSSL refuses without some more.
      scryptAsync(password.normalize('NFKC'), salt, 32, { N, r, p, maxmem: 256 * N * r }),
    );
    this.#last = work.then(
      () => undefined,
      () => undefined,
    );
    return work.finally(() => {
      this.#waiting -= 1;
    });
  }
}

/** More passwords wait than can be checked soon. */
export class BusyError extends Error {
  constructor() {
    super('Too many passwords wait to be checked');
    this.name = 'BusyError';
  }
}

function phc({ ln, r, p }: Cost, salt: Buffer, key: Buffer): string {
  return `$scrypt$ln=${ln},r=${r},p=${p}$${salt.toString('base64url')}$${key.toString('base64url')}`;
}

/** Long enough, and yet the first that anybody tries. */
const known = new Set(
  `123456789012 1234567890123 12345678901234 123456789abc 1q2w3e4r5t6y 1qaz2wsx3edc
  adminadmin12 administrator administrator1 changeme1234 changemenow! correcthorsebatterystaple
  gatewaygateway iloveyou1234 letmein12345 letmeinplease masterpassword mypassword123 p@ssw0rd1234
  passw0rd1234 password1234 password12345 password123456 passwordpassword qwerty123456 qwertyuiop12
  qwertyuiop123 qwertyuiopasdfgh qwertyuiop[] raspberry123 raspberrypi1 raspberrypi123 raspberrypi4
  thisismypassword trustno1trustno1 welcome12345 welcometothejungle zaq12wsxcde3 zxcvbnm12345`.split(
    /\s+/,
  ),
);

const rows = ['abcdefghijklmnopqrstuvwxyz', '0123456789', 'qwertyuiopasdfghjklzxcvbnm'];

/** @throws GatewayError unless the password is one that nobody guesses in a few thousand tries. */
export function refuseWeak(password: string, account: string): void {
  const refuse = (why: string) => {
    throw new GatewayError(
      `This password is ${why}`,
      'Take another, e.g. four words that have nothing to do with each other',
      'refused',
    );
  };
  const length = [...password.normalize('NFKC')].length;
  if (length < 12) refuse('too short');
  const plain = password.normalize('NFKC').toLowerCase();
  if (known.has(plain)) refuse('among the first that anybody tries');
  if (/^(.{1,4})\1+.{0,3}$/su.test(plain)) refuse('one short piece, again and again');
  if (
    rows.some((row) => row.repeat(12).includes(plain) || backwards(row).repeat(12).includes(plain))
  )
    refuse('a row of keys or letters');
  const rest = [account, 'pi-gateway', 'gateway', 'raspberry'].reduce(
    (text, word) => text.replaceAll(word.toLowerCase(), ''),
    plain,
  );
  if ([...rest].length < 6) refuse("little more than the account's or the device's name");
}

function backwards(text: string): string {
  return [...text].reverse().join('');
}
