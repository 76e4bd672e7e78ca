import * as z from 'zod';
import { cidr, port } from '../../builder/config/fields.ts';
import type { Zone } from '../../stages/define.ts';
import { type Area, areas, type Scope } from '../api/operation.ts';

/** Versions of the extension API that this gateway speaks, the newest last: docs/extensions.md, “Versions”. */
export const apiVersions: readonly number[] = [1];

/** Where the image has the manifests of its extensions, one file each. */
export const manifestFolder = '/usr/share/pi-gateway/extensions';

/** `x-`, so that no extension has the name of a unit, user or service of the gateway's own. */
export const unitOf = (name: string) => `pi-gateway-x-${name}`;
/** What its service is to others; only systemd can make it, so it is no other program's. */
export const socketOf = (name: string) => `/run/pi-gateway-x/${name}.sock`;
/** Where its service asks the gateway's own API, if it may; only its user can open it. */
export const gatewaySocketOf = (name: string) => `/run/pi-gateway-x/${name}-gateway.sock`;
/** FileDescriptorName= of that: systemd.socket(5). */
export const gatewayDescriptor = (name: string) => `x.${name}`;
export const stateFolderOf = (name: string) => `/var/lib/pi-gateway-x/${name}`;
/** Below it everything that the API has of this extension. */
export const prefixOf = (name: string) => `/x/${name}/`;

const oneLine = (most: number) =>
  z
    .string()
    .min(1)
    .max(most, `must be at most ${most} characters`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not get into a unit
    .regex(/^[^\u0000-\u001f\u007f\u2028\u2029\\]+$/, 'must be one line of text without \\');

/** With `pi-gateway-x-` before it, the name of a user, of which useradd(8) takes 32 characters. */
const extensionName = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,16}[a-z0-9]$/,
    'must be 2 to 18 of a-z, 0-9 and -, beginning with a letter, e.g. hello',
  );

const word = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,30}$/, 'must be of a-z, 0-9 and -, beginning with a letter');

/** Absolute, and written in one way: what is checked is what systemd gets. */
const path = z
  .string()
  .max(200)
  .regex(
    /^(\/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)+$/,
    'must be an absolute path of A-Z, a-z, 0-9 and . _ + @ -, without ..',
  );

const method = z.enum(['get', 'post', 'put', 'patch', 'delete']);

const route = z.strictObject({
  method,
  path: z
    .string()
    .max(120)
    .regex(
      /^(\/([a-z0-9][a-z0-9._-]*|\{[a-z][a-z0-9_]*\}))+$/,
      'must be a path of a-z, 0-9 and . _ -, with parameters in braces: /x/hello/items/{id}',
    ),
  role: z.enum(['viewer', 'admin']).describe('The least role that may'),
  summary: oneLine(120),
});

const argument = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9_]{0,30}$/, 'must be of a-z, 0-9 and _'),
  summary: oneLine(120),
  optional: z.boolean().default(false),
});

const verb = z.strictObject({
  name: word,
  summary: oneLine(120),
  route: z
    .string()
    .regex(/^(get|post|put|patch|delete) \/\S+$/, 'must be a route, e.g. post /x/hello/greetings'),
  arguments: z
    .array(argument)
    .max(6)
    .default([])
    .describe('Words after it: parameters of the path, else of the query (get) or the body'),
});

const innerZones = ['lan', 'vpn', 'containers', 'dmz', 'guest'] as const satisfies readonly Zone[];

export const listen = z.strictObject({
  port,
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  zones: z
    .array(z.enum(innerZones, `must be one of ${innerZones.join(', ')}`))
    .min(1)
    .describe('Who may reach it; never wan'),
});

/** Areas that no extension reads: who may log in, what is secret. */
const closed: readonly Area[] = ['accounts', 'config', 'logs', 'secrets'];
const readable = areas
  .filter((area) => !closed.includes(area))
  .map((area): Scope => `${area}:read`);

