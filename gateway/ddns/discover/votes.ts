import { canonical, type Family, familyOf, isCarrierNat, specialKind } from '../address.ts';
import { quote } from '../redact.ts';

export type Method = 'interface' | 'stun' | 'dns' | 'https';

/** What one service says that this device's address is; `problem` if it says none. */
export type Vote = {
  method: Method;
  /** Who runs it: of one operator all services count once, whatever the method. */
  operator: string;
  addresses: readonly string[];
  problem?: string;
};

export type Verdict = {
  family: Family;
  /** Only if enough independent operators name it, and more than name any other. */
  address?: string;
  /** `operator (method)` of those who named it. */
  agreed: string[];
  /** Nobody, not even an interface, has any address of this family: it is gone, not merely in doubt. */
  gone: boolean;
  /** What the owner should know: disagreement, private addresses, carrier NAT, too few answers. */
  notes: string[];
};

/** Names of one registrable domain belong together, near enough: stun.l.google.com, ns1.google.com. */
export function operatorOf(host: string): string {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return familyOf(bare) === undefined ? bare.split('.').slice(-2).join('.') : bare;
}

/**
 * The address that `quorum` independent operators name, if no other has as many: a service that lies
 * moves nothing, and neither do two that contradict two others.
 */
export function decide(family: Family, votes: readonly Vote[], quorum: number): Verdict {
  const notes: string[] = [];
  const heard = new Map<string, Map<string, Set<Method>>>();
  for (const { method, operator, addresses } of votes)
    for (const text of addresses) {
      const address = canonical(text);
      if (address === undefined || familyOf(address) !== family) {
        notes.push(`${operator} (${method}) names no IPv${family} address: ${quote(text)}`);
        continue;
      }
      const kind = specialKind(address);
      if (kind !== undefined) {
        // Behind a router the interface's own is private as a rule; that is no news.
        if (method !== 'interface')
          notes.push(`${operator} (${method}) names ${address}, which is ${kind}: not counted`);
        else if (isCarrierNat(address))
          notes.push(
            `An interface has ${address}, an address ${kind}: nobody reaches the gateway by IPv4 from outside, unless the carrier forwards a port`,
          );
        continue;
      }
      const operators = heard.get(address) ?? new Map<string, Set<Method>>();
      heard.set(
        address,
        operators.set(operator, (operators.get(operator) ?? new Set()).add(method)),
      );
    }
  const ranked = [...heard].toSorted(([, a], [, b]) => b.size - a.size);
  const [first, second] = ranked;
  const describe = (operators: Map<string, Set<Method>>) =>
    [...operators].map(([operator, methods]) => `${operator} (${[...methods].join(', ')})`);
  // Several addresses of an interface are no contradiction: only what services say counts as one.
  const voices = ranked.filter(([, operators]) =>
    [...operators.values()].some((methods) => !methods.has('interface')),
  );
  if (voices.length > 1)
    notes.push(
      `Services disagree: ${voices
        .map(([address, operators]) => `${address} by ${describe(operators).join(', ')}`)
        .join('; ')}`,
    );
  const gone = votes.every((vote) => vote.addresses.length === 0);
  if (!first) return { family, agreed: [], gone, notes };
  const [address, operators] = first;
  const clear = operators.size >= quorum && operators.size > (second?.[1].size ?? 0);
  if (!clear)
    notes.push(
      `${describe(operators).join(', ')} alone name${operators.size === 1 ? 's' : ''} ${address}; ${quorum} that agree are needed, and more than for any other`,
    );
  return clear
    ? { family, address, agreed: describe(operators), gone, notes }
    : { family, agreed: [], gone, notes };
}
