import { once } from '../facts.ts';

export type Chain = {
  family: string;
  table: string;
  name: string;
  type?: string;
  hook?: string;
  policy?: string;
};
export type Rule = { family: string; table: string; chain: string; expr: readonly unknown[] };
export type NamedSet = { family: string; table: string; name: string; elem?: unknown };

export type Ruleset = {
  tables: readonly { family: string; name: string }[];
  chains: readonly Chain[];
  rules: readonly Rule[];
  sets: readonly NamedSet[];
};

/** The kernel's ruleset: libnftables-json(5). */
export const ruleset = once((facts): Ruleset => {
  const { nftables } = JSON.parse(facts.output('nft')) as { nftables?: Record<string, unknown>[] };
  if (!Array.isArray(nftables)) throw new Error('nft told no ruleset');
  const of = <T>(kind: string) => nftables.flatMap((one) => (kind in one ? [one[kind] as T] : []));
  return {
    tables: of('table'),
    chains: of('chain'),
    rules: of('rule'),
    sets: of('set'),
  };
});
