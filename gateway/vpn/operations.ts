import { stat } from 'node:fs/promises';
import * as z from 'zod';
import { at, type System } from '../../firstboot/system.ts';
import type { Context } from '../api/context.ts';
import { defineOperation } from '../api/operation.ts';
import { GatewayError } from '../errors.ts';
import type { PeerState } from '../kernel-state.ts';
import { isOver } from './moment.ts';
import {
  type ClientRecord,
  clientChange,
  clientName,
  clientRecord,
  importResult,
  importWish,
  newClient,
  rotationWish,
  type ServerRecord,
  serverRecord,
  serverRotationWish,
  stampFile,
} from './schema.ts';

const params = z.strictObject({ name: clientName });

/** What the kernel knows of a client. */
const live = z.strictObject({
  /** A handshake is at most 3 minutes old: WireGuard makes one every 2 while there is traffic. */
  online: z.boolean(),
  last_handshake_at: z.string().nullable(),
  endpoint: z.string().nullable().describe('Address and port that it was last heard from'),
  received_bytes: z.number().describe('From the client, since the interface came up'),
  sent_bytes: z.number(),
});

const client = clientRecord.extend({
  state: z.enum(['active', 'disabled', 'expired']),
  live: live.nullable().describe('null: the interface does not have it'),
});
export type VpnClient = z.output<typeof client>;

const vpn = serverRecord.extend({
  clients: z.strictObject({ total: z.number(), active: z.number(), online: z.number() }),
});
export type Vpn = z.output<typeof vpn>;

const flag = (usual: 'true' | 'false') =>
  z
    .enum(['true', 'false'])
    .default(usual)
    .transform((text) => text === 'true');

/** Seconds: WireGuard makes a handshake every 2 minutes while there is traffic, and ends keys after 3. */
const silence = 180;

/** Peers of the kernel by their public key. Without its state, clients are listed all the same. */
async function readLive(context: Context): Promise<Map<string, PeerState>> {
  const peers = await context.kernel.wireguard().catch(() => []);
  return new Map(peers.map((peer) => [peer.publicKey, peer]));
}

function withState(record: ClientRecord, live: ReadonlyMap<string, PeerState>): VpnClient {
  // Between the first handshake of new keys and the end of the old ones, both are there.
  const keys = [record.public_key, record.rotation?.public_key ?? ''];
  const peer = keys
    .flatMap((key) => live.get(key) ?? [])
    .sort((a, b) => b.handshake - a.handshake)[0];
  const now = Date.now();
  const state = !record.enabled
    ? 'disabled'
    : isOver(record.expires_at, now)
      ? 'expired'
      : 'active';
  return {
    ...record,
    state,
    live:
      peer === undefined
        ? null
        : {
            online: state === 'active' && now / 1000 - peer.handshake < silence,
            last_handshake_at:
              peer.handshake > 0 ? new Date(peer.handshake * 1000).toISOString() : null,
            endpoint: peer.endpoint ?? null,
            received_bytes: peer.received,
            sent_bytes: peer.sent,
          },
  };
}

type Remembered = { stamp: string; at: number; list: Promise<readonly ClientRecord[]> };
const remembered = new WeakMap<System, Remembered>();
/** Milliseconds: for changes by hand that nobody was told of. */
const longest = 60_000;

/**
 * The clients as the helper reads them; again only when they have changed: it would never end otherwise while
 * a dashboard is open, and its 40 MB with it.
 */
async function readRecords(context: Context): Promise<readonly ClientRecord[]> {
  const { system } = context;
  const stamp = await stat(at(system, stampFile), { bigint: true }).then(
    (facts) => `${facts.ino} ${facts.mtimeNs}`,
    () => '',
  );
  const known = remembered.get(system);
  if (known && stamp !== '' && known.stamp === stamp && performance.now() - known.at < longest)
    return await known.list;
  const one = { stamp, at: performance.now(), list: context.call('vpn.list', {}) };
  remembered.set(system, one);
  return await one.list.catch((error: unknown) => {
    if (remembered.get(system) === one) remembered.delete(system);
    throw error;
  });
}

async function readAll(context: Context): Promise<VpnClient[]> {
  const [records, live] = await Promise.all([readRecords(context), readLive(context)]);
  return records.map((record) => withState(record, live));
}

async function oneOf(context: Context, record: Promise<ClientRecord>): Promise<VpnClient> {
  return withState(await record, await readLive(context));
}

async function withClients(context: Context, server: Promise<ServerRecord>): Promise<Vpn> {
  const [record, all] = await Promise.all([server, readAll(context)]);
  return {
    ...record,
    clients: {
      total: all.length,
      active: all.filter(({ state }) => state === 'active').length,
      online: all.filter((one) => one.live?.online).length,
    },
  };
}

const plain = 'text/plain; charset=utf-8';
/** A browser saves it, and keeps no copy. */
const asFile = (name: string) => ({
  'content-disposition': `attachment; filename="${name}"`,
  'cache-control': 'no-store',
});

