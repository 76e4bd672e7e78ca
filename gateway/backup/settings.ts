import { isIP } from 'node:net';
import * as z from 'zod';
import { fqdn, hostname, ipv4, ipv6, port, sshPublicKey } from '../../builder/config/fields.ts';
import { isPrivate } from '../alerts/private.ts';
import { refuseUnlessCertificates } from '../certificates.ts';
import { requireOwnNames } from '../settings/names.ts';
import { secret } from '../settings/secret.ts';

/** `backup:` of /etc/pi-gateway/gateway.yaml: where backups go, when, and how long they are kept. */

/** Part of the name of a systemd unit, a folder and a lock. */
export const targetName = z
  .string({ error: 'must be a name for the target, e.g. nas' })
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/,
    'must be a name of a-z, 0-9 and -, at most 32, e.g. nas',
  )
  .describe("The target's name; without one its type");

const server = z.union([ipv4, ipv6, fqdn, hostname], {
  error: 'must be a host name or an address, e.g. nas.home.arpa or 192.168.1.5',
});

/**
 * Names of folders that mean the same to a shell, a URL, restic and mount(8): no blanks, no `..`, nothing that
 * begins an option.
 */
const segment = '[A-Za-z0-9_][A-Za-z0-9._@+-]*';

function path(form: 'relative' | 'absolute', what: string, example: string) {
  const shape = form === 'absolute' ? `^(/${segment})+$` : `^${segment}(/${segment})*$`;
  const message = `must be ${what}, e.g. ${example}: letters, digits and . _ @ + -`;
  return z.string({ error: message }).max(200, message).regex(new RegExp(shape), message);
}

const folder = path('relative', 'a folder', 'pi-gateway')
  .default('pi-gateway')
  .describe('Folder of the repository there');

const login = (what: string) =>
  z
    .string({ error: `must be ${what}` })
    .min(1, `must be ${what}`)
    .max(128, `must be ${what}, at most 128 characters`)
    .regex(/^[\x21-\x2b\x2d-\x7e]+$/, `must be ${what}: printable ASCII without blanks and commas`);

/** It stands alone on a line of a file of credentials. */
const password = (what: string) =>
  secret(
    z
      .string({ error: `must be ${what}` })
      .min(1, `must be ${what}`)
      .max(256, `must be ${what}, at most 256 characters`)
      .regex(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/, `must be ${what}: printable ASCII`),
  );

const disk = z
  .strictObject({
    type: z.literal('disk'),
    name: targetName.optional(),
    label: z
      .string({ error: "must be the file system's label, e.g. BACKUP" })
      .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,31}$/, "must be the file system's label, e.g. BACKUP")
      .optional()
      .describe('Of the file system (lsblk -o LABEL): mounted only while it is needed'),
    uuid: z
      .string({ error: "must be the file system's UUID" })
      .regex(/^[0-9A-Fa-f]{4}[0-9A-Fa-f-]{5,32}$/, "must be the file system's UUID (lsblk -o UUID)")
      .optional()
      .describe('Of the file system, in place of its label'),
    mount: path('absolute', 'the folder that the disk is mounted on', '/mnt/usb')
      .refine(
        (text) => /^\/(mnt|media|srv)\//.test(text),
        'must be a folder below /mnt, /media or /srv, e.g. /mnt/usb: backups are not let write elsewhere',
      )
      .optional()
      .describe(
        'Where something else mounts it; nothing is written while nothing is mounted there',
      ),
    folder,
  })
  .superRefine((value, context) => {
    const given = (['label', 'uuid', 'mount'] as const).filter((key) => value[key] !== undefined);
    if (given.length !== 1)
      context.addIssue({
        code: 'custom',
        path: given.length === 0 ? [] : [given[1] ?? ''],
        message: 'must have one of label, uuid and mount: which disk it is',
      });
  });

