import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import * as z from 'zod';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { readPorts } from '../services/units.ts';
import { serverStateFile } from '../vpn/server-state.ts';
import { ask, type RouterPath } from './exchange.ts';
import {
  type Mapped,
  type MapRequest,
  natPmpAddressRequest,
  natPmpMapRequest,
  pcpMapRequest,
  type Refusal,
  readNatPmp,
  readNatPmpAddress,
  readPcp,
  routerPort,
  unknownOption,
} from './packets.ts';
import { type Request, readRequest } from './request.ts';
import { type Uplink, uplinksOf } from './routers.ts';
import { findGateway, type Gateway, RouterError, ssdpPort, upnpMap, upnpUnmap } from './upnp.ts';
import {
  type FamilyStatus,
  type Method,
  methodNames,
  methods,
  type PortmapStatus,
} from './view.ts';

/**
 * One run of the service: every mapping that is wanted is asked for again, so a lease never ends and a router that
 * was restarted gets it back within a run of the timer. What was asked for and is not wanted any more is taken
 * back. The record says before each request what it will be for, so that a power cut forgets none.
 */

const held = z.object({
  method: z.enum(methods),
  family: z.union([z.literal(4), z.literal(6)]),
  router: z.string(),
  own: z.string(),
  internal: z.number().int(),
  /** Port of the router that was wished for, and the one that it gave. */
  wished: z.number().int(),
  external: z.number().int(),
  /** How often the router did not answer when it was to be ended. */
  tries: z.number().int().default(0),
});
type Held = z.output<typeof held>;

const record = z.object({
  /** Hex. */
  nonce: z.string().regex(/^[0-9a-f]{24}$/),
  held: z.array(held).max(32),
});
type PortRecord = z.output<typeof record>;

export type Places = {
  /** The record; the service's own folder. */
  state: string;
  /** Folder that gets status.json. */
  runtime: string;
};

/** Two hours of the timer: a lease that nobody renews is over by then. */
const mostTries = 8;

type Wanted = { internal: number; external: number };

/** Asks, renews, takes back. @returns what it came to, which status.json has, too. */
export async function runPortmap(
  system: System,
  places: Places,
  now = new Date(),
): Promise<PortmapStatus> {
  const request = await readRequest(system);
  const before = await readRecord(places);
  const uplinks = await uplinksOf(system);
  const wanted = request === undefined ? [] : await wantedPorts(system, request);
  const status = await work(system, places, before, request, uplinks, wanted);
  const whole = { checked_at: now.toISOString(), ...status };
  await publish(places, whole);
  return whole;
}

export async function publish(places: Places, status: PortmapStatus): Promise<void> {
  await writeDurably(`${places.runtime}/status.json`, `${JSON.stringify(status)}\n`, 0o644);
}

async function work(
  system: System,
  places: Places,
  { nonce, held: old }: PortRecord,
  request: Request | undefined,
  uplinks: readonly Uplink[],
  wanted: readonly Wanted[],
): Promise<Omit<PortmapStatus, 'checked_at'>> {
  const asked = uplinks.filter(({ family }) => request && (family === 4 || request.ipv6));
  const mapping = request?.mapping ?? 'auto';
  const isWanted = (one: Held) =>
    (mapping === 'auto' || mapping === one.method) &&
    asked.some(({ family }) => family === one.family) &&
    wanted.some(({ internal, external }) => internal === one.internal && external === one.wished);
  const stuck: Held[] = [];
  const endAll = async (list: readonly Held[]) => {
    for (const one of list) {
      if (await takeBack(one, nonce, uplinks)) continue;
      if (one.tries + 1 < mostTries) stuck.push({ ...one, tries: one.tries + 1 });
      system.say(
        `The router did not answer when it was to end the mapping of port ${one.external}`,
      );
    }
  };
  const mapAll = async (known: readonly Held[]): Promise<Family[]> => {
    const found: Family[] = [];
    for (const uplink of asked) {
      const remember = (more: readonly Held[]) =>
        writeRecord(places, {
          nonce,
          held: distinct([...stuck, ...known, ...found.flatMap(({ held: own }) => own), ...more]),
        });
      found.push(
        await mapFamily(uplink, mapping, request?.lease ?? 0, wanted, {
          nonce,
          old: known,
          remember,
        }),
      );
    }
    return found;
  };
  // First, as a router has one mapping for each port of ours, and would give the old one again (RFC 6887, 11.3).
  await endAll(old.filter((one) => !isWanted(one)));
  const good = old.filter(isWanted);
  let found = await mapAll(good);
  const own = () => found.flatMap((one) => one.held);
  const stale = good.filter((one) => !own().some((other) => isSame(one, other)));
  if (stale.length > 0) {
    await endAll(stale);
    // In most routers a port has one mapping, whoever asked for it and how: the new one may have gone with the old.
    found = await mapAll(own());
  }
  const families = found.map(({ status }) => status);
  const kept = own();
  const left = distinct([...kept, ...stuck]);
  // Without it the unit does not start any more.
  if (request === undefined && left.length === 0) await rm(places.state, { force: true });
  else await writeRecord(places, { nonce, held: left });
  return { ...judge(request, uplinks, wanted, families), families };
}

