import { Ajv2020 } from 'ajv/dist/2020.js';
import * as fc from 'fast-check';
import { fitting, type Schema, unfit } from './arbitrary.ts';
import { type Answer, ApiProbe, type Ask } from './http.ts';

/**
 * Holds an API to its own OpenAPI document: every operation without credentials, with too little of a role
 * or scope, and with thousands of inputs that fit its schemas or do not. Against a server of the tests as
 * against a device; it knows nothing of either but the document.
 */
export type Target = {
  /** https://host:port */
  url: string;
  /** PEM of the authority to trust. */
  ca: string;
  /** Headers (Cookie, X-CSRF-Token) of a session; a new one if the last has ended. */
  session(role: 'admin' | 'viewer'): Promise<Record<string, string>>;
  /** A token of an admin with these scopes alone. */
  token(scopes: readonly string[]): Promise<string>;
  /** How many requests with generated input to send, over all operations. */
  requests: number;
  seed: number;
  /** Operations that are not run with credentials: on a device those that would end the test. */
  spare?: readonly string[];
  /** Milliseconds after which no further input of an operation is tried: on a device some take seconds. */
  patience?: number;
};

export type Report = {
  requests: number;
  /** Answers by status. */
  statuses: Record<string, number>;
  /** Requests with input that fits, and that does not. */
  fitting: number;
  unfit: number;
  /** Operations of which no input was answered with success. */
  neverDone: string[];
  /** What is not as the document says. */
  failures: string[];
  /** Of each operation with generated input: requests, and the milliseconds that they took in all. */
  spent: Record<string, { requests: number; ms: number }>;
};

type Operation = {
  id: string;
  method: string;
  path: string;
  role: string;
  isPersonal: boolean;
  scope: string | undefined;
  parameters: { name: string; in: 'path' | 'query'; schema: Schema; required: boolean }[];
  body: Schema | undefined;
  bodyRequired: boolean;
  responses: Record<string, Record<string, Schema>>;
  isStream: boolean;
};

type Input = { path: Record<string, unknown>; query: Record<string, unknown>; body: unknown };

// Formats are words for readers (JSON Schema 2020-12 §7.2.1), and two programs differ about odd addresses.
const ajv = new Ajv2020({ strict: false, allErrors: false, validateFormats: false });

export async function holdToDocument(target: Target): Promise<Report> {
  const probe = new ApiProbe(target.url, target.ca);
  const document = JSON.parse(
    (await probe.ask({ method: 'GET', path: '/api/v1/openapi.json' })).text,
  ) as Record<string, unknown>;
  const run = new Run(target, probe, operationsOf(document), document);
  try {
    await run.all();
  } finally {
    probe.close();
  }
  return run.report();
}

class Run {
  readonly #target: Target;
  readonly #probe: ApiProbe;
  readonly #operations: readonly Operation[];
  readonly #statuses: Record<string, number> = {};
  readonly #failures = new Set<string>();
  readonly #done = new Set<string>();
  readonly #problem: (value: unknown) => boolean;
  readonly #fits = new Map<Schema, (value: unknown) => boolean>();
  readonly #spent: Report['spent'] = {};
  #fitting = 0;
  #unfit = 0;

  constructor(
    target: Target,
    probe: ApiProbe,
    operations: readonly Operation[],
    document: Record<string, unknown>,
  ) {
    this.#target = target;
    this.#probe = probe;
    this.#operations = operations;
    const { schemas } = document.components as { schemas: Record<string, Schema> };
    this.#problem = ajv.compile(schemas.Problem ?? false);
  }

