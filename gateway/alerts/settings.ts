import { isIP } from 'node:net';
import * as z from 'zod';
import { fqdn, hostname, ipv4, ipv6, port, timeZone } from '../../builder/config/fields.ts';
import { refuseUnlessCertificates } from '../certificates.ts';
import { requireOwnNames } from '../settings/names.ts';
import { secret } from '../settings/secret.ts';
import { isPrivate } from './private.ts';

/** `alerts:` of /etc/pi-gateway/gateway.yaml: whom the gateway tells, how, and when it had better not. */

export const severities = ['info', 'warning', 'critical'] as const;

const minSeverity = z
  .enum(severities, { error: 'must be info, warning or critical' })
  .default('warning')
  .describe('The least severity that this channel hears of');

/** Names of channels that are there without settings. */
export const builtIn = ['hooks', 'journal'] as const;

const channelName = z
  .string({ error: 'must be a name for the channel, e.g. phone' })
  .regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, 'must be a name of a-z, 0-9, - and _, e.g. phone')
  .refine(
    (name) => !builtIn.some((one) => one === name),
    'is the name of a channel that is always there; take another',
  )
  .describe("The channel's name; without one its type");

const quiet = z
  .boolean({ error: 'must be true or false' })
  .default(true)
  .describe('Whether quiet hours hold for this channel');

/** Printable ASCII: it goes into headers and URLs. */
function secretText(what: string, example: string, least = 4) {
  const message = `must be ${what}, e.g. ${example}`;
  return secret(
    z
      .string({ error: message })
      .min(least, `${message}; this is too short`)
      .max(512, `${message}; this is longer than 512 characters`)
      .regex(/^[\x21-\x7e]+$/, `${message}: printable ASCII without spaces`),
  );
}

const certificate = z
  .string({ error: 'must be certificates in PEM form: -----BEGIN CERTIFICATE----- …' })
  .max(65_536, 'is longer than 64 KiB')
  .superRefine(refuseUnlessCertificates);

const ca = certificate
  .optional()
  .describe("Certificates of authorities to trust for this server besides the system's");

const allowHttp = z
  .boolean({ error: 'must be true or false' })
  .default(false)
  .describe('Take http:// too, if the server has a private address: no one else is told that way');

/** A URL whose path or query may be the secret that lets one send. Its message never holds the value. */
function urlOf(example: string) {
  const message = `must be a URL, e.g. ${example}`;
  return z
    .string({ error: message })
    .max(2048, `${message}; this is longer than 2048 characters`)
    .regex(/^[\x21-\x7e]+$/, `${message}: printable ASCII without spaces`)
    .refine(
      (text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol),
      `${message}, with https:// at its start`,
    )
    .refine((text) => {
      if (!URL.canParse(text)) return true;
      const { username, password, hash } = new URL(text);
      return [username, password, hash].every((part) => part === '');
    }, `${message}, without user, password and #`);
}

/** What is wrong with a URL's scheme, given what the owner allows; undefined if nothing. */
function schemeProblem(url: string, allowed: boolean): string | undefined {
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname: host } = new URL(url);
  if (protocol !== 'http:') return undefined;
  if (!allowed)
    return 'must begin with https://: over http:// anybody on the way reads it (allow_http: true takes it, to private addresses)';
  const address = host.replace(/^\[|\]$/g, '');
  return isIP(address) > 0 && !isPrivate(address)
    ? 'must begin with https://: allow_http holds for private addresses alone, and this is a public one'
    : undefined;
}

function checkScheme(key: string, url: string, allowed: boolean, context: z.RefinementCtx): void {
  const message = schemeProblem(url, allowed);
  if (message) context.addIssue({ code: 'custom', path: [key], message });
}

/** RFC 5321 §4.1.2, as far as mailboxes are in use: no quotes, no comments, nothing that ends a line. */
const mailbox = z
  .string({ error: 'must be an e-mail address, e.g. you@example.org' })
  .max(254, 'must be an e-mail address of at most 254 characters')
  .regex(
    /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/,
    'must be an e-mail address, e.g. you@example.org',
  );