function judge(
  request: Request | undefined,
  uplinks: readonly Uplink[],
  wanted: readonly Wanted[],
  families: readonly FamilyStatus[],
): Pick<PortmapStatus, 'state' | 'summary'> {
  if (request === undefined) return { state: 'off', summary: 'The router is asked for nothing' };
  if (wanted.length === 0)
    return { state: 'error', summary: 'This gateway has no VPN that a port would be for' };
  if (uplinks.length === 0)
    return { state: 'offline', summary: 'There is no uplink with a router to ask' };
  const mapped = families.filter(({ method }) => method !== null);
  const [first] = mapped;
  if (first?.method) {
    const ports = first.ports.map(({ internal, external }) =>
      internal === external ? `${external}` : `${external} (here ${internal})`,
    );
    return {
      state: 'mapped',
      summary: `The router lets UDP ${ports.join(', ')} through, asked by ${methodNames[first.method]}`,
    };
  }
  if (uplinks.some(({ direct }) => direct))
    return {
      state: 'direct',
      summary: 'The gateway has a public address itself: nothing to ask for',
    };
  return {
    state: 'refused',
    summary:
      'The router does not let the port through: forward it by hand (sudo pi-gateway router guide)',
  };
}

/** The VPN's port, and during a change of the server's key the one that is to come. */
async function wantedPorts(system: System, request: Request): Promise<Wanted[]> {
  const own = (await readPorts(system)).find(({ name }) => name === 'wireguard')?.port;
  if (own === undefined) return [];
  const text = (await readIfThere(at(system, serverStateFile))) ?? '';
  const next = Number(/^next_port=(\d+)$/m.exec(text)?.[1] ?? 0);
  return [
    { internal: own, external: request.external_port ?? own },
    ...(next > 0 && next !== own ? [{ internal: next, external: next }] : []),
  ];
}

type Family = { status: FamilyStatus; held: Held[] };

async function mapFamily(
  uplink: Uplink,
  mapping: Request['mapping'],
  lease: number,
  wanted: readonly Wanted[],
  o: { nonce: string; old: readonly Held[]; remember(more: readonly Held[]): Promise<void> },
): Promise<Family> {
  const { family, own, router, direct } = uplink;
  const status: FamilyStatus = {
    family,
    own,
    router: router ?? null,
    method: null,
    external_address: null,
    ports: [],
    notes: [],
  };
  if (direct || router === undefined || wanted.length === 0) return { status, held: [] };
  for (const method of order(mapping, family, o.old)) {
    const intended = wanted.map(
      (one): Held => ({
        method,
        family,
        router,
        own,
        ...one,
        wished: one.external,
        tries: 0,
      }),
    );
    await o.remember(intended);
    const answer = await tryMethod(method, { router, own }, lease, wanted, o.nonce);
    if ('note' in answer) {
      status.notes.push(`${methodNames[method]}: ${answer.note}`);
      continue;
    }
    const [first] = answer.mapped;
    return {
      status: {
        ...status,
        method,
        external_address: first?.externalAddress ?? null,
        ports: answer.mapped.map(({ externalPort, lifetime }, i) => ({
          internal: wanted[i]?.internal ?? 0,
          external: externalPort,
          lifetime,
        })),
        notes: [...status.notes, ...otherPorts(answer.mapped, wanted)],
      },
      held: answer.mapped.map(({ externalPort }, i) => ({
        method,
        family,
        router,
        own,
        internal: wanted[i]?.internal ?? 0,
        wished: wanted[i]?.external ?? 0,
        external: externalPort,
        tries: 0,
      })),
    };
  }
  return { status, held: [] };
}

function otherPorts(mapped: readonly Mapped[], wanted: readonly Wanted[]): string[] {
  return mapped.flatMap(({ externalPort }, i) =>
    externalPort === wanted[i]?.external
      ? []
      : [
          `The router gave port ${externalPort} instead of ${wanted[i]?.external}: clients must use it (sudo pi-gateway config set vpn.endpoint_port ${externalPort})`,
        ],
  );
}

