import * as z from 'zod';
import { zone } from '../../builder/config/fields.ts';

/**
 * A template says what an app is made of: containers, what each may use, and whom it answers to. Those of the
 * catalogue are in catalog/; an owner's own are files of the same shape in {@link ownTemplates}.
 */
export const ownTemplates = '/etc/pi-gateway/containers/templates';

/** Part of names of units, volumes and files: no dots, as a secret's name has them between its parts. */
const word = (what: string) =>
  z
    .string()
    .regex(
      /^[a-z][a-z0-9-]{0,30}[a-z0-9]$/,
      `must be ${what}: a-z 0-9 -, beginning with a letter, 2 to 32 long`,
    )
    .refine((text) => !text.includes('--'), 'must not have two hyphens in a row');

export const appName = word('a name, e.g. grafana');

const absolutePath = z
  .string()
  .max(200)
  .regex(/^(\/[A-Za-z0-9._-]+)+$/, 'must be a path in the container, e.g. /var/lib/grafana')
  .refine((text) => !text.split('/').includes('..'), 'must not lead upwards');

/** Registry, path and tag; never `latest`, which is another image each day. */
export const imageReference = z
  .string()
  .max(200)
  .regex(
    /^[a-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/,
    'must have registry, name and tag, e.g. docker.io/grafana/grafana:12.1.1',
  )
  .refine((text) => !text.endsWith(':latest'), 'must name a version, not latest');

export const imageDigest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hexadecimal digits');

/** Printed into a unit's line: no line breaks, nothing that systemd would take for a continuation. */
const line = z
  .string()
  .max(1_000)
  .refine((text) => !/[\r\n\0]/.test(text), 'must be one line');

export const environmentName = z
  .string()
  .max(100)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be a name of an environment variable');

const port = z.number().int().min(1).max(65_535);

/** capabilities(7), without CAP_; those with which a container could leave its bounds are not to be had. */
const capability = z.enum([
  'CHOWN',
  'DAC_OVERRIDE',
  'FOWNER',
  'KILL',
  'NET_BIND_SERVICE',
  'NET_RAW',
  'SETGID',
  'SETUID',
]);

export const networks = ['dmz', 'management', 'internal'] as const;

const publishedPort = z.strictObject({
  name: word("what is there, e.g. 'web'"),
  /** In the container. */
  port,
  /** On the gateway; every app has its own. */
  published: port,
  protocol: z.enum(['tcp', 'udp']).default('tcp'),
  /** Who may reach it, unless the owner says otherwise; none: the gateway alone. */
  zones: z.array(zone).default([]),
  /** A path for browsers, e.g. `/`; null: it is no web page. */
  web: z.string().startsWith('/').nullable().default(null),
});

const part = z.strictObject({
  /** One part has the app's own name. */
  name: word('a name, e.g. database'),
  image: imageReference,
  /** None: pinned when the image is first pulled or loaded. */
  digest: imageDigest.nullable().default(null),
  /** The user in the container that the program ends up as: who reads its secrets. */
  uid: z.number().int().min(0).max(65_533).default(0),
  /** Starts as that user; without it the image's own start-up changes to it. */
  starts_as_uid: z.boolean().default(false),
  command: z.array(line).default([]),
  environment: z.record(environmentName, line).default({}),
  /** Files in /run/secrets, and variables that hold their paths: never the values. */
  secrets: z
    .array(
      z.strictObject({
        secret: word('one of the template’s secrets'),
        variable: environmentName.nullable(),
      }),
    )
    .default([]),
  volumes: z.array(z.strictObject({ name: word('a name'), path: absolutePath })).default([]),
  /** Memory in place of disk, in MiB. */
  tmpfs: z
    .array(z.strictObject({ path: absolutePath, mib: z.number().int().min(1).max(512) }))
    .default([]),
  /** Configuration that is put in read-only. */
  files: z
    .array(z.strictObject({ path: absolutePath, content: z.string().max(20_000) }))
    .default([]),
  /**
   * dmz: the internet, and whoever its ports are opened for; management: its ports only; internal: the app's
   * other parts only.
   */
  networks: z.array(z.enum(networks)).min(1),
  ports: z.array(publishedPort).default([]),
  limits: z.strictObject({
    memory_mib: z.number().int().min(16).max(16_384),
    cpus: z.number().min(0.05).max(16),
    pids: z.number().int().min(8).max(8_192),
  }),
  capabilities: z.array(capability).default([]),
  /** Why its root file system cannot be read-only; null: it is. */
  writable_because: z.string().min(10).nullable().default(null),
  health: z.strictObject({
    command: z.array(line).min(1),
    interval_s: z.number().int().min(5).max(600).default(30),
    timeout_s: z.number().int().min(1).max(120).default(10),
    retries: z.number().int().min(1).max(20).default(3),
    /** Failures in this time do not count. */
    start_s: z.number().int().min(0).max(1_800).default(60),
  }),
  /** Parts that must be well before. */
  needs: z.array(word('a part')).default([]),
});

export const template = z
  .strictObject({
    id: appName,
    title: line,
    summary: line,
    /** Of the template, not of what is in the images. */
    version: z.number().int().min(1),
    /** How the owner gets in for the first time. */
    login: z
      .strictObject({ user: line.nullable(), secret: word('one of the template’s secrets') })
      .nullable()
      .default(null),
    secrets: z.array(word('a name, e.g. admin-password')).default([]),
    /** An InfluxDB 2 among its parts that the gateway writes its metrics to. */
    metrics: z
      .strictObject({
        port: word('the name of its port'),
        secret: word('one of the template’s secrets'),
        organization: line,
        bucket: line,
      })
      .nullable()
      .default(null),
    parts: z.array(part).min(1).max(6),
    notes: z.array(line).default([]),
  })
  .superRefine((value, context) => {
    const refuse = (path: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path, message });
    const names = value.parts.map(({ name }) => name);
    if (!names.includes(value.id))
      refuse(['parts'], `one part must have the app's name, ${value.id}`);
    const published = value.parts.flatMap((one) => one.ports.map(portKey));
    for (const [index, one] of value.parts.entries()) {
      if (names.indexOf(one.name) !== index)
        refuse(['parts', index, 'name'], `there are two parts ${one.name}`);
      for (const other of one.needs)
        if (!names.slice(0, index).includes(other))
          refuse(['parts', index, 'needs'], `${other} must be a part before this one`);
      for (const { secret } of one.secrets)
        if (!value.secrets.includes(secret))
          refuse(['parts', index, 'secrets'], `${secret} is none of the template's secrets`);
      for (const [i, port] of one.ports.entries()) {
        if (published.filter((key) => key === portKey(port)).length > 1)
          refuse(['parts', index, 'ports', i], `port ${port.published} is published twice`);
        if (one.networks.every((network) => network === 'internal'))
          refuse(['parts', index, 'ports', i], 'a part on the internal network alone has no ports');
      }
    }
    if (value.metrics && !value.secrets.includes(value.metrics.secret))
      refuse(['metrics', 'secret'], "is none of the template's secrets");
    if (value.login && !value.secrets.includes(value.login.secret))
      refuse(['login', 'secret'], "is none of the template's secrets");
  });

export type Template = z.output<typeof template>;
export type TemplatePart = Template['parts'][number];
export type PublishedPort = TemplatePart['ports'][number];

const portKey = ({ protocol, published }: PublishedPort) => `${protocol} ${published}`;

/** Types a template of the catalogue, and fills in what it does not say. */
export function defineTemplate(value: z.input<typeof template>): Template {
  return template.parse(value);
}

/** Units and containers of a part: `grafana`, `grafana--influxdb`. No word has two hyphens, so no two are alike. */
export function partName(app: string, part: Pick<TemplatePart, 'name'>, from: Template): string {
  return part.name === from.id ? app : `${app}--${part.name}`;
}

/** A secret of an app in the device's store; `ImportCredential=container.%i.*` finds all of an app's. */
export const secretOf = (app: string, secret: string): string => `container.${app}.${secret}`;
