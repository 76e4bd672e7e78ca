import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { deviceSystem } from '../../firstboot/system.ts';
import type { Context } from '../api/context.ts';
import { type Content, scopeOf } from '../api/operation.ts';
import type { VerbName } from '../helper/verbs.ts';
import type { PeerState } from '../kernel-state.ts';
import { vpnOperations } from './operations.ts';
import type { ClientRecord } from './schema.ts';
import { tellChanged } from './store.ts';

const record: ClientRecord = {
  name: 'phone',
  note: '',
  enabled: true,
  addresses: ['10.66.0.2'],
  public_key: 'OLD',
  preshared_key: true,
  zones: null,
  tunnel: 'full',
  dns: null,
  created_at: null,
  expires_at: null,
  config_held: false,
  rotation: null,
};
const peer: PeerState = {
  interface: 'wg0',
  publicKey: 'OLD',
  endpoint: '198.51.100.7:4242',
  allowedIps: ['10.66.0.2/32'],
  handshake: Math.floor(Date.now() / 1000) - 60,
  received: 7,
  sent: 9,
};

let root = '';
let records: ClientRecord[] = [];
let peers: readonly PeerState[] | Error = [];
let asked: [VerbName, unknown][] = [];
let context: Context;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pi-gateway-vpn-'));
  [records, peers, asked] = [[record], [peer], []];
  const answers: Record<string, unknown> = {
    'vpn.config': { text: 'TEXT', public_key: 'KEY' },
    'vpn.forget': {},
    'vpn.qr': { text: '<svg/>' },
  };
  context = {
    system: { ...deviceSystem(() => undefined), root },
    kernel: {
      wireguard: async () => {
        if (peers instanceof Error) throw peers;
        return peers;
      },
    },
    call: async (verb: VerbName, args: unknown) => {
      asked.push([verb, args]);
      return verb === 'vpn.list' ? records : (answers[verb] ?? records[0]);
    },
  } as unknown as Context;
});
afterEach(() => rm(root, { recursive: true }));

/** Checks the input as the server does, and the answer by the schema. */
async function ask(id: string, input: { params?: object; query?: object; body?: object } = {}) {
  const operation = vpnOperations.find((one) => one.id === id);
  if (!operation) throw new Error(`there is no operation ${id}`);
  const checked = (schema: unknown, value: unknown) =>
    (schema as { parse(value: unknown): unknown } | undefined)?.parse(value ?? {});
  const { params, query, body, response } = operation as Record<string, unknown>;
  const answer = await (operation.run as (c: Context, i: object) => Promise<unknown>)(context, {
    params: checked(params, input.params),
    query: checked(query, input.query),
    body: checked(body, input.body),
  });
  return response ? checked(response, answer) : answer;
}
const list = async () => (await ask('vpnListClients')) as { clients: object[] };

describe('a client of the list', () => {
  test('is with what the kernel knows of it', async () => {
    expect(await list()).toEqual({
      clients: [
        {
          ...record,
          state: 'active',
          live: {
            online: true,
            last_handshake_at: new Date(peer.handshake * 1000).toISOString(),
            endpoint: '198.51.100.7:4242',
            received_bytes: 7,
            sent_bytes: 9,
          },
        },
      ],
    });
  });

  test.each([
    ['was silent for long', { handshake: peer.handshake - 600 }, { online: false }],
    [
      'was never there',
      { handshake: 0, endpoint: undefined },
      { online: false, last_handshake_at: null, endpoint: null },
    ],
  ])('says if it %s', async (_, state, live) => {
    peers = [{ ...peer, ...state }];
    expect(await list()).toMatchObject({ clients: [{ live }] });
  });

  test.each([
    ['disabled', { enabled: false }],
    ['expired', { expires_at: '2026-01-01T00:00:00Z' }],
    ['expired', { expires_at: 'next year' }],
    ['active', { expires_at: '2999-01-01T00:00:00Z' }],
  ])('is %s', async (state, change) => {
    records = [{ ...record, ...change }];
    expect(await list()).toMatchObject({ clients: [{ state }] });
  });

  test('has the state of whichever of its keys was heard of last', async () => {
    const rotation = { started_at: null, deadline_at: null, public_key: 'NEW', config_held: false };
    records = [{ ...record, rotation }];
    peers = [peer, { ...peer, publicKey: 'NEW', handshake: peer.handshake + 5, received: 1 }];
    expect(await list()).toMatchObject({ clients: [{ live: { received_bytes: 1 } }] });
  });

  test('is there without the kernel, too', async () => {
    peers = new Error('no');
    expect(await list()).toMatchObject({ clients: [{ name: 'phone', live: null }] });
  });
});

test('the helper is asked for the list again only when clients have changed', async () => {
  const asks = () => asked.filter(([verb]) => verb === 'vpn.list').length;
  await list();
  await list();
  // Nothing says yet when they change.
  expect(asks()).toBe(2);
  await tellChanged(context.system);
  await list();
  await list();
  await Promise.all([list(), ask('vpnShowClient', { params: { name: 'phone' } })]);
  expect(asks()).toBe(3);
  await tellChanged(context.system);
  records = [{ ...record, name: 'mobile' }];
  expect(await list()).toMatchObject({ clients: [{ name: 'mobile' }] });
  expect(asks()).toBe(4);
});

test('a failure of the helper is not remembered', async () => {
  await tellChanged(context.system);
  const { call } = context;
  context.call = async () => {
    throw new Error('gone');
  };
  await expect(list()).rejects.toThrow('gone');
  context.call = call;
  expect(await list()).toMatchObject({ clients: [{}] });
});

test('a client that is not there is missing', async () => {
  await expect(ask('vpnShowClient', { params: { name: 'nobody' } })).rejects.toMatchObject({
    kind: 'missing',
  });
});

test('a key is forgotten when its configuration was sent, and no other key than that', async () => {
  const params = { name: 'phone' };
  const given = (await ask('vpnClientConfig', { params, body: {} })) as Content;
  expect(given).toMatchObject({
    text: 'TEXT',
    headers: { 'content-disposition': 'attachment; filename="phone.conf"' },
  });
  expect(asked).toEqual([['vpn.config', { name: 'phone' }]]);
  await given.sent?.();
  expect(asked.splice(0)).toContainEqual(['vpn.forget', { name: 'phone', public_key: 'KEY' }]);
  expect(await ask('vpnClientConfig', { params, body: { forget: false } })).not.toHaveProperty(
    'sent',
  );
  expect(await ask('vpnClientQr', { params })).toMatchObject({
    type: 'image/svg+xml',
    text: '<svg/>',
  });
  expect(asked).toEqual([
    ['vpn.config', { name: 'phone' }],
    ['vpn.qr', { name: 'phone', form: 'svg' }],
  ]);
});

test('viewers see, and only admins change or get keys', () => {
  const viewers = vpnOperations.filter((one) => one.role === 'viewer').map((one) => one.id);
  expect(viewers).toEqual(['vpnShow', 'vpnListClients', 'vpnShowClient']);
  // Nor does a token that may read the list get private keys.
  const readers = vpnOperations.filter((one) => scopeOf(one) === 'vpn:read').map((one) => one.id);
  expect(readers).toEqual(viewers);
});