/** What worked last comes first: a router that does not speak the others would be waited for each time. */
function order(mapping: Request['mapping'], family: 4 | 6, old: readonly Held[]): Method[] {
  const usable = methods.filter((one) => family === 4 || one === 'pcp');
  if (mapping !== 'auto') return usable.filter((one) => one === mapping);
  const last = old.find((one) => one.family === family)?.method;
  return last === undefined ? usable : [last, ...usable.filter((one) => one !== last)];
}

type Tried = { mapped: Mapped[] } | { note: string };

async function tryMethod(
  method: Method,
  line: { router: string; own: string },
  lease: number,
  wanted: readonly Wanted[],
  nonce: string,
): Promise<Tried> {
  try {
    const asking = await askerOf(method, line);
    if (asking === undefined) return { note: 'the router does not speak it' };
    const mapped: Mapped[] = [];
    for (const { internal, external } of wanted) {
      const answer = await asking({
        nonce: Buffer.from(nonce, 'hex'),
        client: line.own,
        internalPort: internal,
        externalPort: external,
        lifetime: lease,
      });
      if (answer === undefined) return { note: 'the router does not answer' };
      if ('refused' in answer) return { note: answer.refused };
      if (answer.externalPort === 0) return { note: 'the router gave no port' };
      mapped.push(answer);
    }
    return { mapped };
  } catch (error) {
    if (error instanceof RouterError) return { note: error.message };
    throw error;
  }
}

type Asking = (request: MapRequest) => Promise<Mapped | Refusal | undefined>;

/** How a router is asked by a method; undefined if it has none. */
async function askerOf(
  method: Method,
  line: { router: string; own: string },
): Promise<Asking | undefined> {
  const path: RouterPath = { ...line, port: routerPort };
  switch (method) {
    case 'pcp':
      return async (request) => {
        const asking = (exact: boolean) =>
          ask(path, pcpMapRequest(request, exact), (answer) => readPcp(answer, request));
        const answer = await asking(true);
        const isStrange = answer && 'refused' in answer && answer.code === unknownOption;
        return isStrange ? await asking(false) : answer;
      };
    case 'natpmp':
      return async (request) => {
        const answer = await ask(path, natPmpMapRequest(request), (one) =>
          readNatPmp(one, request),
        );
        if (answer === undefined || 'refused' in answer || request.lifetime === 0) return answer;
        const externalAddress = await ask(path, natPmpAddressRequest, readNatPmpAddress);
        return { ...answer, externalAddress };
      };
    case 'upnp': {
      const gateway = await findGateway({ ...line, port: ssdpPort });
      if (gateway === undefined) return undefined;
      return (request) =>
        request.lifetime === 0 ? endUpnp(path, gateway, request) : upnpMap(path, gateway, request);
    }
  }
}

async function endUpnp(
  path: RouterPath,
  gateway: Gateway,
  request: MapRequest,
): Promise<Mapped | Refusal> {
  const refused = await upnpUnmap(path, gateway, request);
  return refused ?? { externalAddress: undefined, externalPort: request.externalPort, lifetime: 0 };
}

/** @returns false if the router was there and did not answer, so that it is to be asked again. */
async function takeBack(one: Held, nonce: string, uplinks: readonly Uplink[]): Promise<boolean> {
  // Behind another router, or with another address, nothing of it is left to be ended from here.
  if (!uplinks.some(({ router, own }) => router === one.router && own === one.own)) return true;
  try {
    const asking = await askerOf(one.method, one);
    const answer = await asking?.({
      nonce: Buffer.from(nonce, 'hex'),
      client: one.own,
      internalPort: one.internal,
      externalPort: one.external,
      lifetime: 0,
    });
    return asking === undefined || answer !== undefined;
  } catch (error) {
    if (error instanceof RouterError) return true;
    throw error;
  }
}

const isSame = (a: Held, b: Held) =>
  a.method === b.method && a.router === b.router && a.own === b.own && a.internal === b.internal;

const distinct = (list: readonly Held[]): Held[] =>
  list.filter((one, i) => list.findIndex((other) => isSame(one, other)) === i).slice(0, 32);

async function readRecord({ state }: Places): Promise<PortRecord> {
  const text = await readIfThere(state);
  try {
    if (text !== undefined) return record.parse(JSON.parse(text));
  } catch {
    // What it held ends by itself with its lease.
  }
  return { nonce: randomBytes(12).toString('hex'), held: [] };
}

async function writeRecord({ state }: Places, content: PortRecord): Promise<void> {
  const text = `${JSON.stringify(content)}\n`;
  // A renewal changes nothing, and the card need not be written every 15 minutes.
  if ((await readIfThere(state)) === text) return;
  await writeDurably(state, text, 0o600);
}
