import * as z from 'zod';
import { GatewayError } from '../../errors.ts';
import { record } from '../audit.ts';
import type { Context } from '../context.ts';
import type { Exchange } from '../exchange.ts';
import { defineOperation, roles, type Scope, scopes } from '../operation.ts';
import { ProblemError, tooMany } from '../problem.ts';
import type { AccountView, LoginResult, NewSession, SessionView, TokenView } from './accounts.ts';
import type { Principal } from './principal.ts';

/** As Linux names accounts, so that a name needs no quoting in any file, log line or shell. */
export const accountName = z
  .string()
  .regex(/^[a-z][a-z0-9._-]{0,31}$/)
  .describe('Lower-case letters, digits, dot, hyphen and underscore; a letter first; at most 32');

/** Of a new password: NIST SP 800-63B asks for length and against all rules of composition. */
export const newPassword = z
  .string()
  .min(12)
  .max(256)
  .describe('At least 12 characters; any characters')
  .meta({ writeOnly: true, format: 'password' });

const password = z.string().min(1).max(256).meta({ writeOnly: true, format: 'password' });

const totpCode = z
  .string()
  .min(6)
  .max(32)
  .describe('Six digits of the authenticator app, or a recovery code')
  .meta({ writeOnly: true });

const time = z.iso.datetime();

const iso = (at: number) => new Date(at).toISOString();

export const account = z.object({
  name: accountName,
  role: z.enum(roles),
  totp: z.boolean().describe('Whether a second factor is asked for'),
  created: time,
  password_changed: time,
});

export const session = z.object({
  id: z.string(),
  address: z.string(),
  client: z.string().describe('What the browser called itself'),
  current: z.boolean(),
  created: time,
  last_used: time,
  expires: time,
});

/** accounts:write is none: a token that makes accounts has no limits. */
const tokenScopes = scopes.filter(
  (scope): scope is Exclude<Scope, 'accounts:write'> => scope !== 'accounts:write',
);

export const token = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(roles),
  scopes: z.array(z.enum(tokenScopes)).nullable().describe('null: all that the role may'),
  owner: z.string(),
  created: time,
  expires: time.nullable(),
  last_used: time.nullable().describe('To the hour'),
});

export const me = z.object({
  account: account.nullable().describe('null: nobody is logged in'),
  csrf: z.string().nullable().describe('For the header X-CSRF-Token of each change'),
  claimed: z.boolean().describe('False until the first account is made with the claim code'),
});

export const claimStatus = defineOperation({
  id: 'claimStatus',
  method: 'get',
  path: '/claim',
  area: 'accounts',
  summary: 'Whether the gateway has an owner',
  role: 'public',
  response: z.object({ claimed: z.boolean() }),
  run: async ({ accounts }) => ({ claimed: accounts.claimed() }),
});

export const claimUse = defineOperation({
  id: 'claimUse',
  method: 'post',
  path: '/claim',
  area: 'accounts',
  summary: 'Makes the first admin, with the claim code on the boot partition and the console',
  role: 'public',
  body: z.strictObject({
    code: z.string().min(1).max(64).meta({ writeOnly: true }),
    name: accountName,
    password: newPassword,
  }),
  response: me,
  status: 201,
  run: async (context, { body }) => {
    const exchange = exchangeOf(context);
    const useCode = () => context.call('claim.use', { code: body.code });
    const from = { address: context.address, client: exchange.client };
    const result = await context.accounts.claim(body, useCode, from);
    if (result.kind !== 'begun') throw refusalOf(result);
    const answer = begun(context, exchange, result.session);
    await record(context, 'account.add', { name: body.name, role: 'admin' });
    return answer;
  },
});

export const sessionGet = defineOperation({
  id: 'sessionGet',
  method: 'get',
  path: '/session',
  area: 'accounts',
  summary: 'Who is logged in',
  role: 'public',
  response: me,
  run: async ({ accounts, principal, exchange }) => ({
    account: principal?.via === 'session' ? accountOut(accounts.view(principal.name)) : null,
    csrf: principal?.via === 'session' ? (exchange?.csrf ?? null) : null,
    claimed: accounts.claimed(),
  }),
});