const mail = z
  .strictObject({
    type: z.literal('mail'),
    name: channelName.optional(),
    host: z
      .union([ipv4, ipv6, fqdn, hostname], {
        error: "must be the mail server's name, e.g. smtp.example.org",
      })
      .describe("The mail server that takes your mail: the provider's SMTP server"),
    port: port.optional().describe('587 with STARTTLS, 465 with implicit TLS unless said'),
    tls: z
      .enum(['starttls', 'implicit'], { error: 'must be starttls or implicit' })
      .default('starttls')
      .describe('starttls: required, there is no mail without; implicit: TLS from the first byte'),
    user: z
      .string({ error: 'must be the user name at the mail server' })
      .min(1, 'must be the user name at the mail server')
      .max(256, 'must be at most 256 characters')
      .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces')
      .optional(),
    password: secret(
      z
        .string({ error: 'must be the password at the mail server' })
        .min(1, 'must be the password at the mail server')
        .max(512, 'must be at most 512 characters')
        .regex(/^[\x20-\x7e]+$/, 'must be printable ASCII'),
    ).optional(),
    from: mailbox.describe('The sender; most servers want the address of the account'),
    to: z
      .array(mailbox, { error: 'must be a list of e-mail addresses, e.g. [you@example.org]' })
      .min(1, 'must name at least one address, e.g. [you@example.org]')
      .max(10, 'must be at most 10 addresses'),
    ca,
    min_severity: minSeverity,
    quiet_hours: quiet,
  })
  .superRefine((value, context) => {
    if ((value.user === undefined) === (value.password === undefined)) return;
    const key = value.user === undefined ? 'user' : 'password';
    context.addIssue({
      code: 'custom',
      path: [key],
      message: 'is missing: user and password belong together; without both no login is made',
    });
  });

const webhook = z
  .strictObject({
    type: z.literal('webhook'),
    name: channelName.optional(),
    url: secret(urlOf('https://example.org/alerts')),
    secret: secretText('a secret that the receiver knows too', 'whsec_…', 16)
      .optional()
      .describe('Signs each message: HMAC-SHA256, header webhook-signature (standardwebhooks.com)'),
    allow_http: allowHttp,
    ca,
    min_severity: minSeverity,
    quiet_hours: quiet,
  })
  .superRefine((value, context) => checkScheme('url', value.url, value.allow_http, context));

const slack = z
  .strictObject({
    type: z.literal('slack'),
    name: channelName.optional(),
    url: secret(urlOf('https://hooks.slack.com/services/T000/B000/XXX')).describe(
      'An incoming webhook of Slack, or of what speaks its language: Mattermost, Rocket.Chat, Discord (…/slack)',
    ),
    allow_http: allowHttp,
    ca,
    min_severity: minSeverity,
    quiet_hours: quiet,
  })
  .superRefine((value, context) => checkScheme('url', value.url, value.allow_http, context));

/** https://docs.ntfy.sh/publish/#message-priority */
const ntfyPriority = z
  .number({ error: 'must be a priority from 1 (min) to 5 (max)' })
  .int('must be a priority from 1 (min) to 5 (max)')
  .min(1, 'must be a priority from 1 (min) to 5 (max)')
  .max(5, 'must be a priority from 1 (min) to 5 (max)');

const ntfy = z
  .strictObject({
    type: z.literal('ntfy'),
    name: channelName.optional(),
    server: urlOf('https://ntfy.sh')
      .refine(
        (text) => !URL.canParse(text) || new URL(text).search === '',
        'must be a URL without a query, e.g. https://ntfy.sh',
      )
      .default('https://ntfy.sh'),
    topic: secret(
      z
        .string({ error: 'must be a topic, e.g. attic-7hk2m9q4' })
        .regex(
          /^[-_A-Za-z0-9]{1,64}$/,
          'must be a topic: 1 to 64 letters, digits, - and _; who knows it can read it, so take one that nobody guesses',
        ),
    ),
    token: secretText('an access token', 'tk_…').optional(),
    priorities: z
      .strictObject({
        info: ntfyPriority.default(2),
        warning: ntfyPriority.default(3),
        critical: ntfyPriority.default(5),
      })
      .prefault({})
      .describe('1 to 5; 5 rings on a phone that is silent'),
    allow_http: allowHttp,
    ca,
    min_severity: minSeverity,
    quiet_hours: quiet,
  })
  .superRefine((value, context) => checkScheme('server', value.server, value.allow_http, context));

