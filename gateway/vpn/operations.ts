import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import {
  clientChange,
  clientName,
  clientRecord,
  importResult,
  importWish,
  newClient,
  rotationWish,
  serverRecord,
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

const notYet = async (): Promise<never> => {
  throw new Error('not yet');
};

export const vpnOperations = [
  defineOperation({
    id: 'vpnShow',
    method: 'get',
    path: '/vpn',
    area: 'vpn',
    summary: 'The WireGuard server',
    role: 'viewer',
    response: vpn,
    run: notYet,
  }),
  defineOperation({
    id: 'vpnListClients',
    method: 'get',
    path: '/vpn/clients',
    area: 'vpn',
    summary: 'All clients, with what the kernel knows of them',
    role: 'viewer',
    response: z.strictObject({ clients: z.array(client) }),
    run: notYet,
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
    run: notYet,
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
    run: notYet,
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
    run: notYet,
  }),
  defineOperation({
    id: 'vpnRevokeClient',
    method: 'delete',
    path: '/vpn/clients/{name}',
    area: 'vpn',
    summary: 'Revoke a client: it is cut off at once, and for good',
    role: 'admin',
    params,
    run: notYet,
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
    run: notYet,
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
    run: notYet,
  }),
  defineOperation({
    id: 'vpnClientConfig',
    method: 'get',
    path: '/vpn/clients/{name}/config',
    area: 'vpn',
    summary:
      'The configuration of a client, private key and all; the gateway then forgets that key',
    role: 'admin',
    params,
    query: z.strictObject({ forget: flag('true') }),
    content: 'text/plain; charset=utf-8',
    run: notYet,
  }),
  defineOperation({
    id: 'vpnClientQr',
    method: 'get',
    path: '/vpn/clients/{name}/qr',
    area: 'vpn',
    summary: 'The same as a QR code for the WireGuard app; the gateway keeps the key',
    role: 'admin',
    params,
    content: 'image/svg+xml',
    run: notYet,
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
    run: notYet,
  }),
] as const;
