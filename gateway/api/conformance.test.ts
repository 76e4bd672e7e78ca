import { Validator } from '@seriousme/openapi-schema-validator';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type * as z from 'zod';
import { verbs } from '../helper/verbs.ts';
import { fitting } from './conformance/arbitrary.ts';
import { holdToDocument, type Report } from './conformance/conformance.ts';
import { ApiProbe } from './conformance/http.ts';
import { openApiDocument, schemaOf } from './openapi/document.ts';
import { scopes } from './operation.ts';
import { operations } from './operations.ts';
import { type Asked, TestApi } from './testing.ts';

const seed = 20_260_102;
let gateway: TestApi;
let probe: ApiProbe;
let report: Report;

/** What the helper could answer to each verb by its schema, so that the areas' own code runs. */
const answers = new Map<string, unknown[]>();

function answer({ verb, args }: Asked): unknown {
  const definition = verbs[verb as keyof typeof verbs];
  // A verb that is asked with what it does not take is a mistake of the operation.
  definition.args.parse(args);
  const made = answers.get(verb) ?? resultsOf(definition.result);
  answers.set(verb, made);
  const next = made.shift();
  made.push(next);
  return next;
}

/** What a schema takes: the pieces of it that JSON Schema cannot say are tried. */
function resultsOf(schema: z.ZodType): unknown[] {
  const all = fc.sample(fitting(schemaOf(schema, 'output')), { numRuns: 300, seed });
  const fit = all.filter((one) => schema.safeParse(one).success).slice(0, 20);
  if (fit.length === 0) throw new Error('No result could be made of a schema');
  return fit;
}

const sessions = new Map<string, Record<string, string>>();

/** Not over HTTP, where so many logins would be slowed down; the account is made anew if it was removed. */
async function session(role: 'admin' | 'viewer'): Promise<Record<string, string>> {
  const known = sessions.get(role);
  if (known) {
    const headers = { cookie: known.cookie ?? '' };
    const { text } = await probe.ask({ method: 'GET', path: '/api/v1/session', headers });
    if (JSON.parse(text).account?.role === role) return known;
  }
  const login = { name: `conformance-${role}`, password: 'a password of the tests' };
  const { accounts } = gateway;
  await accounts.add({ ...login, role }).catch(() => undefined);
  const from = { address: `192.0.2.${sessions.size}`, client: 'test' };
  const result = await accounts.login(login, from);
  if (result.kind !== 'begun') throw new Error(`No session: ${result.kind}`);
  const { secret, csrf } = result.session;
  const made = { cookie: `__Host-session=${secret}`, 'x-csrf-token': csrf };
  sessions.set(role, made);
  return made;
}

beforeAll(async () => {
  gateway = await TestApi.start();
  gateway.answer = answer;
  probe = new ApiProbe(gateway.url, gateway.certificate.cert);
  const tokens = new Map<string, string>();
  report = await holdToDocument({
    url: gateway.url,
    ca: gateway.certificate.cert,
    session,
    token: async (list) => {
      const key = list.join(' ');
      const owned = tokens.get(key);
      if (owned) return owned;
      const { token } = await gateway.accounts.addToken('cli/root', {
        name: `conformance-${tokens.size}`,
        role: 'admin',
        scopes: scopes.filter((scope) => list.includes(scope)),
      });
      tokens.set(key, token);
      return token;
    },
    requests: 10_000,
    seed,
  });
}, 120_000);

afterAll(async () => {
  probe.close();
  await gateway.stop();
});

test('the document is OpenAPI 3.1 by its official schema', async () => {
  const document = await openApiDocument(operations, '0.0.0');
  const { valid, errors } = await new Validator().validate(structuredClone(document));
  expect(errors).toBeUndefined();
  expect(valid).toBe(true);
  // References inside a schema would be taken for the document's own.
  expect(JSON.stringify(document)).not.toContain('#/$defs');
});

test('each operation has an id, a role and a path of its own', () => {
  const ids = operations.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const places = operations.map(
    ({ method, path }) => `${method} ${path.replace(/\{\w+\}/g, '{}')}`,
  );
  expect(new Set(places).size).toBe(places.length);
});

test('each operation refuses who has no credentials, too little of a role or scope, or another page', () => {
  expect(report.failures.filter((one) => one.includes('instead of'))).toEqual([]);
  expect(report.statuses[401]).toBeGreaterThan(100);
  expect(report.statuses[403]).toBeGreaterThan(100);
});

test('ten thousand requests with input that fits and that does not: no 5xx, each answer as documented', () => {
  // What the server told its journal of mistakes of ours.
  expect([...new Set(gateway.said)]).toEqual([]);
  expect(report.failures).toEqual([]);
  expect(report.requests).toBeGreaterThan(10_000);
  expect(Object.keys(report.statuses).filter((status) => Number(status) >= 500)).toEqual([]);
  expect(report.fitting).toBeGreaterThan(2000);
  expect(report.unfit).toBeGreaterThan(2000);
  // Nobody makes up a password, a code, the name of what is there, or an address in a zone.
  const impossible = new Set<string>([
    ...['claimUse', 'sessionBegin', 'passwordChange', 'totpConfirm', 'totpEnd'],
    ...['sessionRemove', 'tokenRemove', 'accountChange', 'accountRemove'],
    ...['firewallAddForward', 'vpnShowClient', 'extensionCard'],
  ]);
  expect(report.neverDone.filter((id) => !impossible.has(id))).toEqual([]);
});
