import { type Body, type Control, fail, l1, none, pass } from '../control.ts';
import { type Facts, readIfThere, requireLive } from '../facts.ts';
import { ifInstalled, packageInstalled, unitRuns } from '../kinds.ts';
import { type Chain, type Rule, ruleset } from '../state/firewall.ts';
import { unit } from '../state/units.ts';

/** Base chains of type filter at a hook. */
const filters = (facts: Facts, hook: string): readonly Chain[] =>
  ruleset(facts).chains.filter((chain) => chain.type === 'filter' && chain.hook === hook);

const named = (chain: Chain) => `${chain.family} ${chain.table} ${chain.name}`;

/** Rules of the chains at a hook, and of all chains that they lead to. */
function rulesAt(facts: Facts, hook: string): Rule[] {
  const { rules } = ruleset(facts);
  const seen = new Set<string>();
  const pending = filters(facts, hook).map((chain) => ({ ...chain, chain: chain.name }));
  const found: Rule[] = [];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { family, table, chain } = next;
    const key = `${family} ${table} ${chain}`;
    if (seen.has(key)) continue;
    seen.add(key);
    for (const rule of rules) {
      if (rule.family !== family || rule.table !== table || rule.chain !== chain) continue;
      found.push(rule);
      for (const [, target = ''] of JSON.stringify(rule.expr).matchAll(
        /"(?:jump|goto)":\{"target":"([^"]+)"/g,
      ))
        pending.push({ ...next, chain: target });
    }
  }
  return found;
}

const text = (rule: Rule) => JSON.stringify(rule.expr);

const refuses = (rule: Rule) => /"(drop|reject)":/.test(text(rule));

/** True if the rule drops or rejects, or hands over to a chain whose last rule does so without conditions. */
function ends(facts: Facts, rule: Rule): boolean {
  if (refuses(rule)) return true;
  const target = /"goto":\{"target":"([^"]+)"/.exec(text(rule))?.[1];
  const last = ruleset(facts).rules.findLast(
    (one) => one.family === rule.family && one.table === rule.table && one.chain === target,
  );
  return last !== undefined && refuses(last) && !/"match":/.test(text(last));
}

/** True if a rule drops or rejects a source address, in itself or in a set that it names. */
function dropsSource(facts: Facts, rule: Rule, address: string): boolean {
  const expr = text(rule);
  if (!ends(facts, rule) || !/"field":"saddr"/.test(expr)) return false;
  const sets = [...expr.matchAll(/"@([^"]+)"/g)].map(([, name]) => name);
  const elements = ruleset(facts)
    .sets.filter((set) => set.table === rule.table && sets.includes(set.name))
    .map((set) => JSON.stringify(set.elem ?? ''));
  return [expr, ...elements].some((one) => one.includes(`"${address}"`));
}

const loopback: Body = {
  title: 'Loopback is open to itself, and its addresses are dropped from outside',
  checks:
    'nft: in the input chains a rule accepts interface lo, and others there or in prerouting drop sources in 127.0.0.0/8 and ::1',
  mend: "nft: 'iif lo accept', 'ip saddr 127.0.0.0/8 drop', 'ip6 saddr ::1 drop'",
  check: (facts) => {
    const rules = rulesAt(facts, 'input');
    const open = rules.some(
      (rule) => /"right":"lo"/.test(text(rule)) && /"accept":/.test(text(rule)),
    );
    return none(
      [
        ...(open ? [] : ['no rule accepts interface lo']),
        ...['127.0.0.0', '::1'].flatMap((address) =>
          [...rules, ...rulesAt(facts, 'prerouting')].some((rule) =>
            dropsSource(facts, rule, address),
          )
            ? []
            : [`no rule drops ${address}`],
        ),
      ],
      'lo is accepted; 127.0.0.0/8 and ::1 are dropped from elsewhere',
    );
  },
};

const established: Body = {
  title: 'Answers to what was begun come in',
  checks: 'nft: a rule of the input chains accepts ct state established',
  mend: "nft: 'ct state established,related accept'",
  check: (facts) => {
    const rules = rulesAt(facts, 'input');
    const open = rules.some(
      (rule) =>
        /"key":"state"/.test(text(rule)) &&
        /"established"/.test(text(rule)) &&
        /"accept":|"vmap":/.test(text(rule)),
    );
    return open
      ? pass('a rule of the input chains accepts what is established')
      : fail(`none of ${rules.length} rules of the input chains accepts what is established`);
  },
};

const hooks = ['input', 'forward'] as const;

const chains: Body = {
  title: 'nftables filters what comes in and what goes through',
  checks: 'nft: base chains of type filter at the hooks input and forward',
  mend: 'systemctl restart nftables',
  check: (facts) =>
    none(
      hooks
        .filter((hook) => filters(facts, hook).length === 0)
        .map((hook) => `no chain at ${hook}`),
      hooks.flatMap((hook) => filters(facts, hook).map(named)).join('; '),
    ),
};