const permissions = z.strictObject({
  network: z
    .array(z.union([z.literal('any'), cidr], { error: 'must be a network (192.0.2.0/24) or any' }))
    .max(16)
    .default([])
    .describe('Whom its service may talk to; none: it has no network at all'),
  ports: z
    .record(word, listen)
    .default({})
    .describe('What it listens on: systemd opens it, the firewall lets these zones in'),
  api: z
    .array(z.enum(readable, `must be one of ${readable.join(', ')}`))
    .max(readable.length)
    .default([])
    .describe('What it may read of the gateway’s own API, as a viewer does'),
  writes: z
    .array(path.refine((one) => one.startsWith('/srv/'), 'must be below /srv'))
    .max(8)
    .default([])
    .describe('Folders below /srv that it may write to, besides its own'),
  files: z
    .array(path)
    .max(32)
    .default([])
    .describe('Files or folders of the image that it brings, outside its own folders'),
  units: z
    .array(
      z.string().regex(/^[\w@.:-]+\.(service|socket|timer|path|mount)$/, "must be a unit's name"),
    )
    .max(16)
    .default([])
    .describe('systemd units that its stage.ts turns on or off'),
});

const fields = {
  apiVersion: z.int().describe('Version of the extension API that it is written for'),
  name: extensionName,
  version: z
    .string()
    .regex(/^\d{1,6}\.\d{1,6}\.\d{1,6}(-[0-9A-Za-z.-]{1,32})?$/, 'must be a version, e.g. 1.0.0'),
  title: oneLine(40),
  summary: oneLine(120),
  homepage: z
    .url({ protocol: /^https$/, error: 'must be an https:// URL' })
    .max(200)
    .optional(),
  packages: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9+.-]+$/, 'must be the name of a Debian package'))
    .default([])
    .describe('Debian packages that it needs'),
  service: z
    .strictObject({
      program: z
        .string()
        .regex(
          /^(?!.*\.\.)[\w-][\w./-]*\.(ts|js|mjs)$/,
          'must be a file of its folder: service/main.ts',
        )
        .optional()
        .describe('TypeScript or JavaScript, bundled for the device’s nodejs'),
      command: z
        .array(oneLine(200).regex(/^[^"'\\$%]+$/, 'must be without " \' \\ $ %'))
        .min(1)
        .max(16)
        .optional()
        .describe('Or: a program that a package or its overlay brings, with arguments'),
      start: z
        .enum(['demand', 'boot'])
        .default('demand')
        .describe('demand: when somebody asks; boot: after everything else has started'),
      memory_mb: z.int().min(16).max(512).default(64).describe('What it may use at most, in MiB'),
    })
    .optional(),
  permissions: permissions.prefault({}),
  routes: z.array(route).max(32).default([]),
  verbs: z.array(verb).max(16).default([]),
  card: z
    .strictObject({
      every: z.int().min(5).max(3600).default(30).describe('Seconds between two looks'),
    })
    .optional(),
  health: z
    .strictObject({
      every: z.int().min(30).max(3600).default(60).describe('Seconds between two looks'),
      metrics: z
        .array(z.string().regex(/^[a-z][a-z0-9_]{0,30}$/, 'must be of a-z, 0-9 and _'))
        .max(8)
        .default([])
        .describe('Names of numbers that it tells: charts of 30 days, and /metrics'),
    })
    .optional(),
  backup: z
    .strictObject({
      paths: z.array(path).min(1).max(8).describe('What belongs into a backup'),
      exclude: z.array(path).max(8).default([]),
      stop: z
        .boolean()
        .default(false)
        .describe('Whether its service stands still while it is backed up'),
    })
    .optional(),
};

type Fields = z.output<z.ZodObject<typeof fields>>;

/** Manifest of an extension: extension.yaml. What a schema cannot say is checked with its place, too. */
export const manifestSchema = z.strictObject(fields).superRefine((manifest, context) => {
  for (const { path: at, message } of problemsOf(manifest))
    context.addIssue({ code: 'custom', path: [...at], message });
});

export type Manifest = z.output<typeof manifestSchema>;
export type Route = Manifest['routes'][number];
export type Verb = Manifest['verbs'][number];

/** `get /x/hello/items/{id}`, as verbs and a card's actions name it. */
export const routeName = ({ method: verb, path: at }: Pick<Route, 'method' | 'path'>) =>
  `${verb} ${at}`;

