import * as z from 'zod';
import { at, readIfThere, type System, writeDurably } from '../../../firstboot/system.ts';
import type { ApiSettings } from '../settings.ts';
import type { SessionView } from './accounts.ts';
import { newId, newSecret, sha256 } from './secrets.ts';

/** In memory of the system: sessions outlive the daemon, and no restart of the device. */
export const sessionsFile = '/run/pi-gatewayd/sessions.json';

/** Sessions of one account; the one used longest ago gives way to a new one. */
const mostOfAccount = 32;

const stored = z.strictObject({
  id: z.string(),
  /** SHA-256 of the secret in the cookie. */
  hash: z.string(),
  account: z.string(),
  address: z.string(),
  client: z.string(),
  /** Seconds since the system started, which a clock that is set cannot lengthen or cut. */
  begun: z.number(),
  used: z.number(),
});
type Stored = z.output<typeof stored>;

/** Clock of sessions: seconds that only go forward. */
export type Uptime = () => number;

export class Sessions {
  readonly #system: System;
  readonly #settings: () => ApiSettings;
  readonly #uptime: Uptime;
  readonly #byHash = new Map<string, Stored>();
  #saved: Promise<void> = Promise.resolve();
  #savedAt = 0;

  constructor(system: System, settings: () => ApiSettings, uptime: Uptime) {
    this.#system = system;
    this.#settings = settings;
    this.#uptime = uptime;
  }

  /** Takes up the sessions of before a restart of the daemon. */
  async load(isAccount: (name: string) => boolean): Promise<void> {
    const text = await readIfThere(at(this.#system, sessionsFile));
    if (text === undefined) return;
    try {
      for (const one of z.array(stored).parse(JSON.parse(text)))
        if (isAccount(one.account)) this.#byHash.set(one.hash, one);
    } catch {
      // Everybody logs in again.
    }
  }

  /** @returns the session's secret, which is kept nowhere. */
  begin(account: string, address: string, client: string): { secret: string; id: string } {
    const secret = newSecret();
    const now = this.#uptime();
    const one: Stored = {
      id: newId(),
      hash: sha256(secret),
      account,
      address,
      client: client.replace(/[^\x20-\x7e]/g, '?').slice(0, 200),
      begun: now,
      used: now,
    };
    const others = this.#of(account).sort((a, b) => a.used - b.used);
    for (const old of others.slice(0, Math.max(0, others.length + 1 - mostOfAccount)))
      this.#byHash.delete(old.hash);
    this.#byHash.set(one.hash, one);
    this.#save();
    return { secret, id: one.id };
  }

  /** The session of a secret; undefined if it has ended. */
  find(secret: string, isUse = true): { id: string; account: string } | undefined {
    const one = this.#byHash.get(sha256(secret));
    if (!one) return undefined;
    if (this.#ends(one) <= this.#uptime()) {
      this.#byHash.delete(one.hash);
      this.#save();
      return undefined;
    }
    if (isUse) {
      one.used = this.#uptime();
      // Only so that idle sessions end in time after the daemon was killed.
      if (one.used - this.#savedAt > 60) this.#save();
    }
    return { id: one.id, account: one.account };
  }

  list(account: string): SessionView[] {
    const now = Date.now();
    const wall = (uptime: number) => Math.round(now - (this.#uptime() - uptime) * 1000);
    return this.#of(account)
      .filter((one) => this.#ends(one) > this.#uptime())
      .sort((a, b) => b.used - a.used)
      .map((one) => ({
        id: one.id,
        account: one.account,
        address: one.address,
        client: one.client,
        created: wall(one.begun),
        lastUsed: wall(one.used),
        expires: wall(this.#ends(one)),
      }));
  }

  /** Ends those of an account that the test says; all without one. @returns how many. */
  end(account: string, which: (session: { id: string }) => boolean = () => true): number {
    const ended = this.#of(account).filter(which);
    for (const one of ended) this.#byHash.delete(one.hash);
    if (ended.length > 0) this.#save();
    return ended.length;
  }

  /** Resolves once the newest state is on file. */
  async close(): Promise<void> {
    this.#save();
    await this.#saved;
  }

  #of(account: string): Stored[] {
    return [...this.#byHash.values()].filter((one) => one.account === account);
  }

  #ends(one: Stored): number {
    const { session_idle_minutes: idle, session_hours: hours } = this.#settings();
    return Math.min(one.used + idle * 60, one.begun + hours * 3600);
  }

  #save(): void {
    this.#savedAt = this.#uptime();
    this.#saved = this.#saved.then(async () => {
      const text = JSON.stringify([...this.#byHash.values()]);
      await writeDurably(at(this.#system, sessionsFile), text, 0o600).catch((error: unknown) =>
        this.#system.say(`Sessions will end with the daemon: ${String(error)}`),
      );
    });
  }
}
