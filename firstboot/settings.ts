import * as z from 'zod';
import {
  locale,
  networksOverlap,
  publicKeyProblem,
  sshPublicKey,
  timeZone,
} from '../builder/config/fields.ts';
import { restoreWish } from '../gateway/backup/restore/request.ts';
import { ddnsSettings } from '../gateway/ddns/settings.ts';
import {
  adminName,
  country,
  deviceName,
  endpoint,
  hostAddress,
  interfaceAddress,
  keyboardLayout,
  keyboardVariant,
  passwordHash,
  peerName,
  ssid,
  wifiPassword,
} from './device-fields.ts';
import { decryptSettings, identityFile } from './encrypted-settings.ts';
import { imagerCustomisation, withImager } from './imager/customisation.ts';
import { readOwnerFile, readOwnerText, withoutMark } from './owner-file.ts';
import { type OwnerYaml, type Problem, parseOwnerYaml } from './owner-yaml.ts';
import { schemaProblems } from './schema-problems.ts';
import { OwnerError } from './step.ts';
import { at, once, readIfThere, type System } from './system.ts';

export const settingsFile = 'gateway-device.yaml';
export const encryptedSettingsFile = 'gateway-device.yaml.age';
export const keysFile = 'authorized_keys';
const misnamed = ['gateway-device.yaml.txt', 'gateway-device.yml'];

/** Files of the boot partition that hold secrets of the owner's, to be wiped once they are in use. */
export const settingsFiles: readonly string[] = [settingsFile, encryptedSettingsFile, ...misnamed];

const network = z
  .strictObject({
    /** Of eth0, in place of DHCP: addresses with prefix. */
    addresses: z.array(interfaceAddress).min(1, 'must hold at least one address').optional(),
    gateways: z.array(hostAddress).min(1, 'must hold at least one address').optional(),
    dns: z.array(hostAddress).min(1, 'must hold at least one address').optional(),
    wifi: z
      .strictObject({
        /** ISO 3166-1 alpha-2: the radio stays off without it. */
        country,
        /** None of these: only the country is set. */
        ssid: ssid.optional(),
        /** 8 to 63 characters, or the 64 hex digits of the key made of it; none for an open network. */
        password: wifiPassword.optional(),
        hidden: z.boolean().optional(),
      })
      .superRefine((wifi, context) => {
        for (const key of ['password', 'hidden'] as const)
          if (wifi[key] !== undefined && wifi.ssid === undefined)
            context.addIssue({
              code: 'custom',
              path: [key],
              message: 'needs `ssid:`, the name of the network',
            });
      })
      .optional(),
  })
  .superRefine(({ addresses = [], gateways = [] }, context) => {
    for (const [index, gateway] of gateways.entries()) {
      const refuse = (message: string) =>
        context.addIssue({ code: 'custom', path: ['gateways', index], message });
      if (addresses.length === 0)
        refuse("needs `addresses:`, this device's own; without them DHCP names the gateway");
      else if (addresses.some((own) => networksOverlap(own.split('/')[0] ?? '', gateway)))
        refuse("is this device's own address; give the one of your router");
      else if (
        !networksOverlap(gateway, 'fe80::/10') &&
        !addresses.some((own) => networksOverlap(own, gateway))
      )
        refuse('lies in none of the networks of `addresses:`');
    }
  });

export const settingsSchema = z.strictObject({
  hostname: deviceName.optional(),
  admin: z
    .strictObject({
      name: adminName.optional(),
      ssh_authorized_keys: z
        .array(sshPublicKey)
        .min(1, 'must hold at least one public key')
        .optional(),
      /** crypt(5), for sudo and the console; SSH takes keys alone. */
      password_hash: passwordHash.optional(),
    })
    .optional(),
  locale: locale.optional(),
  timezone: timeZone.optional(),
  keyboard: z
    .strictObject({ layout: keyboardLayout, variant: keyboardVariant.optional() })
    .optional(),
  network: network.optional(),
  wireguard: z
    .strictObject({
      /** Name or address under which clients reach this gateway; else the first of `ddns`. */
      endpoint: endpoint.optional(),
      /** Name of the first client, whose configuration first boot makes; false: none. */
      first_client: z.union([peerName, z.literal(false)]).optional(),
    })
    .optional(),
  ddns: ddnsSettings.optional(),
  /** Makes this device the gateway of a backup. */
  restore: restoreWish.optional(),
});

