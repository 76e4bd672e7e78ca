import type { Role, Scope } from '../operation.ts';
import type { Principal } from './principal.ts';

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
  created: number;
  lastUsed: number;
  expires: number;
};

export type TokenView = {
  id: string;
  name: string;
  role: Role;
  scopes: readonly Scope[] | undefined;
  /** Account that made it. */
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
export type NewSession = { secret: string; csrf: string; view: SessionView; account: AccountView };

export type NewToken = {
  name: string;
  role: Role;
  scopes?: readonly Scope[] | undefined;
  expires?: number | undefined;
};

/** Accounts, sessions and tokens of the API. All throw GatewayError for what the caller can mend. */
export type Accounts = {
  /** Whether there is an account: until then only the claim code lets anybody in. */
  claimed(): boolean;
  list(): readonly AccountView[];
  /** @throws GatewayError conflict if the name is taken, refused if the password is unfit. */
  add(account: { name: string; role: Role; password: string }): Promise<AccountView>;
  /** Another role or password, or the second factor off. Ends the account's sessions. */
  change(
    name: string,
    change: { role?: Role | undefined; password?: string | undefined; totp?: false | undefined },
  ): Promise<AccountView>;
  /** With its sessions and tokens. Never the last admin. */
  remove(name: string): Promise<void>;
  /** The owner's own change: with the old password. Ends all other sessions. */
  changePassword(name: string, current: string, next: string, keep?: string): Promise<void>;

  /** A new secret, in force once `confirmTotp` has a code of it. */
  beginTotp(name: string): Promise<{ secret: string; uri: string }>;
  /** @returns recovery codes, each good for one login. */
  confirmTotp(name: string, code: string): Promise<readonly string[]>;
  endTotp(name: string, password: string): Promise<void>;

  /** @throws LoginError */
  login(login: Login, from: { address: string; client: string }): Promise<NewSession>;
  /** Who a session's secret or a token belongs to; undefined: nobody (any more). */
  bySession(secret: string): Proven | undefined;
  byToken(token: string): Proven | undefined;
  sessions(account: string): readonly SessionView[];
  /** False if there is no such session of that account. */
  endSession(account: string, id: string): boolean;

  tokens(): readonly TokenView[];
  /** @returns the token itself too, this once. */
  addToken(owner: string, token: NewToken): Promise<{ token: string; view: TokenView }>;
  removeToken(id: string): Promise<void>;
};