export const vpnOperations = [
  defineOperation({
    id: 'vpnShow',
    method: 'get',
    path: '/vpn',
    area: 'vpn',
    summary: 'The WireGuard server',
    role: 'viewer',
    response: vpn,
    run: (context) => withClients(context, context.call('vpn.status', {})),
  }),
  defineOperation({
    id: 'vpnRotateServer',
    method: 'post',
    path: '/vpn/server/rotate',
    area: 'vpn',
    summary:
      "Make a new key for the server, on a second port; the old one works until all clients have moved, or the deadline. Clients' configurations name the new key from now on",
    role: 'admin',
    body: serverRotationWish,
    response: vpn,
    run: (context, { body }) => withClients(context, context.call('vpn.server_rotate', body)),
  }),
  defineOperation({
    id: 'vpnFinishServerRotation',
    method: 'post',
    path: '/vpn/server/rotate/finish',
    area: 'vpn',
    summary: 'End the old key of the server now',
    role: 'admin',
    body: z.strictObject({
      cut_off: z.boolean().default(false).describe('Even if clients still use it'),
    }),
    response: vpn,
    run: (context, { body }) => withClients(context, context.call('vpn.server_finish', body)),
  }),
  defineOperation({
    id: 'vpnCancelServerRotation',
    method: 'delete',
    path: '/vpn/server/rotate',
    area: 'vpn',
    summary: 'Keep the old key of the server; who has moved to the new one is cut off',
    role: 'admin',
    query: z.strictObject({
      cut_off: flag('false').describe('Even if clients use the new one already'),
    }),
    response: vpn,
    run: (context, { query }) => withClients(context, context.call('vpn.server_cancel', query)),
  }),
  defineOperation({
    id: 'vpnListClients',
    method: 'get',
    path: '/vpn/clients',
    area: 'vpn',
    summary: 'All clients, with what the kernel knows of them',
    role: 'viewer',
    response: z.strictObject({ clients: z.array(client) }),
    run: async (context) => ({ clients: await readAll(context) }),
  }),
  defineOperation({
    id: 'vpnAddClient',
    method: 'post',
    path: '/vpn/clients',
    area: 'vpn',
    summary: 'Add a client; its configuration is then to be had once',
    role: 'admin',
    body: newClient,
    response: client,
    status: 201,
    run: (context, { body }) => oneOf(context, context.call('vpn.add', body)),
  }),
  defineOperation({
    id: 'vpnShowClient',
    method: 'get',
    path: '/vpn/clients/{name}',
    area: 'vpn',
    summary: 'One client',
    role: 'viewer',
    params,
    response: client,
    run: async (context, { params: { name } }) => {
      const found = (await readAll(context)).find((one) => one.name === name);
      if (found) return found;
      throw new GatewayError(
        `There is no client '${name}'`,
        'See which there are: sudo pi-gateway vpn list',
        'missing',
      );
    },
  }),
  defineOperation({
    id: 'vpnChangeClient',
    method: 'patch',
    path: '/vpn/clients/{name}',
    area: 'vpn',
    summary: 'Change, rename, disable or enable a client; at once, and no other is disturbed',
    role: 'admin',
    params,
    body: clientChange,
    response: client,
    run: (context, { params: { name }, body }) =>
      oneOf(context, context.call('vpn.change', { name, change: body })),
  }),
  defineOperation({
    id: 'vpnRevokeClient',
    method: 'delete',
    path: '/vpn/clients/{name}',
    area: 'vpn',
    summary: 'Revoke a client: it is cut off at once, and for good',
    role: 'admin',
    params,
    run: async (context, { params }) => {
      await context.call('vpn.revoke', params);
      return undefined;
    },
  }),
  defineOperation({
    id: 'vpnRotateClient',
    method: 'post',
    path: '/vpn/clients/{name}/rotate',
    area: 'vpn',
    summary: "Make new keys for a client; the old ones work until the new ones' first handshake",
    role: 'admin',
    params,
    body: rotationWish,
    response: client,
    run: (context, { params, body }) =>
      oneOf(context, context.call('vpn.rotate', { ...params, ...body })),
  }),
  defineOperation({
    id: 'vpnCancelRotation',
    method: 'delete',
    path: '/vpn/clients/{name}/rotate',
    area: 'vpn',
    summary: 'Keep the old keys of a client',
    role: 'admin',
    params,
    response: client,
    run: (context, { params }) => oneOf(context, context.call('vpn.rotate_cancel', params)),
  }),
  defineOperation({
    id: 'vpnClientConfig',
    method: 'post',
    path: '/vpn/clients/{name}/config',
    area: 'vpn',
    summary:
      'Hand out the configuration of a client, private key and all; once it is sent, the gateway forgets that key',
    role: 'admin',
    params,
    body: z.strictObject({
      forget: z.boolean().default(true).describe('false: the gateway keeps the key'),
    }),
    content: plain,
    run: async (context, { params: { name }, body: { forget } }) => {
      const { text, public_key } = await context.call('vpn.config', { name });
      const sent = async () => {
        await context.call('vpn.forget', { name, public_key });
      };
      return { type: plain, text, headers: asFile(`${name}.conf`), ...(forget ? { sent } : {}) };
    },
  }),
  defineOperation({
    id: 'vpnForgetClientKey',
    method: 'delete',
    path: '/vpn/clients/{name}/config',
    area: 'vpn',
    summary: 'Forget the private key of a client, which has it by now; the client stays a peer',
    role: 'admin',
    params,
    run: async (context, { params }) => {
      await context.call('vpn.forget', params);
      return undefined;
    },
  }),
  defineOperation({
    id: 'vpnClientQr',
    method: 'get',
    path: '/vpn/clients/{name}/qr',
    area: 'vpn',
    summary: 'The same as a QR code for the WireGuard app; the gateway keeps the key',
    role: 'admin',
    // A private key is no state that readers may have.
    access: 'write',
    params,
    content: 'image/svg+xml',
    run: async (context, { params: { name } }) => {
      const { text } = await context.call('vpn.qr', { name, form: 'svg' });
      return { type: 'image/svg+xml', text };
    },
  }),
  defineOperation({
    id: 'vpnImport',
    method: 'post',
    path: '/vpn/import',
    area: 'vpn',
    summary: 'Import clients of PiVPN or wg-easy; first as a dry run',
    role: 'admin',
    body: importWish,
    response: importResult,
    run: (context, { body }) => context.call('vpn.import', body),
  }),
] as const;
