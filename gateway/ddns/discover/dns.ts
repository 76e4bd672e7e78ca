import { Resolver } from 'node:dns/promises';
import type { Family } from '../address.ts';
import type { AddressSettings } from '../settings.ts';

type Service = AddressSettings['dns'][number];

/**
 * Asks a name server that answers a certain name with the address that asks it.
 * @throws Error that says why there is no answer.
 */
export async function askDns(service: Service, family: Family, timeout: number): Promise<string> {
  const server = family === 4 ? service.server4 : service.server6;
  if (server === undefined) throw new Error(`has no IPv${family} server`);
  const resolver = new Resolver({ timeout: Math.max(250, timeout / 2), tries: 2 });
  const deadline = setTimeout(() => resolver.cancel(), timeout);
  try {
    resolver.setServers([server]);
    const answer = await query(resolver, service, family);
    if (answer === undefined) throw new Error('answers without an address');
    return answer;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code === undefined ? error : new Error(`no answer (${code})`);
  } finally {
    clearTimeout(deadline);
  }
}

async function query(
  resolver: Resolver,
  { name, type }: Service,
  family: Family,
): Promise<string | undefined> {
  if (type === 'TXT') return parseTxt(await resolver.resolveTxt(name));
  const addresses = await (family === 4 ? resolver.resolve4(name) : resolver.resolve6(name));
  return addresses[0];
}

/** The address in TXT records. Google's may hold another (edns0-client-subnet …): only what looks like one counts. */
export function parseTxt(records: readonly (readonly string[])[]): string | undefined {
  return records.map((parts) => parts.join('')).find(looksLikeAddress);
}

/** Nothing but the characters of an address; whether it is one, and of which kind, the votes' count tells. */
export const looksLikeAddress = (text: string): boolean => /^[0-9a-f.:]{2,45}$/i.test(text);
