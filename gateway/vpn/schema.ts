import * as z from 'zod';
import { isKey } from '../../firstboot/wireguard-keys.ts';
import { clientZones } from '../../stages/firewall/zones.ts';

/** What the VPN's verbs and operations have in common; no code that only root uses. */

/** Made by wireguard-peer, too; lost with the power. */
export const stateFolder = '/run/pi-gateway/vpn';
/** Changes whenever clients do: the daemon, which cannot read their files, sees by it that it must ask. */
export const stampFile = `${stateFolder}/stamp`;

/** As first boot takes it (peerName); the name of a file. */
export const clientName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/,
    'must be a name of 1 to 32 of a-z, 0-9 and -, e.g. phone; others go into the note',
  )
  .meta({ description: 'Name of the client', examples: ['phone'] });

const zoneList = z
  .array(z.enum(clientZones, { error: `must be of ${clientZones.join(', ')}` }))
  .max(clientZones.length)
  .transform((zones) => clientZones.filter((zone) => zones.includes(zone)))
  .meta({ examples: [['lan', 'gateway']] });

export const tunnel = z
  .enum(['full', 'split'])
  .describe('full: all traffic of the client; split: only what is for the VPN and its zones');
export type Tunnel = z.output<typeof tunnel>;

/** Characters that would end a line of a file, or turn the direction of a text that somebody reads. */
const unfit = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

export const note = z
  .string()
  .trim()
  .max(200, 'must be at most 200 characters')
  .refine((text) => !unfit.test(text), 'must be one line without control characters');

export const address = z.union([z.ipv4(), z.ipv6()], {
  error: 'must be an address, e.g. 10.66.0.20',
});

export const dnsServers = z.array(address).max(4, 'must be at most 4 addresses');

/** Files have whole seconds, so that they compare as texts. */
const moment = z.iso
  .datetime({ error: 'must be a time in UTC, e.g. 2027-01-31T00:00:00Z' })
  .transform((text) => `${new Date(text).toISOString().slice(0, 19)}Z`);

/** Of base64 of 32 bytes: wg(8). */
export const publicKey = z
  .string()
  .regex(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/, 'must be a public key: wg pubkey < private-key')
  .refine(isKey, 'must be a public key: wg pubkey < private-key');

/** What is known of a client while its keys change. */
const rotation = z.strictObject({
  started_at: z.string().nullable(),
  /** The old key ends then at the latest. */
  deadline_at: z.string().nullable(),
  public_key: z.string(),
  /** The new configuration, its private key included, is still on the device. */
  config_held: z.boolean(),
});

/** A client as the files on the device have it; never a key that is secret. */
export const clientRecord = z.strictObject({
  name: z.string(),
  note: z.string(),
  enabled: z.boolean(),
  addresses: z.array(z.string()).describe('Its addresses in the VPN, without prefix'),
  public_key: z.string(),
  preshared_key: z.boolean().describe('It has one'),
  zones: z
    .array(z.enum(clientZones))
    .nullable()
    .describe('What it may reach of what the zone table lets the vpn reach; null: all of it'),
  tunnel,
  dns: z.array(z.string()).nullable().describe('Its DNS servers; null: as the gateway says'),
  created_at: z.string().nullable(),
  expires_at: z.string().nullable().describe('It is cut off then; null: never'),
  config_held: z
    .boolean()
    .describe('Its configuration, with its private key, is still on the device'),
  rotation: rotation.nullable(),
});
export type ClientRecord = z.output<typeof clientRecord>;

export const newClient = z.strictObject({
  name: clientName,
  note: note.optional(),
  zones: zoneList
    .nullable()
    .optional()
    .describe('null: all that the zone table lets the vpn reach'),
  tunnel: tunnel.optional(),
  dns: dnsServers.nullable().optional(),
  expires_at: moment.nullable().optional(),
  public_key: publicKey
    .optional()
    .describe('Of a client that keeps its private key; without it the gateway makes one'),
  addresses: z
    .array(address)
    .min(1)
    .max(2)
    .optional()
    .describe("In the VPN's networks; without them the next free ones"),
});
export type NewClient = z.output<typeof newClient>;

export const clientChange = z.strictObject({
  name: clientName.optional().describe('A new name'),
  note: note.optional(),
  enabled: z.boolean().optional(),
  zones: zoneList.nullable().optional(),
  tunnel: tunnel.optional(),
  dns: dnsServers.nullable().optional(),
  expires_at: moment.nullable().optional(),
});
export type ClientChange = z.output<typeof clientChange>;

