import type { LookupFunction } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Family, families } from '../address.ts';
import { fetchHttps, type HttpResponse } from '../http.ts';
import { plain } from '../providers/provider.ts';
import type { AddressSettings } from '../settings.ts';
import { askDns, looksLikeAddress } from './dns.ts';
import { askStun } from './stun.ts';
import { decide, type Method, operatorOf, type Verdict, type Vote } from './votes.ts';

export type Network = {
  /** As dns.lookup; undefined: the system's. */
  lookup?: LookupFunction | undefined;
  /** As os.networkInterfaces. */
  interfaces?: typeof networkInterfaces;
};

/** Finds this device's public addresses: for each family that is wanted, and never waits for the other. */
export async function discover(
  settings: AddressSettings,
  timeout: number,
  network: Network = {},
): Promise<Verdict[]> {
  const wanted = families.filter((family) => settings.families.includes(family));
  return await Promise.all(
    wanted.map((family) => discoverFamily(settings, family, timeout, network)),
  );
}

async function discoverFamily(
  settings: AddressSettings,
  family: Family,
  timeout: number,
  network: Network,
): Promise<Verdict> {
  const { quorum } = settings;
  const own = settings.interface ? [interfaceVote(family, network)] : [];
  const ask = (method: Method, operator: string, answer: Promise<string>): Promise<Vote> =>
    answer.then(
      (address) => ({ method, operator, addresses: [address] }),
      (error: unknown) => ({
        method,
        operator,
        addresses: [],
        problem: error instanceof Error ? error.message : String(error),
      }),
    );
  const quick = await Promise.all([
    ...settings.stun.map((server) =>
      ask(
        'stun',
        operatorOf(server.slice(0, server.lastIndexOf(':'))),
        askStun(server, family, { timeout: Math.min(timeout, 4000), lookup: network.lookup }),
      ),
    ),
    ...settings.dns
      .filter((service) => (family === 4 ? service.server4 : service.server6) !== undefined)
      .map((service) =>
        ask('dns', operatorOf(service.name), askDns(service, family, Math.min(timeout, 4000))),
      ),
  ]);
  const votes = [...own, ...quick];
  const soon = decide(family, votes, quorum);
  // A datagram is cheap; web pages are asked only if the others do not suffice.
  if (soon.address !== undefined) return soon;
  votes.push(
    ...(await Promise.all(
      settings.https.map((url) =>
        ask(
          'https',
          operatorOf(new URL(url).hostname),
          askHttps(url, family, settings, timeout, network),
        ),
      ),
    )),
  );
  const verdict = decide(family, votes, quorum);
  return verdict.gone ? { ...verdict, notes: [...verdict.notes, silence(family, votes)] } : verdict;
}

function silence(family: Family, votes: readonly Vote[]): string {
  const told = votes
    .filter((vote) => vote.problem !== undefined)
    .map(({ operator, method, problem }) => `${operator} (${method}): ${problem}`);
  return `No IPv${family} address: ${told.join('; ') || 'no service is asked'}`;
}

function interfaceVote(family: Family, { interfaces = networkInterfaces }: Network): Vote {
  const addresses = Object.values(interfaces())
    .flatMap((list) => list ?? [])
    .filter((one) => !one.internal && one.family === `IPv${family}`)
    .map((one) => one.address.replace(/%.*$/, ''))
    // Every IPv6 interface has one of these; it says nothing.
    .filter((address) => !/^fe[89ab]/i.test(address));
  return { method: 'interface', operator: 'this device', addresses };
}

async function askHttps(
  url: string,
  family: Family,
  { ca }: AddressSettings,
  timeout: number,
  { lookup }: Network,
): Promise<string> {
  const request = { url, family, headers: { 'user-agent': 'PiGateway DDNS' } };
  return parsePage(await fetchHttps(request, { ca, timeout, lookup }));
}

/**
 * What a page that holds an address, and nothing else, says.
 * @throws Error if it is anything else.
 */
export function parsePage({ status, body }: Pick<HttpResponse, 'status' | 'body'>): string {
  const text = plain(body);
  if (status !== 200 || !looksLikeAddress(text)) throw new Error(`no address (HTTP ${status})`);
  return text;
}
