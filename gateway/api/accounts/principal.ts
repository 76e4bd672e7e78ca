import type { Area, Role } from '../operation.ts';

/** Who a request comes from, once its credentials are proven. */
export type Principal = {
  /** Account, or the token's name. */
  name: string;
  role: Role;
  via: 'session' | 'token';
  /** What a token is limited to; undefined: all that its role may. */
  scopes: readonly `${Area}:${'read' | 'write'}`[] | undefined;
};