const denied: Body = {
  title: 'What no rule accepts is dropped',
  checks: 'nft: a base chain with policy drop at the hooks input and forward, for IPv4 and IPv6',
  mend: 'systemctl restart nftables',
  check: (facts) => {
    const drops = (hook: string, family: string) =>
      filters(facts, hook).some(
        (chain) => chain.policy === 'drop' && (chain.family === 'inet' || chain.family === family),
      );
    return none(
      hooks.flatMap((hook) =>
        ['ip', 'ip6'].flatMap((family) =>
          drops(hook, family) ? [] : [`${hook} of ${family} does not drop by default`],
        ),
      ),
      'input and forward drop by default, IPv4 and IPv6',
    );
  },
};

const permanent: Body = {
  title: 'The rules are loaded at every start',
  units: ['nftables.service'],
  checks: '/etc/nftables.conf (with what it includes) has the tables whose base chains drop now',
  mend: 'Write the rules to /etc/nftables.conf',
  check: (facts) => {
    const file = nftablesConf(facts, '/etc/nftables.conf', 0);
    const wanted = facts.live
      ? [...filters(facts, 'input'), ...filters(facts, 'forward')]
          .filter((chain) => chain.policy === 'drop')
          .map((chain) => `table ${chain.family} ${chain.table} {`)
      : ['hook input', 'hook forward', 'policy drop'];
    if (wanted.length === 0) return fail('no chain drops by default');
    return none(
      wanted.filter((one) => !file.includes(one)).map((one) => `/etc/nftables.conf lacks: ${one}`),
      `/etc/nftables.conf has: ${[...new Set(wanted)].join('; ')}`,
    );
  },
};

function nftablesConf(facts: Facts, path: string, depth: number): string {
  if (depth > 8) throw new Error(`${path} includes itself`);
  const content = facts.tree.read(path).replaceAll(/^\s*#.*$/gm, '');
  const inner = [...content.matchAll(/^\s*include\s+"([^"]+)"/gm)].flatMap(([, target = '']) => {
    const slash = target.lastIndexOf('/');
    const [directory, name] = [target.slice(0, slash), target.slice(slash + 1)];
    const [before = '', after = ''] = name.split('*');
    return name.includes('*')
      ? facts.tree
          .list(directory)
          .filter((one) => one.startsWith(before) && one.endsWith(after))
          .map((one) => `${directory}/${one}`)
      : [target];
  });
  return [content, ...inner.map((one) => nftablesConf(facts, one, depth + 1))].join('\n');
}

const ufw = (title: string): Body => ({
  ...packageInstalled(['ufw'], title),
  mend: 'Not to be mended: nftables is the firewall here',
});

/**
 * Chapter 4: host-based firewall. 4.1 is of the Debian 13 edition, which knows only ufw; 4.3 is the
 * nftables section of the Debian 12 edition (1.1.0), under its numbers there.
 */
export const firewall: readonly Control[] = [
  l1('4.1.1', ufw('ufw is installed')),
  l1('4.1.2', ufw('ufw is on')),
  l1('4.1.3', ufw('ufw denies what comes in')),
  l1('4.1.4', ufw('ufw decides what goes out')),
  l1('4.1.5', ufw('ufw denies what goes through')),
  l1('4.3.1', packageInstalled(['nftables'], 'nftables is installed')),
  l1('4.3.2', {
    title: 'No other firewall is in use beside nftables',
    units: ['ufw.service', 'firewalld.service', 'netfilter-persistent.service'],
    checks:
      'ufw, firewalld and netfilter-persistent are not installed, or neither enabled nor active',
    mend: 'apt-get purge ufw firewalld iptables-persistent',
    check: (facts) => {
      const used = ['ufw.service', 'firewalld.service', 'netfilter-persistent.service']
        .map((name) => unit(facts, name))
        .filter((one) => one.active || one.enabled.startsWith('enabled'));
      return none(
        used.map((one) => `${one.name} is in use`),
        'ufw, firewalld and netfilter-persistent are not in use',
      );
    },
  }),
  l1('4.3.3', {
    title: 'No rules of the old iptables are loaded',
    checks: '/proc/net/ip_tables_names and ip6_tables_names are empty or absent',
    mend: 'iptables-legacy -F; ip6tables-legacy -F; use the nft variant',
    check: (facts) => {
      requireLive(facts);
      if (facts.tree.list('/proc/net').length === 0) throw new Error('/proc/net cannot be read');
      const tables = ['ip', 'ip6'].flatMap((family) =>
        (readIfThere(facts, `/proc/net/${family}_tables_names`) ?? '')
          .split('\n')
          .filter(Boolean)
          .map((name) => `${family}tables has ${name}`),
      );
      return none(tables, 'no tables of iptables');
    },
  }),
  l1('4.3.4', {
    title: 'nftables has a table',
    checks: 'nft: at least one table',
    mend: 'systemctl restart nftables',
    check: (facts) => {
      const { tables } = ruleset(facts);
      return tables.length
        ? pass(tables.map((table) => `${table.family} ${table.name}`).join('; '))
        : fail('there is no table');
    },
  }),
  l1('4.3.5', chains),
  l1('4.3.6', loopback),
  l1('4.3.7', established),
  l1('4.3.8', denied),
  l1('4.3.9', unitRuns('nftables.service', 'nftables loads its rules at boot')),
  l1('4.3.10', ifInstalled(['nftables'], permanent)),
];
