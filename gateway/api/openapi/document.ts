import { setImmediate } from 'node:timers/promises';
import * as z from 'zod';
import { sessionCookie } from '../http/cookie.ts';
import { type Operation, scopeOf } from '../operation.ts';

type Json = Record<string, unknown>;

/**
 * OpenAPI 3.1 of the operations: https://spec.openapis.org/oas/v3.1.1.html. A slow Pi takes seconds for all of
 * it, so others have their turn after each.
 */
export async function openApiDocument(
  operations: readonly Operation[],
  version: string,
): Promise<Json> {
  const paths: Record<string, Json> = {};
  for (const operation of operations) {
    await setImmediate();
    paths[operation.path] ??= {};
    Object.assign(paths[operation.path] ?? {}, { [operation.method]: operationObject(operation) });
  }
  const areas = [...new Set(operations.map(({ area }) => area))].sort();
  return {
    openapi: '3.1.1',
    info: {
      title: 'Pi Gateway',
      version,
      description:
        'Every error is a problem of RFC 9457. A browser logs in by POST /session and sends X-CSRF-Token with each change; programs send an API token.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/api/v1' }],
    tags: areas.map((name) => ({ name })),
    paths,
    components: {
      schemas: { Problem: problem },
      responses: Object.fromEntries(
        Object.entries(refusals).map(([status, description]) => [
          `Problem${status}`,
          { description, content: { 'application/problem+json': { schema: ref('Problem') } } },
        ]),
      ),
      securitySchemes: {
        session: { type: 'apiKey', in: 'cookie', name: sessionCookie },
        csrf: { type: 'apiKey', in: 'header', name: 'X-CSRF-Token' },
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'pgw_…, from POST /tokens; limited to scopes such as vpn:read',
        },
      },
    },
  };
}

const ref = (name: string): Json => ({ $ref: `#/components/schemas/${name}` });

const problem: Json = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'fix'],
  properties: {
    type: { type: 'string', const: 'about:blank' },
    title: { type: 'string', description: "The status's own words" },
    status: { type: 'integer', minimum: 400, maximum: 599 },
    detail: { type: 'string', description: 'What is wrong' },
    fix: { type: 'string', description: 'What to do about it' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['at', 'message'],
        properties: {
          at: { type: 'string', description: 'Where in the input: body.name' },
          message: { type: 'string' },
        },
      },
    },
  },
};

/** Why an operation may be refused, by status. */
const refusals: Readonly<Record<number, string>> = {
  400: 'The input is none',
  401: 'No credentials, or they hold no more',
  403: 'The role or the scope is not enough, or a change came from another site',
  404: 'There is no such thing',
  409: 'It is so already, or something else is under way',
  413: 'The body is too long',
  414: 'The address is too long',
  415: 'The body is no JSON',
  429: 'Too many; see Retry-After',
  500: 'The gateway failed at it',
  502: 'An extension did not answer, or gave what is no answer',
  504: 'What needs root has not come to an end in time; it may still be done',
  503: 'A part of the gateway does not answer now; see Retry-After',
};

function operationObject(operation: Operation): Json {
  const { id, summary, area, role, params, query, body } = operation;
  return {
    operationId: id,
    summary,
    tags: [area],
    security: security(operation),
    'x-role': role,
    ...(role === 'public' || operation.personal ? {} : { 'x-scope': scopeOf(operation) }),
    ...(params || query ? { parameters: [...inPath(params), ...inQuery(query)] } : {}),
    ...(body
      ? {
          requestBody: {
            required: !body.safeParse(undefined).success,
            content: { 'application/json': { schema: schemaOf(body, 'input') } },
          },
        }
      : {}),
    responses: responses(operation),
  };
}

function security(operation: Operation): Json[] {
  if (operation.role === 'public') return [];
  const session: Json = operation.method === 'get' ? { session: [] } : { session: [], csrf: [] };
  return operation.personal ? [session] : [session, { token: [scopeOf(operation)] }];
}

function responses(operation: Operation): Json {
  const { role, body, response, content } = operation;
  const status = statusOf(operation);
  const statuses = [
    400,
    ...(role === 'public' ? (body ? [401, 403] : []) : [401, 403]),
    ...[404, 409, 414],
    ...(body ? [413, 415] : []),
    ...(operation.area === 'extensions' ? [502] : []),
    ...[429, 500, 503, 504],
  ];
  return {
    [status]: {
      description: operation.summary,
      ...(response
        ? { content: { 'application/json': { schema: schemaOf(response, 'output') } } }
        : content
          ? { content: { [content]: { schema: { type: 'string' } } } }
          : {}),
    },
    ...Object.fromEntries(
      statuses.map((one) => [one, { $ref: `#/components/responses/Problem${one}` }]),
    ),
  };
}

/** Of the answer if all is well. */
export function statusOf({ status, response, content }: Operation): number {
  return status ?? (response || content ? 200 : 204);
}

function inPath(schema: z.ZodType | undefined): Json[] {
  return fields(schema).map(([name, field]) => ({
    name,
    in: 'path',
    required: true,
    schema: field,
  }));
}

function inQuery(schema: z.ZodType | undefined): Json[] {
  return fields(schema).map(([name, field, isRequired]) => ({
    name,
    in: 'query',
    required: isRequired,
    schema: field,
  }));
}

function fields(
  schema: z.ZodType | undefined,
): [name: string, field: unknown, required: boolean][] {
  if (!schema) return [];
  const { properties = {}, required = [] } = schemaOf(schema, 'input');
  return Object.entries(properties as Json).map(([name, field]) => [
    name,
    field,
    (required as string[]).includes(name),
  ]);
}

export function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  // What JSON Schema has no word for (a refinement) it leaves out; the server still checks it.
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      // zod checks IPv6 by its URL parser, which takes more than the pattern that it writes.
      if (jsonSchema.format === 'ipv6' || jsonSchema.format === 'cidrv6') delete jsonSchema.pattern;
    },
  });
  return rest;
}
