import * as z from 'zod';
import { fqdn, hostname, ipv4, ipv6, port } from '../../builder/config/fields.ts';
import { knownName } from '../known-name.ts';

/** `monitor:` of /etc/pi-gateway/gateway.yaml. What is not set there is as here, or as the image was built. */

/** Part of a check's id and of labels in /metrics. */
const name = z
  .string({ error: 'must be a name, e.g. wiki' })
  .regex(
    /^[a-z0-9][a-z0-9_.-]{0,39}$/,
    'must be 1 to 40 of a-z, 0-9, dot, - and _, beginning with a letter or digit, e.g. wiki',
  );

const host = z.union([ipv4, ipv6, fqdn, hostname], {
  error: 'must be an address or a name, e.g. 192.168.1.10 or nas.lan',
});

function seconds(least: number, most: number) {
  const message = `must be whole seconds from ${least} to ${most}`;
  return z.number({ error: message }).int(message).min(least, message).max(most, message);
}

const needs = z
  .array(z.string().max(80), {
    error: 'must be a list of checks, e.g. [uplink, "unit:ssh.service"]',
  })
  .max(10, 'must be at most 10 checks')
  .optional()
  .describe('Checks that explain this one when they have failed; by default what its kind needs');

const restart = z
  .string({ error: 'must be a service of `pi-gateway service list`, e.g. dns' })
  .regex(/^[a-z][a-z-]{0,31}$/, 'must be a service of `pi-gateway service list`, e.g. dns')
  .optional()
  .describe('Service to restart when this has failed for long');

const timeout = seconds(1, 60).default(10).describe('Seconds to wait for an answer');

const unitCheck = z.strictObject({
  type: z.literal('unit'),
  unit: z
    .string({ error: 'must be a unit of systemd, e.g. nginx.service' })
    .max(200, 'must be a unit of systemd, e.g. nginx.service')
    .regex(
      /^[A-Za-z0-9:_.@\\-]+\.(service|socket|timer|mount|path|target)$/,
      'must be a unit of systemd, e.g. nginx.service',
    ),
  runs: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe('False for one that comes and goes: only its failure counts'),
  needs,
});

const tcpCheck = z.strictObject({
  type: z.literal('tcp'),
  name,
  host: host.default('127.0.0.1'),
  port,
  timeout,
  restart,
  needs,
});

const httpCheck = z.strictObject({
  type: z.literal('http'),
  name,
  url: z
    .string({ error: 'must be a URL, e.g. https://wiki.lan/' })
    .max(2048, 'must be a URL of at most 2048 characters')
    .refine((text) => {
      if (!URL.canParse(text)) return false;
      const { protocol, username, password } = new URL(text);
      return /^https?:$/.test(protocol) && username === '' && password === '';
    }, 'must be an http or https URL without a password, e.g. https://wiki.lan/'),
  status: z
    .array(z.number().int().min(100).max(599), {
      error: 'must be a list of codes, e.g. [200, 401]',
    })
    .min(1)
    .max(20)
    .optional()
    .describe('Codes that are well; by default 200 to 399'),
  contains: z.string().min(1).max(200).optional().describe('Text that the answer must have'),
  verify: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe('False: take any certificate, e.g. one that the server made itself'),
  warn_days: z.number().int().min(0).max(365).default(14).describe('Days left of its certificate'),
  timeout,
  restart,
  needs,
});

const tlsCheck = z.strictObject({
  type: z.literal('tls'),
  name,
  host,
  port: port.default(443),
  verify: z.boolean({ error: 'must be true or false' }).default(true),
  warn_days: z.number().int().min(0).max(365).default(14).describe('Days left of its certificate'),
  timeout,
  needs,
});

const commandCheck = z.strictObject({
  type: z.literal('command'),
  name,
  // Only root can put a program there: who may change settings over the API cannot run their own.
  program: z
    .string({ error: 'must be the name of a file in /etc/pi-gateway/checks.d, e.g. backup-age' })
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/,
      'must be the name of a file in /etc/pi-gateway/checks.d, e.g. backup-age',
    ),
  args: z.array(z.string().max(200)).max(20).default([]),
  every: seconds(30, 86_400).default(300),
  timeout,
  restart,
  needs,
});

