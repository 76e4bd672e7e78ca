import { randomBytes } from 'node:crypto';
import { uptime } from 'node:os';
import type { System } from '../../../firstboot/system.ts';
import { GatewayError } from '../../errors.ts';
import type { Role, Scope } from '../operation.ts';
import type { ApiSettings } from '../settings.ts';
import {
  readAccounts,
  type Stored,
  type StoredAccount,
  type StoredToken,
  writeAccounts,
} from './file.ts';
import { PasswordHasher, refuseWeak } from './password.ts';
import type { Principal } from './principal.ts';
import {
  csrfOf,
  isToken,
  newId,
  newRecoveryCode,
  newToken,
  plainRecoveryCode,
  sha256,
} from './secrets.ts';
import { Sessions, type Uptime } from './sessions.ts';
import { Throttle } from './throttle.ts';
import { base32, fromBase32, stepOfCode, totpUri } from './totp.ts';

export type AccountView = {
  name: string;
  role: Role;
  /** Whether a second factor is asked for. */
  totp: boolean;
  /** Milliseconds since 1970. */
  created: number;
  passwordChanged: number;
};

export type SessionView = {
  /** Public name of the session, of no use as a credential. */
  id: string;
  account: string;
  address: string;
  /** User-Agent of who logged in, shortened. */
  client: string;
  /** Milliseconds since 1970. */
  created: number;
  lastUsed: number;
  expires: number;
};

export type TokenView = {
  id: string;
  name: string;
  role: Role;
  /** Undefined: all that the role may. */
  scopes: readonly Scope[] | undefined;
  /** Account that made it; `cli/NAME` for who was root at the command line. */
  owner: string;
  created: number;
  /** Undefined: it has no end. */
  expires: number | undefined;
  /** To the hour; undefined: never. */
  lastUsed: number | undefined;
};

/** Credentials that hold, with what else the server must know of them. */
export type Proven = {
  principal: Principal;
  /** Of a session: what its changes must carry in X-CSRF-Token. */
  csrf: string | undefined;
  sessionId: string | undefined;
};

export type Login = { name: string; password: string; code?: string | undefined };

/** A session just begun; its secret is for the cookie and is kept nowhere. */
export type NewSession = { secret: string; csrf: string; account: AccountView };

export type LoginResult =
  | { kind: 'begun'; session: NewSession }
  /** The password is right, and there is a second factor. */
  | { kind: 'code-needed' }
  | { kind: 'wrong' }
  /** Too many failures: not even looked at. */
  | { kind: 'wait'; seconds: number };

/** Who is logged in proves its password once more. */
export type Proof = { kind: 'begun' } | Exclude<LoginResult, { kind: 'begun' }>;

export type NewToken = {
  name: string;
  role: Role;
  scopes?: readonly Scope[] | undefined;
  /** Milliseconds since 1970. */
  expires?: number | undefined;
};

export type AccountChange = {
  role?: Role | undefined;
  password?: string | undefined;
  totp?: false | undefined;
};

/** Most of each: a gateway has a household or an office, and the file stays small. */
const mostAccounts = 64;
const mostTokens = 128;

const recoveryCodes = 10;

/** Who has no account yet, in the throttle's eyes; no account can have this name. */
const claimant = ' claim';

/** Milliseconds that a new TOTP secret waits for its first code. */
const totpPatience = 600_000;

/** Milliseconds between two writes of when a token was last used: the card is not for that. */
const tokenUse = 3_600_000;

export type AccountsOptions = {
  system: System;
  settings: () => ApiSettings;
  /** Name of the device in authenticator apps. */
  device?: string;
  hasher?: PasswordHasher;
  uptime?: Uptime;
  now?: () => number;
};

/** Reads what there is of accounts, sessions and tokens. */
export async function openAccounts(options: AccountsOptions): Promise<Accounts> {
  const { damaged, ...stored } = await readAccounts(options.system);
  const accounts = new Accounts(options, stored, damaged);
  await accounts.begin();
  return accounts;
}

/** Accounts, sessions and tokens of the API. What the caller can mend is a GatewayError. */
export class Accounts {
  readonly #system: System;
  readonly #device: string;
  readonly #hasher: PasswordHasher;
  readonly #now: () => number;
  readonly #sessions: Sessions;
  readonly #throttle: Throttle;
  readonly #pendingTotp = new Map<string, { secret: Buffer; until: number }>();
  readonly #lastUse = new Map<string, number>();
  #stored: Stored;
  #damaged: boolean;
  #changing: Promise<unknown> = Promise.resolve();