const channel = z.discriminatedUnion('type', [mail, webhook, slack, ntfy], {
  error: 'must have a type: mail, webhook, slack or ntfy, e.g. {type: ntfy, …}',
});

const timeOfDay = z
  .string({ error: "must be a time of day in quotes, e.g. '22:00'" })
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time of day, e.g. '22:00'");

const quietHours = z
  .strictObject({
    from: timeOfDay.describe('When they begin, by the clock on the wall'),
    to: timeOfDay.describe('When they end, and what was held is summed up'),
    time_zone: timeZone.optional().describe("The device's own unless said"),
    critical_passes: z
      .boolean({ error: 'must be true or false' })
      .default(true)
      .describe('Critical alerts are told at once all the same'),
  })
  .refine((value) => value.from !== value.to, {
    path: ['to'],
    message: 'must be another time than from; for silence all day take the channels out',
  });

/** A number with its unit in the key's name. */
function quantity(usual: number, least: number, most: number, unit: string) {
  return z
    .number({ error: `must be ${unit}, e.g. ${usual}` })
    .min(least, `must be at least ${least} ${unit}`)
    .max(most, `must be at most ${most} ${unit}`)
    .default(usual);
}

const heartbeat = z
  .strictObject({
    url: secret(urlOf('https://hc-ping.com/your-uuid')).describe(
      'Asked again and again while monitoring works; its server tells you when that ends',
    ),
    method: z.enum(['GET', 'POST'], { error: 'must be GET or POST' }).default('GET'),
    every_minutes: quantity(5, 1, 1440, 'minutes'),
    fail_when_critical: z
      .boolean({ error: 'must be true or false' })
      .default(false)
      .describe('While a critical alert is active, fail_url is asked in its place'),
    fail_url: secret(urlOf('https://hc-ping.com/your-uuid/fail'))
      .optional()
      .describe("url and '/fail' unless said, as healthchecks.io has it"),
    allow_http: allowHttp,
    ca,
  })
  .superRefine((value, context) => {
    checkScheme('url', value.url, value.allow_http, context);
    if (value.fail_url !== undefined)
      checkScheme('fail_url', value.fail_url, value.allow_http, context);
  });

export const alertSettings = z
  .strictObject({
    channels: z
      .array(channel, { error: 'must be a list of channels, e.g. [{type: ntfy, topic: …}]' })
      .max(8, 'must be at most 8 channels')
      .default([])
      .describe('Whom alerts are sent to; each has a queue of its own')
      .superRefine((channels, context) => requireOwnNames(channels.map(nameOf), context)),
    hooks: z
      .boolean({ error: 'must be true or false' })
      .default(true)
      .describe('Give each alert to the executables in /etc/pi-gateway/alerts.d'),
    quiet_hours: quietHours.optional().describe('When channels are silent'),
    group_seconds: quantity(5, 0, 300, 'seconds').describe(
      'Alerts that arise within so long are one message',
    ),
    settle_seconds: quantity(15, 0, 300, 'seconds').describe(
      'What depends on something waits so long, to see whether that has failed too',
    ),
    outlive_seconds: quantity(60, 0, 3600, 'seconds').describe(
      'What was held back is told if it lasts for so long after its cause is over',
    ),
    flapping_count: quantity(3, 1, 60, 'times').describe(
      'What fires more often than this in an hour is told once more, as flapping',
    ),
    stable_minutes: quantity(30, 1, 1440, 'minutes').describe(
      '… and then not until it has been one way for so long',
    ),
    remind_hours: quantity(0, 0, 168, 'hours').describe(
      'A critical alert that lasts is told again after so long, e.g. 24; 0: never',
    ),
    heartbeat: heartbeat.optional().describe("A dead man's switch: tells when the gateway is dead"),
  })
  .prefault({});

export type AlertSettings = z.output<typeof alertSettings>;
export type ChannelSettings = AlertSettings['channels'][number];
export type ChannelOf<Type extends ChannelSettings['type']> = Extract<
  ChannelSettings,
  { type: Type }
>;
export type QuietHours = NonNullable<AlertSettings['quiet_hours']>;
export type HeartbeatSettings = NonNullable<AlertSettings['heartbeat']>;
export type Severity = (typeof severities)[number];

/** What the channel is called, in the queue and for people. */
export function nameOf(channel: { name?: string | undefined; type: string }): string {
  return channel.name ?? channel.type;
}