export const rotationWish = z.strictObject({
  deadline_at: moment
    .nullable()
    .optional()
    .describe('The old key ends then even if the new one was not seen; null: it waits'),
  public_key: publicKey.optional().describe('Of a client that makes its own'),
});

/** How far the replacement of the server's own key is. */
export const serverRotation = z.strictObject({
  old_public_key: z.string().nullable(),
  port: z.number().describe('UDP port of the new key, on the gateway'),
  started_at: z.string().nullable(),
  deadline_at: z.string().nullable().describe('The old key ends then at the latest'),
  moved: z.array(z.string()).describe('Clients that were last heard with the new key'),
  waiting: z.array(z.string()).describe('Clients that still use the old one'),
});
export type ServerRotation = z.output<typeof serverRotation>;

const udpPort = z.number().int().min(1).max(65_535);

export const serverRotationWish = z.strictObject({
  deadline_at: moment
    .nullable()
    .optional()
    .describe('The old key ends then even if clients still use it; null: never; else in 30 days'),
  port: udpPort
    .optional()
    .describe("UDP port of the new key; else the other one of the image's two"),
  endpoint_port: udpPort
    .optional()
    .describe('Port of a router in front that is forwarded to it, if it is another'),
});
export type ServerRotationWish = z.output<typeof serverRotationWish>;

/** Facts of the server. */
export const serverRecord = z.strictObject({
  interface: z.string(),
  public_key: z.string().nullable().describe('As clients are told: of two, the one to come'),
  port: z.number(),
  rotation: serverRotation.nullable(),
  last_rotation: z
    .strictObject({ ended_at: z.string(), cut_off: z.array(z.string()) })
    .nullable()
    .describe('When the old key has ended, and who still used it'),
  mtu: z.number().describe('What clients are told'),
  network4: z.string(),
  network6: z.string(),
  dns: z.array(z.string()).describe('What clients are told unless they have their own'),
  endpoint: z.string().describe('Under which name or address clients look for the gateway'),
  endpoint_known: z
    .boolean()
    .describe('False if it is only the name of the device, which the internet does not know'),
  zones: z
    .array(z.enum(clientZones))
    .describe('What clients can be allowed on this gateway, by its zone table'),
  defaults: z.strictObject({
    zones: z.array(z.enum(clientZones)).nullable(),
    tunnel,
  }),
  free: z.number().describe('Addresses that are left in the IPv4 network'),
});
export type ServerRecord = z.output<typeof serverRecord>;

/** More would be longer than a line of the helper's protocol can be. */
const importBytes = 700_000;

export const importWish = z.strictObject({
  kind: z.enum(['auto', 'pivpn', 'wg-easy']).default('auto').describe('Where the files come from'),
  files: z
    .array(
      z.strictObject({
        name: z.string().max(255).describe('wg0.json, wg0.conf, clients.txt, phone.conf …'),
        text: z.string().max(importBytes),
      }),
    )
    .min(1)
    .max(1100)
    .refine(
      (files) => files.reduce((sum, file) => sum + file.text.length, 0) <= importBytes,
      `must be at most ${importBytes} characters in all; import the clients in parts`,
    ),
  dry_run: z.boolean().default(true).describe('Only say what would be done'),
  new_addresses: z
    .boolean()
    .default(false)
    .describe("Give clients whose addresses are not in this gateway's networks others"),
  take_server_key: z
    .boolean()
    .default(false)
    .describe("Take over the old server's key, so that its clients work unchanged"),
});
export type ImportWish = z.output<typeof importWish>;

export const importResult = z.strictObject({
  kind: z.enum(['pivpn', 'wg-easy']),
  done: z.boolean().describe('False if this was a dry run'),
  server_key: z
    .enum(['kept', 'taken', 'not in the files', 'the same'])
    .describe("The gateway's key afterwards"),
  clients: z.array(
    z.strictObject({
      name: z.string(),
      /** Its name there, if it is no name here. */
      was: z.string(),
      action: z.enum(['add', 'skip']),
      why: z.string(),
      addresses: z.array(z.string()),
      /** It works only with a new file: another server key, address or port. */
      needs_new_config: z.boolean(),
    }),
  ),
  warnings: z.array(z.string()),
});
export type ImportResult = z.output<typeof importResult>;