/** What the owner asks of this device. */
export type Settings = z.output<typeof settingsSchema>;

/**
 * Reads the owner's settings from the boot partition: gateway-device.yaml, or gateway-device.yaml.age;
 * what is not set there from Raspberry Pi Imager's customisation; and for the hurried the public keys in
 * authorized_keys. Keys of all three are joined.
 * @throws OwnerError that names the file, the line and what to write instead.
 */
export function readSettings(system: System): Promise<Settings> {
  return once(system, readAll);
}

async function readAll(system: System): Promise<Settings> {
  const { settings: imager } = await imagerCustomisation(system);
  const settings = withImager(await readOwn(system), imager);
  const keys = await readOwnerText(system, keysFile);
  if (keys === undefined) return settings;
  const all = [...(settings.admin?.ssh_authorized_keys ?? []), ...parseKeys(keys)];
  return { ...settings, admin: { ...settings.admin, ssh_authorized_keys: [...new Set(all)] } };
}

async function readOwn(system: System): Promise<Settings> {
  const text = await readOwnerText(system, settingsFile);
  const encrypted = await readOwnerFile(system, encryptedSettingsFile);
  if (text !== undefined && encrypted !== undefined)
    throw new OwnerError(
      `there are ${settingsFile} and ${encryptedSettingsFile}, and it is not clear which counts`,
      'Remove one of them',
    );
  if (text !== undefined) return parseSettings(text);
  if (encrypted === undefined) return await refuseMisnamed(system);
  const identities = await readIfThere(at(system, identityFile));
  if (identities === undefined)
    throw new OwnerError(
      `${encryptedSettingsFile} cannot be read: this image has no identity to decrypt it with`,
      `Use ${settingsFile} without encryption, or an image with ${identityFile}`,
    );
  const name = encryptedSettingsFile;
  return parseSettings(await decryptSettings(encrypted, identities, name), name);
}

/** Settings that would be overlooked in silence: editors and file managers add endings of their own. */
async function refuseMisnamed(system: System): Promise<Settings> {
  for (const name of misnamed)
    if ((await readOwnerFile(system, name)) !== undefined)
      throw new OwnerError(`${name} is not read`, `Rename it to ${settingsFile}`);
  return {};
}

/** Problems that one message names; more would not help. */
const shown = 10;

/**
 * Parses gateway-device.yaml, on the device and at build time alike; a byte order mark and Windows line
 * ends are fine.
 * @throws OwnerError with one line for each problem, `file:line:column: key: what is wrong`. No message
 * repeats a value.
 */
export function parseSettings(text: string, fileName = settingsFile): Settings {
  const yaml = parseOwnerYaml(text);
  if (yaml.problems.length > 0) throw settingsError(yaml, yaml.problems, fileName);
  const parsed = settingsSchema.safeParse(yaml.data);
  if (parsed.success) return parsed.data;
  throw settingsError(yaml, schemaProblems(yaml, settingsSchema, parsed.error), fileName);
}

function settingsError(
  yaml: OwnerYaml,
  problems: readonly Problem[],
  fileName: string,
): OwnerError {
  const sorted = problems.toSorted((a, b) => a.offset - b.offset);
  const lines = sorted
    .slice(0, shown)
    .map(({ offset, message }) => `${fileName}:${yaml.place(offset)}: ${message}`);
  if (sorted.length > shown) lines.push(`and ${sorted.length - shown} more`);
  return new OwnerError(
    lines.join('\n'),
    `Mend ${lines.length === 1 ? 'the line' : 'these lines'}; gateway-device.yaml.example shows how it looks`,
  );
}

/**
 * Lines of an authorized_keys file.
 * @throws OwnerError that names the line.
 */
export function parseKeys(text: string, fileName = keysFile): string[] {
  const lines = withoutMark(text)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  for (const [index, line] of lines.entries()) {
    const problem = publicKeyProblem(line);
    if (problem)
      throw new OwnerError(
        `${fileName}: key ${index + 1} ${problem}`,
        'Put the lines of your .pub files there',
      );
  }
  return lines;
}