export const sessionBegin = defineOperation({
  id: 'sessionBegin',
  method: 'post',
  path: '/session',
  area: 'accounts',
  summary: 'Logs in; where a second factor is on and `code` is missing, says so and begins nothing',
  role: 'public',
  body: z.strictObject({
    name: z.string().min(1).max(64),
    password,
    code: totpCode.optional(),
  }),
  response: me.extend({ code_needed: z.boolean() }),
  run: async (context, { body }) => {
    const exchange = exchangeOf(context);
    const from = { address: context.address, client: exchange.client };
    const result = await context.accounts.login(body, from);
    if (result.kind === 'code-needed')
      return { account: null, csrf: null, claimed: true, code_needed: true };
    if (result.kind !== 'begun') throw refusalOf(result);
    // A new secret at each login: one that somebody planted before is of no use (session fixation).
    if (exchange.session)
      context.accounts.endSession(exchange.session.account, exchange.session.id);
    const answer = begun(context, exchange, result.session);
    record(context, 'session.begin', {});
    return { ...answer, code_needed: false };
  },
});

export const sessionEnd = defineOperation({
  id: 'sessionEnd',
  method: 'delete',
  path: '/session',
  area: 'accounts',
  summary: 'Logs out',
  role: 'viewer',
  personal: true,
  run: async (context) => {
    const exchange = exchangeOf(context);
    const { session } = exchange;
    if (session) context.accounts.endSession(session.account, session.id);
    exchange.setSession(undefined);
    return undefined;
  },
});

export const sessionList = defineOperation({
  id: 'sessionList',
  method: 'get',
  path: '/sessions',
  area: 'accounts',
  summary: "One's own sessions",
  role: 'viewer',
  personal: true,
  response: z.object({ sessions: z.array(session) }),
  run: async ({ accounts, principal, exchange }) => ({
    sessions: accounts
      .sessions(asAccount(principal).name)
      .map((one) => sessionOut(one, exchange?.session?.id)),
  }),
});

export const sessionRemove = defineOperation({
  id: 'sessionRemove',
  method: 'delete',
  path: '/sessions/{id}',
  area: 'accounts',
  summary: "Ends one of one's own sessions",
  role: 'viewer',
  personal: true,
  params: z.strictObject({ id: z.string().min(1).max(64) }),
  run: async (context, { params }) => {
    if (!context.accounts.endSession(asAccount(context.principal).name, params.id))
      throw new GatewayError('You have no such session', 'See which there are', 'missing');
    record(context, 'session.end', {});
    return undefined;
  },
});

export const accountList = defineOperation({
  id: 'accountList',
  method: 'get',
  path: '/accounts',
  area: 'accounts',
  summary: 'All accounts',
  role: 'admin',
  response: z.object({ accounts: z.array(account) }),
  run: async ({ accounts }) => ({ accounts: accounts.list().map(accountOut) }),
});

export const accountAdd = defineOperation({
  id: 'accountAdd',
  method: 'post',
  path: '/accounts',
  area: 'accounts',
  summary: 'Makes an account',
  role: 'admin',
  personal: true,
  body: z.strictObject({ name: accountName, role: z.enum(roles), password: newPassword }),
  response: account,
  status: 201,
  run: async (context, { body }) => {
    const added = await context.accounts.add(body);
    await record(context, 'account.add', { name: body.name, role: body.role });
    // The gateway has its owner: the code on its screen and its card is for nobody any more.
    if (body.role === 'admin') await context.call('claim.close', {});
    return accountOut(added);
  },
});

export const accountChange = defineOperation({
  id: 'accountChange',
  method: 'patch',
  path: '/accounts/{name}',
  area: 'accounts',
  summary:
    'Gives an account another role or password, or takes its second factor; ends its sessions',
  role: 'admin',
  personal: true,
  params: z.strictObject({ name: accountName }),
  body: z.strictObject({
    role: z.enum(roles).optional(),
    password: newPassword.optional(),
    totp: z.literal(false).optional(),
  }),
  response: account,
  run: async (context, { params, body }) => {
    const changed = await context.accounts.change(params.name, body);
    await record(context, 'account.change', {
      name: params.name,
      ...(body.role ? { role: body.role } : {}),
      ...(body.password === undefined ? {} : { password: 'another' }),
      ...(body.totp === undefined ? {} : { totp: body.totp }),
    });
    return accountOut(changed);
  },
});

export const accountRemove = defineOperation({
  id: 'accountRemove',
  method: 'delete',
  path: '/accounts/{name}',
  area: 'accounts',
  summary: 'Removes an account with its sessions and tokens; never the last admin',
  role: 'admin',
  personal: true,
  params: z.strictObject({ name: accountName }),
  run: async (context, { params }) => {
    await context.accounts.remove(params.name);
    await record(context, 'account.remove', { name: params.name });
    return undefined;
  },
});

