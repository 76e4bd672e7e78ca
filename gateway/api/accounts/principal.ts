import type { Role, Scope } from '../operation.ts';

/** Who a request comes from, once its credentials are proven. */
export type Principal = {
  /** Account, the token's name, or the login name of who is root at the command line. */
  name: string;
  role: Role;
  via: 'session' | 'token' | 'cli';
  /** What a token is limited to; undefined: all that its role may. */
  scopes: readonly Scope[] | undefined;
};
