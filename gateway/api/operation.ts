import type * as z from 'zod';
import type { Context } from './context.ts';

export const roles = ['viewer', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Areas that an API token can be limited to; each is read (`vpn:read`) or changed (`vpn:write`). */
export const areas = [
  'accounts',
  'alerts',
  'certificates',
  'backup',
  'compliance',
  'config',
  'containers',
  'ddns',
  'extensions',
  'desktop',
  'firewall',
  'logs',
  'metrics',
  'proxy',
  'router',
  'secrets',
  'services',
  'status',
  'tuning',
  'updates',
  'vpn',
] as const;
export type Area = (typeof areas)[number];

export const scopes = areas.flatMap((area) => [`${area}:read`, `${area}:write`] as const);
export type Scope = `${Area}:${'read' | 'write'}`;

export type Access = 'read' | 'write';

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/** Checked input; what an operation declares no schema for is `undefined`. */
export type Input<P, Q, B> = { params: P; query: Q; body: B };

type Out<S> = S extends z.ZodType ? z.output<S> : undefined;

/** What an operation answers that is no JSON: a file, a picture. */
export type Content = {
  type: string;
  text: string;
  headers?: Record<string, string>;
  /** What is to be done when all of it is sent, and not if the connection ends before that. */
  sent?: () => Promise<void>;
};

/**
 * One operation of the API. The server checks by it, the OpenAPI document is made of it, and the conformance
 * test goes through it; so none of the three can say something else.
 */
export type Operation<
  P extends z.ZodType | undefined = z.ZodType | undefined,
  Q extends z.ZodType | undefined = z.ZodType | undefined,
  B extends z.ZodType | undefined = z.ZodType | undefined,
  R extends z.ZodType | undefined = z.ZodType | undefined,
  I extends string = string,
  M extends Method = Method,
  Path extends string = string,
> = {
  /** operationId, camelCase and unique: `vpnAddClient`. */
  id: I;
  method: M;
  /** Below /api/v1, parameters in braces: `/vpn/clients/{name}`. */
  path: Path;
  area: Area;
  summary: string;
  /** The least role that may; `public` needs no credentials at all. */
  role: Role | 'public';
  /**
   * True if an API token may not do it, whatever its scopes: one that could make accounts or tokens would
   * have no limits.
   */
  personal?: true;
  /** What a token needs of the area; unless said GET reads and all else writes. */
  access?: Access;
  /** z.object of path parameters (all strings). */
  params?: P;
  query?: Q;
  /** JSON body. */
  body?: B;
  /** JSON answer; none: 204, or `content`. */
  response?: R;
  /** Media type of an answer that is no JSON; `run` then gives a Content. */
  content?: string;
  /** 200 unless said; 204 without response and content. */
  status?: number;
  run(
    context: Context,
    input: Input<Out<P>, Out<Q>, Out<B>>,
  ): Promise<R extends z.ZodType ? z.input<R> : Content | undefined>;
};

/** Types an operation by its schemas; its id, method and path stay literal, so that clients are typed by them. */
export function defineOperation<
  P extends z.ZodType | undefined = undefined,
  Q extends z.ZodType | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
  R extends z.ZodType | undefined = undefined,
  I extends string = string,
  M extends Method = Method,
  Path extends string = string,
>(operation: Operation<P, Q, B, R, I, M, Path>): Operation<P, Q, B, R, I, M, Path> {
  return operation;
}

type Accessing = { area: Area; method: Method; access?: Access | undefined };

/** Whether it reads or changes its area. */
export function accessOf({ method, access }: Omit<Accessing, 'area'>): Access {
  return access ?? (method === 'get' ? 'read' : 'write');
}

/** What a token needs for an operation. */
export function scopeOf(operation: Accessing): Scope {
  return `${operation.area}:${accessOf(operation)}`;
}