export const checkSettings = z.discriminatedUnion(
  'type',
  [unitCheck, tcpCheck, httpCheck, tlsCheck, commandCheck],
  { error: 'must have a type: unit, tcp, http, tls or command' },
);

export type CheckSettings = z.output<typeof checkSettings>;

/** What has a limit; thresholds.ts says of each what is measured and for how long. */
export const thresholdNames = [
  'temperature',
  'throttled',
  'under_voltage',
  'cpu',
  'memory',
  'memory_pressure',
  'swap',
  'disk',
  'boot_disk',
  'inodes',
  'wear',
  'conntrack',
  'loss',
  'latency',
] as const;
export type ThresholdName = (typeof thresholdNames)[number];

const threshold = z.union(
  [
    z.literal('off'),
    z.strictObject({
      limit: z.number().min(0).max(1_000_000).optional(),
      critical: z.number().min(0).max(1_000_000).optional().describe('From here on it is urgent'),
      for: seconds(0, 86_400).optional().describe('Seconds above the limit until it counts'),
    }),
  ],
  { error: 'must be off, or limits, e.g. {limit: 85, for: 300}' },
);

export const monitorSettings = z.strictObject({
  intervals: z
    .strictObject({
      system: seconds(5, 300).default(10).describe('Processor, memory, network, services'),
      wireguard: seconds(10, 600)
        .default(30)
        .describe('Clients of the VPN, counters of the firewall'),
      network: seconds(10, 3600).default(30).describe('Uplink, DNS'),
      checks: seconds(10, 3600).default(60).describe('TCP, HTTP and TLS checks of your own'),
      slow: seconds(30, 3600).default(60).describe('Disks, temperature of the card, updates'),
    })
    .prefault({})
    .describe('Seconds between two looks'),
  history: z
    .strictObject({
      save: seconds(60, 86_400)
        .default(600)
        .describe('Seconds between two writes to the card; a power cut loses as much'),
    })
    .prefault({}),
  thresholds: z
    .partialRecord(z.enum(thresholdNames), threshold)
    .default({})
    .describe('Limits other than those of the image'),
  forecast_days: z
    .number()
    .int()
    .min(0)
    .max(60)
    .default(7)
    .describe('Tell when a disk will be full within so many days; 0: never'),
  targets: z
    .array(z.strictObject({ host: z.union([ipv4, ipv6]), port: port.default(443) }), {
      error: 'must be a list of addresses, e.g. [{host: 9.9.9.9}]',
    })
    .max(8, 'must be at most 8 addresses')
    // Of two operators, so that one of them may be away.
    .default([
      { host: '1.1.1.1', port: 443 },
      { host: '9.9.9.9', port: 443 },
    ])
    .describe(
      'What stands for the Internet: a TCP connection to any of them says that it is there',
    ),
  dns_name: fqdn.default(knownName).describe('Name that must be resolved'),
  time_server: z
    .union([ipv4, ipv6, fqdn, z.literal('')], {
      error: "must be a name or an address; '' for none",
    })
    .default('0.debian.pool.ntp.org')
    .describe("NTP server that the clock is compared with now and then; '': none"),
  ignore: z
    .array(z.string().max(80), {
      error: 'must be a list of checks, e.g. ["unit:fail2ban.service"]',
    })
    .max(50)
    .default([])
    .describe('Checks of the image that are not made'),
  checks: z
    .array(checkSettings, { error: 'must be a list of checks, e.g. [{type: tcp, name: nas, …}]' })
    .max(50, 'must be at most 50 checks')
    .default([])
    .superRefine((checks, context) => {
      const ids = checks.map(checkId);
      for (const [index, id] of ids.entries())
        if (ids.indexOf(id) < index)
          context.addIssue({ code: 'custom', path: [index], message: `is there twice: ${id}` });
    })
    .describe('Checks of your own'),
  hints: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe('Tell what is unusual for the hour of the week, after two weeks of history'),
});

export type MonitorSettings = z.output<typeof monitorSettings>;

/** How `needs` of other checks and the API name it. */
export function checkId(check: CheckSettings): string {
  return check.type === 'unit' ? `unit:${check.unit}` : `${check.type}:${check.name}`;
}