  constructor(options: AccountsOptions, stored: Stored, damaged: boolean) {
    const clock = options.uptime ?? uptime;
    this.#system = options.system;
    this.#device = options.device ?? 'Pi Gateway';
    this.#hasher = options.hasher ?? new PasswordHasher();
    this.#now = options.now ?? Date.now;
    this.#sessions = new Sessions(options.system, options.settings, clock);
    this.#throttle = new Throttle(clock);
    this.#stored = stored;
    this.#damaged = damaged;
  }

  async begin(): Promise<void> {
    await this.#sessions.load((name) => this.#find(name) !== undefined);
  }

  /** Whether there is an account: until then only the claim code lets anybody in. */
  claimed(): boolean {
    return this.#damaged || this.#stored.accounts.length > 0;
  }

  list(): AccountView[] {
    return this.#stored.accounts.map(viewOfAccount);
  }

  /** @throws GatewayError missing */
  view(name: string): AccountView {
    return viewOfAccount(this.#get(name));
  }

  /**
   * Makes the first account, an admin, and logs it in.
   * @param useCode uses the claim code up, or throws what the helper says of it.
   */
  async claim(
    login: Login,
    useCode: () => Promise<unknown>,
    from: { address: string; client: string },
  ): Promise<LoginResult> {
    const seconds = this.#throttle.wait(from.address, claimant, false);
    if (seconds > 0) return { kind: 'wait', seconds: Math.ceil(seconds) };
    this.#refuseClaimed();
    refuseWeak(login.password, login.name);
    const hash = await this.#hasher.hash(login.password);
    const account = await this.#change(async (stored) => {
      this.#refuseClaimed();
      const before = stored.owner_to_be;
      const again =
        before?.name === login.name && (await this.#hasher.verify(login.password, before.hash)).ok;
      const owner: StoredAccount =
        again && before ? before : newAccount(login.name, 'admin', hash, this.#now());
      if (!again) await writeAccounts(this.#system, { ...stored, owner_to_be: owner });
      try {
        await useCode();
      } catch (error) {
        const kind = error instanceof GatewayError ? error.kind : 'failed';
        // In conflict: the helper has seen too many wrong ones, and each try writes to the card.
        if (kind === 'refused' || kind === 'conflict')
          this.#throttle.failed(from.address, claimant, false);
        // Who is the owner to be has used the code before a power cut: it is the code, and gone (missing).
        if (!(again && kind === 'missing')) {
          // Of an answer that was lost nobody knows; the same name and password then go on from here.
          if (!again && kind !== 'failed') await writeAccounts(this.#system, stored);
          else this.#stored = { ...stored, owner_to_be: owner };
          throw error;
        }
      }
      return [{ accounts: [owner], tokens: [] }, viewOfAccount(owner)];
    });
    const { secret } = this.#sessions.begin(login.name, from.address, from.client);
    this.#throttle.succeeded(from.address, login.name);
    return { kind: 'begun', session: { secret, csrf: csrfOf(secret), account } };
  }

  #refuseClaimed(): void {
    if (!this.claimed()) return;
    throw new GatewayError(
      'This gateway has its owner already',
      this.#stored.accounts.length > 0
        ? 'Log in with your account, or let its owner make you one'
        : 'Its accounts were damaged. As root: pi-gateway account add NAME --role admin',
      'conflict',
    );
  }

  /** @throws GatewayError conflict if the name is taken, refused if the password is unfit. */
  async add(account: { name: string; role: Role; password: string }): Promise<AccountView> {
    refuseWeak(account.password, account.name);
    const hash = await this.#hasher.hash(account.password);
    return await this.#change(async (stored) => {
      if (stored.accounts.some((one) => one.name === account.name))
        throw new GatewayError(
          `There is an account ${account.name} already`,
          'Take another name, or change that account',
          'conflict',
        );
      if (stored.accounts.length >= mostAccounts)
        throw new GatewayError(
          `There are ${mostAccounts} accounts, and no more fit`,
          'Remove one first',
          'conflict',
        );
      const added = newAccount(account.name, account.role, hash, this.#now());
      return [{ ...stored, accounts: [...stored.accounts, added] }, viewOfAccount(added)];
    });
  }

  /** Another role or password, or the second factor off. Ends the account's sessions. */
  async change(name: string, change: AccountChange): Promise<AccountView> {
    this.#get(name);
    if (change.password !== undefined) refuseWeak(change.password, name);
    const hash =
      change.password === undefined ? undefined : await this.#hasher.hash(change.password);
    const view = await this.#change(async (stored) => {
      const before = this.#get(name);
      if (change.role === 'viewer') refuseLastAdmin(stored, name);
      const { totp, ...rest } = before;
      const after: StoredAccount = {
        ...rest,
        role: change.role ?? before.role,
        ...(hash === undefined ? {} : { hash, password_changed: this.#now() }),
        ...(totp && change.totp !== false ? { totp } : {}),
      };
      return [replaced(stored, after), viewOfAccount(after)];
    });
    this.#sessions.end(name);
    this.#throttle.forget(name);
    return view;
  }

  /** With its sessions and tokens. Never the last admin. */
  async remove(name: string): Promise<void> {
    await this.#change(async (stored) => {
      this.#get(name);
      refuseLastAdmin(stored, name);
      return [
        {
          accounts: stored.accounts.filter((one) => one.name !== name),
          tokens: stored.tokens.filter((one) => one.owner !== name),
        },
        undefined,
      ];
    });
    this.#sessions.end(name);
    this.#throttle.forget(name);
    this.#pendingTotp.delete(name);
  }

  /**
   * The owner's own change, with the old password. Ends all its sessions but `keep`.
   * @returns what became of the proof by `current`.
   */
  async changePassword(
    name: string,
    current: string,
    next: string,
    from: { address: string; keep?: string | undefined },
  ): Promise<Proof> {
    const account = this.#get(name);
    const proof = await this.#prove(account, current, from.address);
    if (proof.kind !== 'begun') return proof;
    refuseWeak(next, name);
    const hash = await this.#hasher.hash(next);
    await this.#change(async (stored) => {
      const after = { ...this.#get(name), hash, password_changed: this.#now() };
      return [replaced(stored, after), undefined];
    });
    this.#sessions.end(name, ({ id }) => id !== from.keep);
    return { kind: 'begun' };
  }

  /** A new secret, in force once `confirmTotp` has a code of it. */
  beginTotp(name: string): { secret: string; uri: string } {
    if (this.#get(name).totp) throw totpConflict();
    // RFC 4226 §4 R6: 160 bits.
    const secret = randomBytes(20);
    this.#pendingTotp.set(name, { secret, until: this.#now() + totpPatience });
    return { secret: base32(secret), uri: totpUri(secret, name, this.#device) };
  }

  /** @returns recovery codes, each good for one login. */
  async confirmTotp(name: string, code: string): Promise<string[]> {
    const pending = this.#pendingTotp.get(name);
    if (!pending || pending.until < this.#now())
      throw new GatewayError(
        'No second factor was begun, or more than ten minutes ago',
        'Begin again, and scan the new QR code',
        'conflict',
      );
    const used = stepOfCode(pending.secret, code, this.#now());
    if (used === undefined)
      throw new GatewayError(
        'The code is not the one of now',
        "Check the clocks of the phone and of the gateway, and send the app's newest code",
        'refused',
      );
    const codes = Array.from({ length: recoveryCodes }, newRecoveryCode);
    await this.#change(async (stored) => {
      const account = this.#get(name);
      if (account.totp) throw totpConflict();
      const totp = { secret: base32(pending.secret), used, recovery: codes.map(sha256) };
      return [replaced(stored, { ...account, totp }), undefined];
    });
    this.#pendingTotp.delete(name);
    return codes;
  }

  /** @returns what became of the proof by the password. */
  async endTotp(name: string, password: string, address: string): Promise<Proof> {
    const account = this.#get(name);
    const proof = await this.#prove(account, password, address);
    if (proof.kind !== 'begun') return proof;
    await this.#change(async (stored) => {
      const { totp: _, ...rest } = this.#get(name);
      return [replaced(stored, rest), undefined];
    });
    return { kind: 'begun' };
  }

  async login(
    { name, password, code }: Login,
    from: { address: string; client: string },
  ): Promise<LoginResult> {
    const account = this.#find(name);
    const proof = await this.#prove(account ?? name, password, from.address);
    if (proof.kind !== 'begun' || !account)
      return proof.kind === 'begun' ? { kind: 'wrong' } : proof;
    if (account.totp) {
      if (code === undefined) return { kind: 'code-needed' };
      if (!(await this.#useCode(name, code))) {
        this.#throttle.failed(from.address, name, true);
        return { kind: 'wrong' };
      }
    }
    const now = this.#find(name);
    // Its password was changed, or it was removed, while this one was checked.
    if (!now || now.password_changed !== account.password_changed) return { kind: 'wrong' };
    this.#throttle.succeeded(from.address, name);
    if (proof.stale) await this.#rehash(name, password, account.hash);
    const { secret } = this.#sessions.begin(name, from.address, from.client);
    return {
      kind: 'begun',
      session: { secret, csrf: csrfOf(secret), account: viewOfAccount(now) },
    };
  }

  /**
   * Whose session this is; undefined: nobody's (any more).
   * @param isUse false for a look that does not keep the session from ending.
   */
  bySession(secret: string, isUse = true): Proven | undefined {
    const session = this.#sessions.find(secret, isUse);
    const account = session && this.#find(session.account);
    if (!account) return undefined;
    return {
      principal: { name: account.name, role: account.role, via: 'session', scopes: undefined },
      csrf: csrfOf(secret),
      sessionId: session.id,
    };
  }

  byToken(text: string): Proven | undefined {
    if (!isToken(text)) return undefined;
    const hash = sha256(text);
    const token = this.#stored.tokens.find((one) => one.hash === hash);
    if (!token || (token.expires !== undefined && token.expires <= this.#now())) return undefined;
    this.#noteUse(token);
    const principal: Principal = {
      name: token.name,
      role: this.#roleOf(token),
      via: 'token',
      scopes: token.scopes,
    };
    return { principal, csrf: undefined, sessionId: undefined };
  }

  sessions(account: string): SessionView[] {
    return this.#sessions.list(account);
  }

  /** False if there is no such session of that account. */
  endSession(account: string, id: string): boolean {
    return this.#sessions.end(account, (one) => one.id === id) > 0;
  }

  tokens(): TokenView[] {
    return this.#stored.tokens.map((token) => this.#viewOfToken(token));
  }

  /** @returns the token itself too, this once. */
  async addToken(owner: string, token: NewToken): Promise<{ token: string; view: TokenView }> {
    const now = this.#now();
    if (token.expires !== undefined && token.expires <= now)
      throw new GatewayError('The token would be over already', 'Give a later end', 'refused');
    const text = newToken();
    const added: StoredToken = {
      id: newId(),
      name: token.name,
      role: token.role,
      owner,
      hash: sha256(text),
      created: now,
      ...(token.scopes ? { scopes: [...new Set(token.scopes)] } : {}),
      ...(token.expires === undefined ? {} : { expires: token.expires }),
    };
    return await this.#change(async (stored) => {
      if (stored.tokens.some((one) => one.name === token.name))
        throw new GatewayError(
          `There is a token ${token.name} already`,
          'Take another name, or revoke that one',
          'conflict',
        );
      if (stored.tokens.length >= mostTokens)
        throw new GatewayError(
          `There are ${mostTokens} tokens, and no more fit`,
          'Revoke one first',
          'conflict',
        );
      return [
        { ...stored, tokens: [...stored.tokens, added] },
        { token: text, view: this.#viewOfToken(added) },
      ];
    });
  }

  /** @throws GatewayError missing */
  async removeToken(id: string): Promise<void> {
    await this.#change(async (stored) => {
      if (!stored.tokens.some((one) => one.id === id))
        throw new GatewayError('There is no such token', 'See which there are', 'missing');
      return [{ ...stored, tokens: stored.tokens.filter((one) => one.id !== id) }, undefined];
    });
    this.#lastUse.delete(id);
  }

  /** Resolves once everything is on file. */
  async close(): Promise<void> {
    await this.#changing;
    await this.#sessions.close();
  }

  /** The password is right; nothing is said of a second factor. */
  async #prove(
    who: StoredAccount | string,
    password: string,
    address: string,
  ): Promise<{ kind: 'begun'; stale: boolean } | Exclude<LoginResult, { kind: 'begun' }>> {
    const account = typeof who === 'string' ? undefined : who;
    const name = typeof who === 'string' ? who : who.name;
    const seconds = this.#throttle.wait(address, name, account !== undefined);
    if (seconds > 0) return { kind: 'wait', seconds: Math.ceil(seconds) };
    const { ok, stale } = await this.#hasher.verify(password, account?.hash);
    if (ok) return { kind: 'begun', stale };
    this.#throttle.failed(address, name, account !== undefined);
    return { kind: 'wrong' };
  }

  /** A code of the app or a recovery code; on file before it counts, so that none is good twice. */
  async #useCode(name: string, code: string): Promise<boolean> {
    return await this.#change(async (stored) => {
      const account = this.#find(name);
      const totp = account?.totp;
      if (!totp) return [stored, account !== undefined];
      const step = stepOfCode(fromBase32(totp.secret), code.trim(), this.#now(), totp.used);
      if (step !== undefined)
        return [replaced(stored, { ...account, totp: { ...totp, used: step } }), true];
      const hash = sha256(plainRecoveryCode(code));
      if (!totp.recovery.includes(hash)) return [stored, false];
      const recovery = totp.recovery.filter((one) => one !== hash);
      return [replaced(stored, { ...account, totp: { ...totp, recovery } }), true];
    });
  }

  async #rehash(name: string, password: string, old: string): Promise<void> {
    const hash = await this.#hasher.hash(password);
    await this.#change(async (stored) => {
      const account = this.#find(name);
      return [account?.hash === old ? replaced(stored, { ...account, hash }) : stored, undefined];
    });
  }

  #noteUse(token: StoredToken): void {
    const now = this.#now();
    if (now - (this.#lastUse.get(token.id) ?? token.last_used ?? 0) < tokenUse) return;
    this.#lastUse.set(token.id, now);
    this.#change(async (stored) => [
      {
        ...stored,
        tokens: stored.tokens.map((one) =>
          one.id === token.id ? { ...one, last_used: now } : one,
        ),
      },
      undefined,
    ]).catch((error: unknown) => this.#system.say(`When a token was used is lost: ${error}`));
  }

  /** No token may more than its owner may now. */
  #roleOf(token: StoredToken): Role {
    const owner = this.#find(token.owner);
    return owner?.role === 'viewer' ? 'viewer' : token.role;
  }

  #viewOfToken(token: StoredToken): TokenView {
    return {
      id: token.id,
      name: token.name,
      role: this.#roleOf(token),
      scopes: token.scopes,
      owner: token.owner,
      created: token.created,
      expires: token.expires,
      lastUsed: token.last_used,
    };
  }

  #find(name: string): StoredAccount | undefined {
    return this.#stored.accounts.find((one) => one.name === name);
  }

  #get(name: string): StoredAccount {
    const account = this.#find(name);
    if (!account)
      throw new GatewayError(`There is no account ${name}`, 'See which there are', 'missing');
    return account;
  }

  /** One change after the other; in memory only once it is on disk. */
  #change<T>(work: (stored: Stored) => Promise<[Stored, T]>): Promise<T> {
    const done = this.#changing.then(async () => {
      const [next, result] = await work(this.#stored);
      if (next !== this.#stored) {
        await writeAccounts(this.#system, next);
        this.#stored = next;
      }
      return result;
    });
    this.#changing = done.catch(() => undefined);
    return done;
  }
}

function newAccount(name: string, role: Role, hash: string, now: number): StoredAccount {
  return { name, role, hash, created: now, password_changed: now };
}

function replaced(stored: Stored, account: StoredAccount): Stored {
  return {
    ...stored,
    accounts: stored.accounts.map((one) => (one.name === account.name ? account : one)),
  };
}

function refuseLastAdmin(stored: Stored, name: string): void {
  const admins = stored.accounts.filter((one) => one.role === 'admin');
  if (admins.length === 1 && admins[0]?.name === name)
    throw new GatewayError(
      `${name} is the last admin`,
      'Make another account an admin first',
      'conflict',
    );
}

function totpConflict(): GatewayError {
  return new GatewayError(
    'A second factor is on already',
    'Turn it off first, to begin with another app',
    'conflict',
  );
}

function viewOfAccount(account: StoredAccount): AccountView {
  return {
    name: account.name,
    role: account.role,
    totp: account.totp !== undefined,
    created: account.created,
    passwordChanged: account.password_changed,
  };
}