  async all(): Promise<void> {
    const spare = new Set(this.#target.spare ?? []);
    const run = this.#operations.filter(({ id }) => !spare.has(id));
    for (const operation of this.#operations) await this.#refusals(operation);
    const each = Math.ceil(this.#target.requests / run.length);
    // The session's own end is the last.
    for (const operation of run.toSorted((a, b) => Number(a.isPersonal) - Number(b.isPersonal)))
      await this.#inputs(operation, each);
  }

  report(): Report {
    return {
      requests: this.#probe.count,
      statuses: this.#statuses,
      fitting: this.#fitting,
      unfit: this.#unfit,
      neverDone: this.#operations.map(({ id }) => id).filter((id) => !this.#done.has(id)),
      failures: [...this.#failures],
      spent: this.#spent,
    };
  }

  /** Who may not, may not: whatever else is right or wrong about the request. */
  async #refusals(operation: Operation): Promise<void> {
    if (operation.role === 'public') return;
    const some = fc.sample(inputOf(operation, fitting), { numRuns: 50, seed: this.#target.seed });
    // A path with control characters is none, whoever asks.
    const input = some.find(({ path }) => !/\p{Cc}/u.test(Object.values(path).join('')));
    if (!input) throw new Error(`No path of ${operation.id} could be made`);
    const refused = async (why: string, status: number, headers: Record<string, string>) => {
      const answer = await this.#ask(operation, input, headers);
      if (answer.status !== status)
        this.#failures.add(
          `${operation.id}: ${answer.status} instead of ${status} for who ${why}: ${answer.text.slice(0, 200)}`,
        );
    };
    await refused('has no credentials', 401, {});
    await refused('has a made-up token', 401, { authorization: `Bearer pgw_${'A'.repeat(49)}` });
    await refused('has a made-up session', 401, { cookie: `__Host-session=${'A'.repeat(43)}` });
    if (operation.role === 'admin')
      await refused('is a viewer', 403, await this.#target.session('viewer'));
    const others = ['status:read', 'vpn:read', 'vpn:write', 'firewall:write'];
    const token = await this.#target.token(others.filter((scope) => scope !== operation.scope));
    await refused('has a token without the scope', 403, { authorization: `Bearer ${token}` });
    if (operation.method === 'get') return;
    const { cookie = '' } = await this.#target.session('admin');
    await refused('has no CSRF token', 403, { cookie });
    await refused('has the CSRF token of another session', 403, {
      cookie,
      'x-csrf-token': (await this.#target.session('viewer'))['x-csrf-token'] ?? '',
    });
    await refused('comes from another site', 403, {
      ...(await this.#target.session('admin')),
      origin: 'https://evil.example',
    });
  }

  async #inputs(operation: Operation, count: number): Promise<void> {
    const check = async (input: Input) => {
      const headers = operation.role === 'public' ? {} : await this.#target.session('admin');
      const isFit = this.#isFit(operation, input);
      if (isFit) this.#fitting += 1;
      else this.#unfit += 1;
      const begun = performance.now();
      const answer = await this.#ask(operation, input, headers);
      this.#spend(operation, performance.now() - begun);
      const wrong = this.#wrong(operation, answer, isFit);
      if (wrong) throw new Error(`${wrong}: ${answer.text.slice(0, 300)}`);
      if (answer.status < 300) this.#done.add(operation.id);
    };
    const { seed, patience } = this.#target;
    const half = {
      numRuns: Math.ceil(count / 2),
      seed,
      ...(patience === undefined ? {} : { interruptAfterTimeLimit: patience / 2 }),
    };
    for (const make of [fitting, unfit])
      try {
        await fc.assert(fc.asyncProperty(inputOf(operation, make), check), half);
      } catch (error) {
        this.#failures.add(`${operation.id}: ${reasonOf(error)}`);
      }
  }

  #spend({ id }: Operation, ms: number): void {
    const spent = this.#spent[id] ?? { requests: 0, ms: 0 };
    this.#spent[id] = { requests: spent.requests + 1, ms: spent.ms + ms };
  }

  /** What about an answer is not as the document says. */
  #wrong(operation: Operation, answer: Answer, isFit: boolean): string | undefined {
    const { status, headers, text } = answer;
    const type = String(headers['content-type'] ?? '').replace(/;.*/, '');
    if (status >= 500) return `answered with ${status}`;
    const contents = operation.responses[status];
    // Of a parameter that is no text at all, or of an empty one, the path is another's.
    if (!contents) return status === 405 ? undefined : `undocumented status ${status}`;
    if (/\bat .*\.(ts|mjs|js):\d+|node:internal|\/var\/lib\//.test(text) && status >= 400)
      return 'tells of its inside';
    if (headers['cache-control'] !== 'no-store') return 'may be cached';
    if (headers['x-content-type-options'] !== 'nosniff') return 'may be sniffed';
    if (status >= 400) {
      if (type !== 'application/problem+json') return `a problem of type ${type}`;
      return this.#problem(JSON.parse(text)) ? undefined : 'no problem of RFC 9457';
    }
    if (!isFit) return `took input that does not fit, with ${status}`;
    const [expected] = Object.entries(contents);
    if (!expected) return text === '' ? undefined : 'an answer where none is documented';
    if (type !== expected[0].replace(/;.*/, '')) return `an answer of type ${type}`;
    if (type !== 'application/json') return undefined;
    return this.#validator(expected[1])(JSON.parse(text))
      ? undefined
      : 'an answer beside its schema';
  }

  #isFit({ parameters, body, bodyRequired }: Operation, input: Input): boolean {
    const known = new Set(parameters.filter((one) => one.in === 'query').map(({ name }) => name));
    if (Object.keys(input.query).some((name) => !known.has(name))) return false;
    for (const { name, in: where, schema, required } of parameters) {
      const value = input[where][name];
      if (value === undefined) {
        if (required) return false;
      } else if (!this.#validator(schema)(typed(value, schema))) return false;
    }
    if (!body) return input.body === undefined;
    if (input.body === undefined) return !bodyRequired;
    return this.#validator(body)(input.body);
  }

  #validator(schema: Schema): (value: unknown) => boolean {
    const known = this.#fits.get(schema);
    if (known) return known;
    const made = ajv.compile(schema);
    const validator = (value: unknown) => made(value);
    this.#fits.set(schema, validator);
    return validator;
  }

  async #ask(operation: Operation, input: Input, headers: Record<string, string>): Promise<Answer> {
    const answer = await this.#probe.ask(requestOf(operation, input, headers), operation.isStream);
    this.#statuses[answer.status] = (this.#statuses[answer.status] ?? 0) + 1;
    return answer;
  }
}

/** What fast-check found, and with which input. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause, message } = error;
  const example = /^Counterexample: .*$/m.exec(message)?.[0] ?? message;
  return `${cause instanceof Error ? cause.message : ''} ${example}`.slice(0, 1000);
}

/** What a parameter's text stands for: of a number's schema a number, if it is one. */
function typed(value: unknown, { type }: Schema): unknown {
  const text = asText(value);
  return type === 'integer' || type === 'number'
    ? Number(text)
    : type === 'boolean'
      ? text === 'true' || (text !== 'false' && text)
      : text;
}

function asText(value: unknown): string {
  return (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).toWellFormed();
}

function requestOf(operation: Operation, input: Input, headers: Record<string, string>): Ask {
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const text = asText(input.path[name] ?? '');
    // A client's URL parser takes these away, as it would `..` in a page's links.
    return text === '.' || text === '..' ? text.replaceAll('.', '%2e') : encodeURIComponent(text);
  });
  const query = new URLSearchParams(
    Object.entries(input.query).map(([name, value]): [string, string] => [
      name.toWellFormed(),
      asText(value),
    ]),
  );
  return {
    method: operation.method.toUpperCase(),
    path: `/api/v1${path}${query.size > 0 ? `?${query}` : ''}`,
    headers: {
      ...headers,
      ...(input.body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
  };
}

function inputOf(
  operation: Operation,
  make: (schema: unknown) => fc.Arbitrary<unknown>,
): fc.Arbitrary<Input> {
  const isFitting = make === fitting;
  const at = (where: 'path' | 'query') => {
    const own = operation.parameters.filter((one) => one.in === where);
    return fc.record(Object.fromEntries(own.map(({ name, schema }) => [name, make(schema)])), {
      requiredKeys: own.filter((one) => where === 'path' || one.required).map(({ name }) => name),
    });
  };
  const further = isFitting ? fc.constant({}) : fc.constantFrom({}, {}, { unknown_key: 'x' });
  return fc.record({
    // A name without characters is no name: its path is that of another operation.
    path: at('path').map((params) =>
      Object.fromEntries(
        Object.entries(params).map(([name, value]) => [name, asText(value) === '' ? 'x' : value]),
      ),
    ),
    query: fc.tuple(at('query'), further).map(([a, b]) => ({ ...a, ...b })),
    body: operation.body ? make(operation.body) : fc.constant(undefined),
  });
}

function operationsOf(document: Record<string, unknown>): Operation[] {
  type Raw = Record<string, unknown>;
  const responsesOf = (raw: Raw) =>
    Object.fromEntries(
      Object.entries(raw).map(([status, one]) => {
        const content = ((one as Raw).content ?? {}) as Record<string, { schema: Schema }>;
        const isProblem = typeof (one as Raw).$ref === 'string';
        return [
          status,
          isProblem
            ? { 'application/problem+json': {} }
            : Object.fromEntries(
                Object.entries(content).map(([type, { schema }]) => [type, schema]),
              ),
        ];
      }),
    );
  return Object.entries(document.paths as Record<string, Record<string, Raw>>).flatMap(
    ([path, methods]) =>
      Object.entries(methods).map(([method, raw]): Operation => {
        const body = raw.requestBody as
          | { required: boolean; content: { 'application/json': { schema: Schema } } }
          | undefined;
        const responses = responsesOf(raw.responses as Raw);
        return {
          id: String(raw.operationId),
          method,
          path,
          role: String(raw['x-role']),
          isPersonal: raw['x-scope'] === undefined && raw['x-role'] !== 'public',
          scope: raw['x-scope'] as string | undefined,
          parameters: (raw.parameters ?? []) as Operation['parameters'],
          body: body?.content['application/json'].schema,
          bodyRequired: body?.required ?? false,
          responses,
          isStream: 'text/event-stream' in (responses[200] ?? {}),
        };
      }),
  );
}
