import { clientFolder } from '../../../firstboot/steps/wireguard-client.ts';
import { at, makeFolder, type System, writeDurably } from '../../../firstboot/system.ts';
import { publicKeyOf } from '../../../firstboot/wireguard-keys.ts';
import { GatewayError } from '../../errors.ts';
import { allocate, checkAddresses, readRetired } from '../addresses.ts';
import { introduce } from '../clients.ts';
import { timeText } from '../moment.ts';
import { emptyPeer, formatPeer, type PeerFile, shownAddresses } from '../peer-file.ts';
import { clientName, type ImportResult, type ImportWish, note } from '../schema.ts';
import { readServer, type Server } from '../server.ts';
import { refuseRotatingServer } from '../server-key.ts';
import { beginChange, peerFolder, putIntoForce, readClients } from '../store.ts';
import { type Foreign, type ForeignClient, readForeign } from './foreign.ts';

type Step = {
  client: ForeignClient;
  peer: PeerFile | undefined;
  said: ImportResult['clients'][number];
};

/**
 * Takes over clients of another tool, with their keys, and with their addresses where those are in this VPN's
 * networks. A cut in the middle leaves those that were done; importing the same files again does the rest.
 */
export async function importClients(system: System, wish: ImportWish): Promise<ImportResult> {
  const foreign = readForeign(wish);
  if (wish.take_server_key) await refuseRotatingServer(system);
  const server = await readServer(system);
  const key = serverKeyOf(foreign, server, wish);
  const steps = await plan(system, foreign, server, wish, key === 'taken' || key === 'the same');
  const warnings = [...foreign.warnings, ...warningsOf(system, foreign, server, steps, key)];
  if (!wish.dry_run) await carryOut(system, foreign, server, steps, key === 'taken');
  return {
    kind: foreign.kind,
    done: !wish.dry_run,
    server_key: key,
    clients: steps.map(({ said }) => said),
    warnings,
  };
}

function serverKeyOf(
  { server }: Foreign,
  own: Server,
  { take_server_key: take }: ImportWish,
): ImportResult['server_key'] {
  const { privateKey } = server;
  if (privateKey === undefined) {
    if (take)
      throw new GatewayError(
        "The server's private key is not in these files",
        "Give the server's own file, too: wg0.conf of PiVPN, wg0.json of wg-easy",
        'refused',
      );
    return 'not in the files';
  }
  if (publicKeyOf(privateKey) === own.publicKey) return 'the same';
  return take ? 'taken' : 'kept';
}

async function plan(
  system: System,
  foreign: Foreign,
  server: Server,
  wish: ImportWish,
  sameKey: boolean,
): Promise<Step[]> {
  const { peers, names, coming } = readClients(system);
  const retired = await readRetired(system);
  const known = new Map([...peers, ...coming].map(([name, peer]) => [peer.publicKey, name]));
  const there = new Map(peers);
  const taken = new Set(names);
  const { settings } = server;
  return foreign.clients.map((client): Step => {
    const skip = (why: string): Step => ({
      client,
      peer: undefined,
      said: {
        ...{ name: '', was: client.name, action: 'skip', why },
        ...{ addresses: [...client.addresses], needs_new_config: false },
      },
    });
    const has = known.get(client.publicKey);
    if (has !== undefined) return skip(`The client ${has} has this key already`);
    if (client.publicKey === server.publicKey) return skip("It has this gateway's own key");
    const placed = placeClient(client, server, there, retired, wish);
    if ('why' in placed) return skip(placed.why);
    const name = freeName(client.name, taken);
    const needs = !sameKey || placed.changed;
    const peer: PeerFile = {
      ...emptyPeer,
      publicKey: client.publicKey,
      presharedKey: client.presharedKey,
      allowedIps: placed.allowedIps,
      created: client.created ?? timeText(new Date()),
      expires: client.expires,
      zones: settings.zones ?? undefined,
      tunnel: client.tunnel ?? settings.tunnel,
      dns: ownDns(client, foreign),
      disabled: client.disabled,
      note: client.name === name ? '' : (note.safeParse(client.name).data ?? ''),
    };
    there.set(name, peer);
    taken.add(name);
    known.set(client.publicKey, name);
    return {
      client,
      peer,
      said: {
        ...{ name, was: client.name, action: 'add', why: placed.said },
        ...{ addresses: shownAddresses(peer), needs_new_config: needs },
      },
    };
  });
}

/** A name of ours for any name: `Ann's iPhone` becomes `ann-s-iphone`; a number after it if it is taken. */
function freeName(was: string, taken: ReadonlySet<string>): string {
  const plain = was
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 28)
    .replaceAll(/^-+|-+$/g, '');
  const start = clientName.safeParse(plain).success ? plain : 'client';
  for (let count = 1; ; count++) {
    const name = count === 1 ? start : `${start}-${count}`;
    if (!taken.has(name)) return name;
  }
}

