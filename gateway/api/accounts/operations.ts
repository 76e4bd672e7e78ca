import * as z from 'zod';
import { GatewayError } from '../../errors.ts';
import { defineOperation, roles, type Scope, scopes } from '../operation.ts';

const notYet = (): never => {
  throw new GatewayError('This is not there yet', 'Wait for the next version');
};

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

const totpNeeded = z.boolean();

export const claimStatus = defineOperation({
  id: 'claimStatus',
  method: 'get',
  path: '/claim',
  area: 'accounts',
  summary: 'Whether the gateway has an owner',
  role: 'public',
  response: z.object({ claimed: z.boolean() }),
  run: notYet,
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
  run: notYet,
});

export const sessionGet = defineOperation({
  id: 'sessionGet',
  method: 'get',
  path: '/session',
  area: 'accounts',
  summary: 'Who is logged in',
  role: 'public',
  response: me,
  run: notYet,
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
  response: me.extend({ code_needed: totpNeeded }),
  run: notYet,
});

export const sessionEnd = defineOperation({
  id: 'sessionEnd',
  method: 'delete',
  path: '/session',
  area: 'accounts',
  summary: 'Logs out',
  role: 'viewer',
  personal: true,
  run: notYet,
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
  run: notYet,
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
  run: notYet,
});

export const accountList = defineOperation({
  id: 'accountList',
  method: 'get',
  path: '/accounts',
  area: 'accounts',
  summary: 'All accounts',
  role: 'admin',
  response: z.object({ accounts: z.array(account) }),
  run: notYet,
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
  run: notYet,
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
  run: notYet,
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
  run: notYet,
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
  run: notYet,
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
    svg: z.string().describe('The QR code'),
  }),
  run: notYet,
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
  run: notYet,
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
  run: notYet,
});

export const tokenList = defineOperation({
  id: 'tokenList',
  method: 'get',
  path: '/tokens',
  area: 'accounts',
  summary: 'All API tokens, without what they are made of',
  role: 'admin',
  response: z.object({ tokens: z.array(token) }),
  run: notYet,
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
  run: notYet,
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
  run: notYet,
});

export const auditEntry = z.object({
  time,
  name: z.string().describe('Account, token, login name or unit'),
  via: z.enum(['cli', 'api', 'device']),
  address: z.string().nullable(),
  action: z.string(),
  details: z.unknown(),
  outcome: z.enum(['done', 'refused', 'failed']),
  message: z.string().nullable(),
});

export const auditList = defineOperation({
  id: 'auditList',
  method: 'get',
  path: '/audit',
  area: 'accounts',
  summary: 'What was changed, by whom; the newest first',
  role: 'admin',
  query: z.strictObject({
    limit: z.coerce.number().int().min(1).max(500).default(100),
  }),
  response: z.object({ entries: z.array(auditEntry) }),
  run: notYet,
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