export const passwordChange = defineOperation({
  id: 'passwordChange',
  method: 'put',
  path: '/account/password',
  area: 'accounts',
  summary: "Changes one's own password; ends all other sessions",
  role: 'viewer',
  personal: true,
  body: z.strictObject({ current: password, next: newPassword }),
  run: async (context, { body }) => {
    const { name } = asAccount(context.principal);
    const from = { address: context.address, keep: context.exchange?.session?.id };
    const result = await context.accounts.changePassword(name, body.current, body.next, from);
    if (result.kind !== 'begun') throw wrongPassword(result);
    await record(context, 'account.password', {});
    return undefined;
  },
});

export const totpBegin = defineOperation({
  id: 'totpBegin',
  method: 'post',
  path: '/account/totp',
  area: 'accounts',
  summary: 'A secret for an authenticator app; in force once a code of it was sent',
  role: 'viewer',
  personal: true,
  response: z.object({
    secret: z.string().describe('Base32, to be typed in'),
    uri: z.string().describe('otpauth://, for a QR code'),
    svg: z.string().nullable().describe('The QR code; null: it cannot be drawn now'),
  }),
  run: async ({ accounts, principal, system }) => {
    const begun = accounts.beginTotp(asAccount(principal).name);
    // On standard input: arguments of a program are for all to read.
    const svg = await system
      .run('qrencode', ['--type=SVG', '--output=-'], { input: begun.uri, timeout: 10_000 })
      .catch(() => null);
    return { ...begun, svg };
  },
});

export const totpConfirm = defineOperation({
  id: 'totpConfirm',
  method: 'put',
  path: '/account/totp',
  area: 'accounts',
  summary: 'Turns the second factor on',
  role: 'viewer',
  personal: true,
  body: z.strictObject({ code: totpCode }),
  response: z.object({
    recovery_codes: z.array(z.string()).describe('Each is good for one login; shown this once'),
  }),
  run: async (context, { body }) => {
    const codes = await context.accounts.confirmTotp(asAccount(context.principal).name, body.code);
    await record(context, 'account.totp', { on: true });
    return { recovery_codes: codes };
  },
});

export const totpEnd = defineOperation({
  id: 'totpEnd',
  method: 'delete',
  path: '/account/totp',
  area: 'accounts',
  summary: 'Turns the second factor off',
  role: 'viewer',
  personal: true,
  body: z.strictObject({ password }),
  run: async (context, { body }) => {
    const { name } = asAccount(context.principal);
    const result = await context.accounts.endTotp(name, body.password, context.address);
    if (result.kind !== 'begun') throw wrongPassword(result);
    await record(context, 'account.totp', { on: false });
    return undefined;
  },
});

export const tokenList = defineOperation({
  id: 'tokenList',
  method: 'get',
  path: '/tokens',
  area: 'accounts',
  summary: 'All API tokens, without what they are made of',
  role: 'admin',
  response: z.object({ tokens: z.array(token) }),
  run: async ({ accounts }) => ({ tokens: accounts.tokens().map(tokenOut) }),
});

export const tokenAdd = defineOperation({
  id: 'tokenAdd',
  method: 'post',
  path: '/tokens',
  area: 'accounts',
  summary: 'Makes an API token; this answer is the only one that has it',
  role: 'admin',
  personal: true,
  body: z.strictObject({
    name: accountName,
    role: z.enum(roles).default('viewer'),
    scopes: z.array(z.enum(tokenScopes)).min(1).max(tokenScopes.length).optional(),
    expires: time.optional(),
  }),
  response: z.object({ token: z.string(), details: token }),
  status: 201,
  run: async (context, { body }) => {
    const { principal } = context;
    const owner = principal?.via === 'cli' ? `cli/${principal.name}` : asAccount(principal).name;
    const { token, view } = await context.accounts.addToken(owner, {
      ...body,
      expires: body.expires === undefined ? undefined : Date.parse(body.expires),
    });
    await record(context, 'token.add', {
      name: body.name,
      role: body.role,
      scopes: body.scopes?.join(' ').slice(0, 256) ?? null,
    });
    return { token, details: tokenOut(view) };
  },
});