type Placed = { allowedIps: string[]; changed: boolean; said: string } | { why: string };

/** Its addresses here: its own if they are in the VPN's networks and free. */
function placeClient(
  client: ForeignClient,
  { facts }: Server,
  there: ReadonlyMap<string, PeerFile>,
  retired: ReadonlyMap<string, number>,
  wish: ImportWish,
): Placed {
  const kept: string[] = [];
  const lost: string[] = [];
  for (const address of client.addresses) {
    try {
      kept.push(...checkAddresses(facts, [address], there));
    } catch (error) {
      lost.push(error instanceof Error ? error.message : String(error));
    }
  }
  const why = lost.join('; ');
  if (kept.length > 0 && lost.length === 0)
    return { allowedIps: kept, changed: false, said: 'Key and addresses stay' };
  if (wish.new_addresses) {
    try {
      const allowedIps = allocate(facts, there.values(), retired);
      return { allowedIps, changed: true, said: `Other addresses${why && `: ${why}`}` };
    } catch (error) {
      return { why: error instanceof Error ? error.message : String(error) };
    }
  }
  const v4 = client.addresses.find((one) => !one.includes(':'));
  const network = v4?.replace(/\.\d+$/, '.0/24') ?? 'its network';
  return {
    why: `${why || 'It has no address'}. Build the image with its network (stages.wireguard.network4: ${network}), or let it have new addresses: the client then needs a new file`,
  };
}

/** DNS servers that the client had, unless they were the old server itself. */
function ownDns(client: ForeignClient, { server }: Foreign): readonly string[] | undefined {
  return client.dns?.some((one) => server.addresses.includes(one)) ? undefined : client.dns;
}

function warningsOf(
  system: System,
  foreign: Foreign,
  server: Server,
  steps: readonly Step[],
  key: ImportResult['server_key'],
): string[] {
  const added = steps.filter(({ said }) => said.action === 'add');
  const needing = added.filter(({ said }) => said.needs_new_config);
  const noKey = needing.filter(({ client }) => client.privateKey === undefined);
  const existing = readClients(system).peers.size;
  const { port } = foreign.server;
  const endpoints = [...new Set(added.flatMap(({ client }) => client.endpoint ?? []))];
  return [
    ...(key === 'kept' && needing.length > 0
      ? [
          "This gateway keeps its own key, so that each client needs a new file; the old server's key can be taken over instead",
        ]
      : []),
    ...(key === 'taken' && existing > 0
      ? [
          `The clients that this gateway has already (${existing}) need a new file, as its key changes`,
        ]
      : []),
    ...(noKey.length > 0
      ? [
          `Of ${noKey.map(({ said }) => said.name).join(', ')} the private key is not in the files: put the new values into the client's own file by hand, or replace its keys (vpn rotate)`,
        ]
      : []),
    ...(port !== undefined && port !== server.facts.port && added.length > 0
      ? [
          `The old server answered on port ${port}, this one on ${server.facts.port}: forward that port to it, or build the image with stages.wireguard.port: ${port}`,
        ]
      : []),
    ...(endpoints.length > 0
      ? [
          `These clients look for the server at ${endpoints.slice(0, 5).join(', ')}: that must lead to this gateway`,
        ]
      : []),
  ];
}

async function carryOut(
  system: System,
  foreign: Foreign,
  server: Server,
  steps: readonly Step[],
  takeKey: boolean,
): Promise<void> {
  await beginChange(system);
  if (takeKey && foreign.server.privateKey !== undefined)
    await takeServerKey(system, foreign.server.privateKey);
  const now = takeKey ? await readServer(system) : server;
  await makeFolder(at(system, clientFolder), 0o700);
  await makeFolder(at(system, peerFolder), 0o700);
  for (const { client, peer, said } of steps) {
    if (!peer) continue;
    // A key that is only needed on the client is not kept here.
    if (said.needs_new_config && client.privateKey !== undefined)
      await introduce(system, now, said.name, client.privateKey, peer);
    else await writeDurably(at(system, `${peerFolder}/${said.name}.conf`), formatPeer(peer), 0o600);
  }
  await putIntoForce(system);
}

/** A cut between the two files leaves a public key that the next start makes anew: wireguard-key. */
async function takeServerKey(system: System, privateKey: string): Promise<void> {
  const publicKey = publicKeyOf(privateKey);
  if (publicKey === undefined) throw new Error('the key was checked and is none');
  const file = '/etc/wireguard/server.key';
  await writeDurably(at(system, file), `${privateKey}\n`, 0o600);
  await writeDurably(at(system, '/etc/wireguard/server.pub'), `${publicKey}\n`, 0o600);
  // If the interface is down, its start does it.
  await system
    .run('wg', ['set', 'wg0', 'private-key', at(system, file)])
    .catch((error: unknown) => system.say(`wg0 has not taken the key yet: ${String(error)}`));
}
