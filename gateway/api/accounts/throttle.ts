import { isIPv6 } from 'node:net';

/** Failures that cost nothing: an owner who mistypes. */
const free = 5;

/** Seconds. From the sixth failure of an address 1, 2, 4 … up to a quarter of an hour between two tries. */
const longestOfAddress = 900;

/**
 * Of an account over all addresses, after more failures: short, so that whoever guesses from many places
 * cannot keep its owner out; and it does not hold where the account has logged in from before.
 */
const freeOfAccount = 20;
const longestOfAccount = 30;

/** Failures are forgotten after an hour without another. */
const memory = 3600;

type Failures = { count: number; last: number };

/** A bounded number of keys with their failures; the one that failed longest ago gives way. */
class FailureTable {
  readonly #entries = new Map<string, Failures>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  /** @returns seconds until the next try may be made. */
  wait(key: string, now: number, free: number, longest: number): number {
    const entry = this.#at(key, now);
    if (!entry || entry.count < free) return 0;
    const pause = Math.min(longest, 2 ** Math.min(entry.count - free, 20));
    return Math.max(0, entry.last + pause - now);
  }

  add(key: string, now: number): void {
    const count = (this.#at(key, now)?.count ?? 0) + 1;
    this.#entries.delete(key);
    this.#entries.set(key, { count, last: now });
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#most && oldest !== undefined) this.#entries.delete(oldest);
  }

  clear(key: string): void {
    this.#entries.delete(key);
  }

  get size(): number {
    return this.#entries.size;
  }

  #at(key: string, now: number): Failures | undefined {
    const entry = this.#entries.get(key);
    if (entry && now - entry.last > memory) {
      this.#entries.delete(key);
      return undefined;
    }
    return entry;
  }
}

/**
 * Slows down who guesses. A try that is refused here costs no hash, and does not count: else whoever goes on
 * would lengthen it without end.
 */
export class Throttle {
  readonly #addresses = new FailureTable(4096);
  readonly #accounts = new FailureTable(256);
  readonly #strangers = new FailureTable(1024);
  readonly #uptime: () => number;
  /** Where each account has logged in from, the newest last. */
  readonly #homes = new Map<string, string[]>();

  /** @param uptime seconds that only go forward: the clock of a Pi without RTC jumps. */
  constructor(uptime: () => number) {
    this.#uptime = uptime;
  }

  /** @returns seconds until a try is taken; 0: now. */
  wait(address: string, account: string, known: boolean): number {
    const now = this.#uptime();
    const home = neighbourhood(address);
    const ofAddress = this.#addresses.wait(home, now, free, longestOfAddress);
    if (known && this.#homes.get(account)?.includes(home)) return ofAddress;
    const table = known ? this.#accounts : this.#strangers;
    return Math.max(ofAddress, table.wait(account, now, freeOfAccount, longestOfAccount));
  }

  failed(address: string, account: string, known: boolean): void {
    const now = this.#uptime();
    this.#addresses.add(neighbourhood(address), now);
    (known ? this.#accounts : this.#strangers).add(account, now);
  }

  succeeded(address: string, account: string): void {
    const home = neighbourhood(address);
    this.#addresses.clear(home);
    this.#accounts.clear(account);
    const homes = (this.#homes.get(account) ?? []).filter((one) => one !== home);
    this.#homes.set(account, [...homes, home].slice(-16));
  }

  /** The root of the device has given the account a new password, or removed it. */
  forget(account: string): void {
    this.#accounts.clear(account);
    this.#homes.delete(account);
  }

  /** Entries in memory. */
  get size(): number {
    return this.#addresses.size + this.#accounts.size + this.#strangers.size;
  }
}

/**
 * What one who guesses has at hand: an IPv4 address, or the /64 that any IPv6 host can take addresses of
 * (RFC 4291 §2.5.4).
 */
export function neighbourhood(address: string): string {
  const bare = address.replace(/%.*$/, '').toLowerCase();
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(bare);
  if (mapped?.[1]) return mapped[1];
  if (!isIPv6(bare)) return bare;
  const [head = '', tail] = bare.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups =
    tail === undefined
      ? left
      : [
          ...left,
          ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'),
          ...right,
        ];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}
