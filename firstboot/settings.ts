import { join } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import * as z from 'zod';
import {
  hostname,
  locale,
  publicKeyProblem,
  sshPublicKey,
  timeZone,
  unixName,
} from '../builder/config/fields.ts';
import { OwnerError } from './step.ts';
import { readIfThere, type System } from './system.ts';

export const settingsFile = 'gateway-device.yaml';
export const keysFile = 'authorized_keys';

export const settingsSchema = z.strictObject({
  hostname: hostname.optional(),
  admin: z
    .strictObject({
      name: unixName.optional(),
      ssh_authorized_keys: z
        .array(sshPublicKey)
        .min(1, 'must hold at least one public key')
        .optional(),
      /** crypt(5), for sudo and the console; SSH takes keys alone. */
      password_hash: z.string().optional(),
    })
    .optional(),
  locale: locale.optional(),
  timezone: timeZone.optional(),
  keyboard: z.strictObject({ layout: z.string(), variant: z.string().optional() }).optional(),
  network: z
    .strictObject({
      /** Of eth0, in place of DHCP: addresses with prefix. */
      addresses: z.array(z.string()).optional(),
      gateways: z.array(z.string()).optional(),
      dns: z.array(z.string()).optional(),
      wifi: z
        .strictObject({
          /** ISO 3166-1 alpha-2: the radio stays off without it. */
          country: z.string(),
          /** None of these: only the country is set. */
          ssid: z.string().optional(),
          /** 8 to 63 characters, or the 64 hex digits of the key made of it; none for an open network. */
          password: z.string().optional(),
          hidden: z.boolean().optional(),
        })
        .optional(),
    })
    .optional(),
  wireguard: z
    .strictObject({
      /** Name or address under which clients reach this gateway; else the first of `ddns`. */
      endpoint: z.string().optional(),
      /** Name of the first client, whose configuration first boot makes; false: none. */
      first_client: z.union([z.string(), z.literal(false)]).optional(),
    })
    .optional(),
  /** Checked in full by gateway/ddns/settings.ts. */
  ddns: z.unknown().optional(),
});

/** What the owner asks of this device. */
export type Settings = z.output<typeof settingsSchema>;

/**
 * Reads the owner's settings from the boot partition: gateway-device.yaml, and for the hurried the
 * public keys in authorized_keys.
 * @throws OwnerError that names the file, the line and what to write instead.
 */
export async function readSettings(system: System): Promise<Settings> {
  const text = await readIfThere(join(system.root, system.boot, settingsFile));
  const settings = text === undefined ? {} : parseSettings(text);
  const keys = await readIfThere(join(system.root, system.boot, keysFile));
  if (keys === undefined) return settings;
  const all = [...(settings.admin?.ssh_authorized_keys ?? []), ...parseKeys(keys)];
  return { ...settings, admin: { ...settings.admin, ssh_authorized_keys: [...new Set(all)] } };
}

/** Parses gateway-device.yaml; a byte order mark and Windows line ends are fine. */
export function parseSettings(text: string): Settings {
  const counter = new LineCounter();
  const document = parseDocument(text.replace(/^\uFEFF/, ''), {
    lineCounter: counter,
    prettyErrors: false,
  });
  const [problem] = document.errors;
  if (problem) {
    const { line, col } = counter.linePos(problem.pos[0]);
    throw new OwnerError(
      `${settingsFile}:${line}:${col}: ${problem.message}`,
      'Mend the line; gateway-device.yaml.example shows how it looks',
    );
  }
  const parsed = settingsSchema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path ?? [];
  const wanted = issue?.code === 'unrecognized_keys' ? [...path, issue.keys[0] ?? ''] : path;
  const node = document.getIn(wanted, true) as { range?: [number, number, number] } | undefined;
  const { line, col } = counter.linePos(node?.range?.[0] ?? 0);
  throw new OwnerError(
    `${settingsFile}:${line}:${col}: ${wanted.join('.')}: ${issue?.message ?? 'is wrong'}`,
    'Mend the line; gateway-device.yaml.example shows how it looks',
  );
}

/** Lines of an authorized_keys file. */
export function parseKeys(text: string): string[] {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  for (const [index, line] of lines.entries()) {
    const problem = publicKeyProblem(line);
    if (problem)
      throw new OwnerError(
        `${keysFile}: key ${index + 1} ${problem}`,
        'Put the lines of your .pub files there',
      );
  }
  return lines;
}