const sftp = z.strictObject({
  type: z.literal('sftp'),
  name: targetName.optional(),
  host: server,
  port: port.default(22),
  user: z
    .string({ error: 'must be the user name at the server' })
    .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/, 'must be the user name at the server, e.g. attic'),
  path: z
    .union(
      [
        path('absolute', 'a folder on the server', '/backups/attic'),
        path('relative', 'a folder on the server', 'backups/attic'),
      ],
      {
        error: 'must be a folder on the server, e.g. /backups/attic: letters, digits and . _ @ + -',
      },
    )
    .describe("A relative one begins in the user's home"),
  host_key: z
    .union([sshPublicKey, z.array(sshPublicKey).min(1).max(4)], {
      error:
        'must be the public host key of the server, e.g. ssh-ed25519 AAAA…; ssh-keyscan HOST shows it',
    })
    .describe('The server is refused unless it has one of these: ssh-keyscan -t ed25519 HOST'),
});

const nfs = z.strictObject({
  type: z.literal('nfs'),
  name: targetName.optional(),
  server,
  export: path('absolute', 'the exported folder', '/volume1/backups'),
  folder,
});

const smb = z
  .strictObject({
    type: z.literal('smb'),
    name: targetName.optional(),
    server,
    share: path('relative', 'the name of the share', 'backups'),
    folder,
    user: login('the user name at the server').optional(),
    password: password('the password at the server').optional(),
    domain: login('the domain of the user').optional(),
  })
  .superRefine((value, context) => {
    if ((value.user === undefined) === (value.password === undefined)) return;
    context.addIssue({
      code: 'custom',
      path: [value.user === undefined ? 'user' : 'password'],
      message: 'is missing: user and password belong together; without both it is a guest',
    });
  });

const bucket = z
  .string({ error: 'must be the name of the bucket' })
  .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be the name of the bucket, e.g. attic-backup');

const endpoint = z
  .string({ error: 'must be a URL, e.g. https://s3.eu-central-1.amazonaws.com' })
  .max(300, 'must be a URL of at most 300 characters')
  .regex(
    /^https?:\/\/[A-Za-z0-9.[\]:-]+\/?$/,
    'must be a URL without a path, e.g. https://s3.eu-central-1.amazonaws.com',
  )
  .refine((text) => URL.canParse(text), 'must be a URL, e.g. https://s3.example.org');

const prefix = path('relative', 'a folder in the bucket', 'attic')
  .default('pi-gateway')
  .describe('Folder of the repository in the bucket');

const region = z
  .string({ error: 'must be a region, e.g. eu-central-1' })
  .regex(/^[a-z0-9-]{1,40}$/, 'must be a region, e.g. eu-central-1');

const s3 = z
  .strictObject({
    type: z.literal('s3'),
    name: targetName.optional(),
    endpoint,
    bucket,
    prefix,
    region: region.optional().describe('If the server wants one'),
    access_key_id: login('the access key id'),
    secret_access_key: password('the secret access key'),
    allow_http: z
      .boolean({ error: 'must be true or false' })
      .default(false)
      .describe('Take http:// too, if the server has a private address'),
    ca: z
      .string({ error: 'must be certificates in PEM form' })
      .max(65_536, 'is longer than 64 KiB')
      .superRefine(refuseUnlessCertificates)
      .optional()
      .describe('Certificates of authorities to trust for this server, in place of the usual ones'),
  })
  .superRefine((value, context) => {
    if (!URL.canParse(value.endpoint)) return;
    const { protocol, hostname: host } = new URL(value.endpoint);
    if (protocol !== 'http:') return;
    const address = host.replace(/^\[|\]$/g, '');
    if (!value.allow_http || (isIP(address) > 0 && !isPrivate(address)))
      context.addIssue({
        code: 'custom',
        path: ['endpoint'],
        message:
          'must begin with https:// (allow_http: true takes http:// too, to private addresses)',
      });
  });

const b2 = z.strictObject({
  type: z.literal('b2'),
  name: targetName.optional(),
  bucket,
  prefix,
  region: region.describe("Of the bucket's endpoint, e.g. eu-central-003"),
  key_id: login('the keyID of an application key'),
  application_key: password('the applicationKey'),
});