/** Names of a path's parameters. */
export function parametersOf(routePath: string): string[] {
  return [...routePath.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
}

type Mistake = { path: readonly (string | number)[]; message: string };

function problemsOf(manifest: Fields): Mistake[] {
  return [
    ...serviceProblems(manifest),
    ...routeProblems(manifest),
    ...verbProblems(manifest),
    ...backupProblems(manifest),
  ];
}

function serviceProblems({ service, routes, card, health, permissions: may }: Fields): Mistake[] {
  if (service)
    return (service.program === undefined) === (service.command === undefined)
      ? [{ path: ['service'], message: 'must have either program or command' }]
      : service.command && !service.command[0]?.startsWith('/')
        ? [{ path: ['service', 'command', 0], message: 'must be an absolute path' }]
        : [];
  const lacking: [string, boolean][] = [
    ['routes', routes.length > 0],
    ['card', card !== undefined],
    ['health', health !== undefined],
  ];
  return [
    ...lacking.flatMap(([key, asked]) =>
      asked ? [{ path: [key], message: 'needs a service that answers' }] : [],
    ),
    ...(['network', 'ports', 'api', 'writes'] as const).flatMap((key) =>
      Object.keys(may[key]).length > 0
        ? [{ path: ['permissions', key], message: 'is for a service, and there is none' }]
        : [],
    ),
  ];
}

function routeProblems({ name, routes }: Fields): Mistake[] {
  const prefix = prefixOf(name);
  // As the API's router sees them: by which place of the path is a parameter, whatever its name.
  const shape = (one: Route) => routeName(one).replaceAll(/\{\w+\}/g, '{}');
  return routes.flatMap((one, index): Mistake[] => {
    const at = ['routes', index];
    const twin = routes.findIndex((other) => shape(other) === shape(one));
    const names = parametersOf(one.path);
    return [
      ...(one.path.startsWith(prefix)
        ? []
        : [
            {
              path: [...at, 'path'],
              message: `must be below ${prefix}, the extension's own prefix`,
            },
          ]),
      ...(one.path.split('/').length > 8
        ? [{ path: [...at, 'path'], message: 'must have at most 7 parts' }]
        : []),
      ...(new Set(names).size < names.length
        ? [{ path: [...at, 'path'], message: 'must not have one parameter twice' }]
        : []),
      ...(one.method !== 'get' && one.role !== 'admin'
        ? [
            {
              path: [...at, 'role'],
              message: 'must be admin: whoever may only look changes nothing',
            },
          ]
        : []),
      ...(twin < index ? [{ path: at, message: `is the same as routes.${twin}` }] : []),
    ];
  });
}

function verbProblems({ routes, verbs }: Fields): Mistake[] {
  const names = routes.map(routeName);
  return verbs.flatMap((one, index): Mistake[] => {
    const at = ['verbs', index];
    const given = one.arguments.map((argumentOf) => argumentOf.name);
    const missing = parametersOf(one.route).filter((parameter) => !given.includes(parameter));
    const firstOptional = one.arguments.findIndex(({ optional }) => optional);
    return [
      ...(verbs.findIndex((other) => other.name === one.name) < index
        ? [{ path: [...at, 'name'], message: 'is the name of another verb, too' }]
        : []),
      ...(names.includes(one.route)
        ? []
        : [
            {
              path: [...at, 'route'],
              message: `must be one of its routes: ${names.join(', ') || 'there are none'}`,
            },
          ]),
      ...(missing.length > 0
        ? [{ path: [...at, 'route'], message: `has {${missing[0]}}, which no argument gives` }]
        : []),
      ...(one.route.startsWith('delete ') && given.length > parametersOf(one.route).length
        ? [{ path: [...at, 'arguments'], message: 'of a delete are those of its path alone' }]
        : []),
      ...(firstOptional >= 0 && one.arguments.slice(firstOptional).some(({ optional }) => !optional)
        ? [{ path: [...at, 'arguments'], message: 'that are optional must be the last' }]
        : []),
    ];
  });
}

function backupProblems({ name, backup, permissions: may }: Fields): Mistake[] {
  const own = [stateFolderOf(name), ...may.writes];
  const inside = (one: string) => own.some((folder) => `${one}/`.startsWith(`${folder}/`));
  return (['paths', 'exclude'] as const).flatMap((key) =>
    (backup?.[key] ?? []).flatMap((one, index) =>
      inside(one)
        ? []
        : [
            {
              path: ['backup', key, index],
              message: `must be in ${stateFolderOf(name)} or in one of permissions.writes`,
            },
          ],
    ),
  );
}

/** Why this gateway cannot run an extension; undefined if it can. */
export function incompatibility(apiVersion: unknown): string | undefined {
  if (typeof apiVersion === 'number' && apiVersions.includes(apiVersion)) return undefined;
  return `is written for version ${JSON.stringify(apiVersion) ?? '(none)'} of the extension API, and this gateway has ${apiVersions.join(', ')}`;
}