export const tokenRemove = defineOperation({
  id: 'tokenRemove',
  method: 'delete',
  path: '/tokens/{id}',
  area: 'accounts',
  summary: 'Ends a token',
  role: 'admin',
  personal: true,
  params: z.strictObject({ id: z.string().min(1).max(64) }),
  run: async (context, { params }) => {
    await context.accounts.removeToken(params.id);
    await record(context, 'token.remove', { id: params.id });
    return undefined;
  },
});

export const auditEntry = z.object({
  time,
  name: z.string().describe('Account, token, login name or unit'),
  via: z.enum(['cli', 'api', 'device']),
  address: z.string().nullable(),
  action: z.string(),
  details: z.unknown().describe('What was asked for, without secrets'),
  outcome: z.enum(['done', 'refused', 'conflict', 'missing', 'failed']),
});

export const auditList = defineOperation({
  id: 'auditList',
  method: 'get',
  path: '/audit',
  area: 'accounts',
  summary: 'What was changed, by whom; the newest first',
  role: 'admin',
  query: z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(100) }),
  response: z.object({ entries: z.array(auditEntry) }),
  run: async (context, { query }) => {
    const { entries } = await context.call('audit.list', { limit: query.limit });
    return {
      entries: entries.map(({ at, actor, verb, args, outcome }) => ({
        time: at,
        name: actor.name,
        via: actor.via,
        address: actor.address ?? null,
        action: verb,
        details: args ?? null,
        outcome,
      })),
    };
  },
});

export const accountsOperations = [
  claimStatus,
  claimUse,
  sessionGet,
  sessionBegin,
  sessionEnd,
  sessionList,
  sessionRemove,
  accountList,
  accountAdd,
  accountChange,
  accountRemove,
  passwordChange,
  totpBegin,
  totpConfirm,
  totpEnd,
  tokenList,
  tokenAdd,
  tokenRemove,
  auditList,
] as const;

function exchangeOf({ exchange }: Context): Exchange {
  if (exchange) return exchange;
  throw new GatewayError('A session is of a browser', 'Ask over HTTP', 'refused');
}

/** @throws GatewayError for root at the command line, who is no account. */
function asAccount(principal: Principal | undefined): Principal {
  if (principal?.via === 'session') return principal;
  throw new GatewayError(
    'At the command line you are root, and no account',
    'Name the account: sudo pi-gateway account --help',
    'refused',
  );
}

/** From here on the exchange is the account's: in the audit log, too. */
function begun(
  context: Context,
  exchange: Exchange,
  { secret, csrf, account: view }: NewSession,
): z.input<typeof me> {
  exchange.setSession(secret);
  const { name, role } = view;
  context.principal = { name, role, via: 'session', scopes: undefined };
  return { account: accountOut(view), csrf, claimed: context.accounts.claimed() };
}

type Refusal = Exclude<LoginResult, { kind: 'begun' }>;

/** The same words for an account that is not there and for a wrong password. */
function refusalOf(result: Refusal): ProblemError {
  if (result.kind === 'wait')
    return tooMany(result.seconds, 'Too many logins from here or of this account failed');
  return new ProblemError(
    401,
    'Name, password or code is wrong',
    'Try again; root can set another password: sudo pi-gateway account password NAME',
  );
}

function wrongPassword(result: Refusal): ProblemError {
  if (result.kind === 'wait') return refusalOf(result);
  return new ProblemError(400, 'Your password is another', 'Give the one that you log in with');
}

function accountOut(view: AccountView): z.input<typeof account> {
  const { name, role, totp, created, passwordChanged } = view;
  return { name, role, totp, created: iso(created), password_changed: iso(passwordChanged) };
}

function sessionOut(view: SessionView, current: string | undefined): z.input<typeof session> {
  return {
    id: view.id,
    address: view.address,
    client: view.client,
    current: view.id === current,
    created: iso(view.created),
    last_used: iso(view.lastUsed),
    expires: iso(view.expires),
  };
}

function tokenOut(view: TokenView): z.input<typeof token> {
  return {
    id: view.id,
    name: view.name,
    role: view.role,
    scopes: view.scopes ? view.scopes.filter(isTokenScope) : null,
    owner: view.owner,
    created: iso(view.created),
    expires: view.expires === undefined ? null : iso(view.expires),
    last_used: view.lastUsed === undefined ? null : iso(view.lastUsed),
  };
}

function isTokenScope(scope: Scope): scope is (typeof tokenScopes)[number] {
  return scope !== 'accounts:write';
}