export const target = z.discriminatedUnion('type', [disk, sftp, nfs, smb, s3, b2], {
  error: 'must have a type: disk, sftp, nfs, smb, s3 or b2, e.g. {type: disk, label: BACKUP}',
});

/** A whole number with its unit in the key's name. */
function quantity(least: number, most: number, unit: string) {
  return z
    .number({ error: `must be a number of ${unit}` })
    .int(`must be a whole number of ${unit}`)
    .min(least, `must be at least ${least} ${unit}`)
    .max(most, `must be at most ${most} ${unit}`);
}

const everyDays = (usual: number) => quantity(0, 365, 'days').default(usual);

const schedule = z
  .strictObject({
    every: z
      .enum(['hour', 'day', 'week'], { error: 'must be hour, day or week' })
      .default('day')
      .describe('How often; one that was missed or failed is made up for within the hour'),
    time: z
      .string({ error: "must be a time in quotes, e.g. '03:00'" })
      .regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time in quotes, e.g. '03:00'")
      .default('03:00')
      .describe('From when on, by the clock of the device; of a week, on Sunday'),
  })
  .prefault({});

const keep = z
  .strictObject({
    daily: quantity(0, 366, 'days').default(7),
    weekly: quantity(0, 260, 'weeks').default(5),
    monthly: quantity(0, 120, 'months').default(12),
    yearly: quantity(0, 50, 'years').default(0),
  })
  .prefault({})
  .describe('The newest backup of each of so many; the last three stay in any case');

const absolute = z
  .string({ error: 'must be a path, e.g. /srv/photos' })
  .max(400, 'must be a path of at most 400 characters')
  .regex(/^\/[^\n\0]+$/, 'must be a path that begins with /, e.g. /srv/photos');

export const backupSettings = z.strictObject({
  targets: z
    .array(target, { error: 'must be a list of targets, e.g. [{type: disk, label: BACKUP}]' })
    .max(8, 'must be at most 8 targets')
    .default([])
    .describe('Where backups go; each is a repository of its own')
    .superRefine((targets, context) => requireOwnNames(targets.map(nameOf), context)),
  schedule,
  keep,
  paths: z
    .array(absolute, { error: 'must be a list of paths, e.g. [/srv/photos]' })
    .max(50, 'must be at most 50 paths')
    .default([])
    .describe('Files and folders beyond those of the gateway itself'),
  exclude: z
    .array(absolute, { error: 'must be a list of paths, e.g. [/srv/photos/cache]' })
    .max(100, 'must be at most 100 paths')
    .default([])
    .describe('What is left out; * stands for any name in a folder'),
  verify: z
    .strictObject({
      every_days: everyDays(7).describe('How often the repository is checked; 0: never'),
      read_percent: quantity(1, 100, 'percent')
        .default(10)
        .describe('Part of the data that is read back each time, another one each time'),
      restore_days: everyDays(30).describe(
        'How often the last backup is restored into a scratch folder and compared; 0: never',
      ),
    })
    .prefault({}),
  limits: z
    .strictObject({
      upload_kib: quantity(1, 10_000_000, 'KiB a second').optional(),
      download_kib: quantity(1, 10_000_000, 'KiB a second').optional(),
    })
    .prefault({})
    .describe('KiB a second that backups take of the network; none unless set'),
  late_hours: quantity(1, 2000, 'hours')
    .optional()
    .describe(
      'An alert says when the last good backup is older; three times `schedule.every` unless set',
    ),
});

export type BackupSettings = z.output<typeof backupSettings>;
export type Target = z.output<typeof target>;
export type TargetOf<Type extends Target['type']> = Extract<Target, { type: Type }>;

/** What the target is called, in files and for people. */
export function nameOf(one: { name?: string | undefined; type: string }): string {
  return one.name ?? one.type;
}

/** Hours between two backups. */
export const hoursOf = { hour: 1, day: 24, week: 168 } as const;

/** Hours after which a backup is late. */
export function lateHours(settings: BackupSettings): number {
  return settings.late_hours ?? hoursOf[settings.schedule.every] * 3;
}
