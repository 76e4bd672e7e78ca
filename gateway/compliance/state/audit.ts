import { dropIns, type Facts, once, settings } from '../facts.ts';

/** One audit rule: auditctl(8). A watch (`-w`) is a rule for a path with permissions. */
export type AuditRule = {
  text: string;
  /** Of `-F path=` or `-F dir=` or `-w`. */
  path: string | undefined;
  /** Letters of `rwxa`. */
  permissions: string;
  syscalls: ReadonlySet<string>;
  /** Filters as they are written, e.g. `auid>=1000`. */
  fields: readonly string[];
  always: boolean;
};

export function parseRule(text: string): AuditRule | undefined {
  const words = text.split(/\s+/);
  const syscalls = new Set<string>();
  const fields: string[] = [];
  let path: string | undefined;
  let permissions = '';
  let always = false;
  for (let at = 0; at + 1 < words.length; at += 2) {
    const [option, value = ''] = [words[at], words[at + 1]];
    if (option === '-w') [path, always] = [value, true];
    else if (option === '-p') permissions = value;
    else if (option === '-a' || option === '-A') always = value.split(',').includes('always');
    else if (option === '-S') for (const one of value.split(',')) syscalls.add(one);
    else if (option === '-F' || option === '-C') {
      const [, name, inner = ''] = /^(path|dir|perm|key)=(.*)$/.exec(value) ?? [];
      if (name === 'perm') permissions = inner;
      else if (name === 'path' || name === 'dir') path = inner;
      else if (name === 'key') continue;
      else fields.push(value);
    }
  }
  if (path === undefined && syscalls.size === 0) return undefined;
  // The kernel lists a rule for a path with all system calls, which it needs not say.
  if (path !== undefined) syscalls.delete('all');
  // /var/run is a link to /run, and both are written.
  const place = path?.replace(/(?<=.)\/$/, '').replace(/^\/var\/run(?=\/)/, '/run');
  return { text, path: place, permissions: permissions || 'rwxa', syscalls, fields, always };
}

const parsed = (lines: readonly string[]) =>
  lines.flatMap((line) => {
    const rule = parseRule(line);
    return rule ? [rule] : [];
  });

/** Every line of the rule files, also of options such as `-e 2`, in the order of augenrules(8). */
export const ruleLines = once((facts): readonly string[] => {
  const paths = dropIns(facts, ['/etc/audit/rules.d'], '.rules');
  if (paths.length === 0) throw new Error('/etc/audit/rules.d has no rules');
  return paths.flatMap((path) => settings(facts.tree.read(path)));
});

export const rulesOnDisk = once((facts) => parsed(ruleLines(facts)));
export const rulesInKernel = once((facts) => parsed(settings(facts.output('auditctl'))));

/** auditd.conf(5), keys in lower case. */
export const auditdConf = once(
  (facts): ReadonlyMap<string, string> =>
    new Map(
      settings(facts.tree.read('/etc/audit/auditd.conf')).map((line) => {
        const [key = '', value = ''] = line.split('=', 2);
        return [key.trim().toLowerCase(), value.trim()] as const;
      }),
    ),
);

/** Filters that leave out only daemons (whose login UID is unset), or only what failed. */
const usual = /^(arch=b64$|auid>=1000$|auid!=(unset|-1|4294967295)$|success=1$)/;

/** The other order of a comparison of fields: auditctl -l does not keep the one that was given. */
const swapped = (filter: string) => filter.replace(/^(\w+)!=(\w+)$/, '$2!=$1');

/** True if a rule has the filters that are wanted, and else none that would make it record less. */
function filtersAre(
  rule: AuditRule,
  wanted: readonly string[],
  mayHave: readonly string[] = [],
): boolean {
  const accepted = new Set([...wanted, ...mayHave].flatMap((filter) => [filter, swapped(filter)]));
  return (
    wanted.every((filter) =>
      rule.fields.some((one) => one === filter || one === swapped(filter)),
    ) && rule.fields.every((field) => usual.test(field) || accepted.has(field))
  );
}

/**
 * True if a rule records what the control wants: a path with these permissions, or every one of these
 * system calls of the 64-bit ABI with the filters of `filter`, and at most those of `mayHave`.
 */
export type Wanted =
  | { path: string; permissions: string }
  | { syscalls: readonly string[]; filter?: readonly string[]; mayHave?: readonly string[] };

export function recorded(rules: readonly AuditRule[], wanted: Wanted): boolean {
  const always = rules.filter((rule) => rule.always);
  if ('path' in wanted) {
    const path = wanted.path.replace(/^\/var\/run(?=\/)/, '/run');
    return always.some(
      (rule) =>
        rule.path !== undefined &&
        rule.syscalls.size === 0 &&
        filtersAre(rule, []) &&
        (path === rule.path || path.startsWith(`${rule.path}/`)) &&
        [...wanted.permissions].every((letter) => rule.permissions.includes(letter)),
    );
  }
  return wanted.syscalls.every((name) =>
    always.some(
      (rule) =>
        (rule.syscalls.has(name) || rule.syscalls.has('all')) &&
        rule.path === undefined &&
        filtersAre(rule, wanted.filter ?? [], wanted.mayHave),
    ),
  );
}

export const describeWanted = (wanted: Wanted): string =>
  'path' in wanted
    ? `${wanted.path} (${wanted.permissions})`
    : [wanted.syscalls.join(','), ...(wanted.filter ?? [])].join(' ');

/** Where a wanted rule is missing: in the kernel, on disk; empty if nowhere. */
export function missingIn(facts: Facts, wanted: Wanted): string[] {
  return [
    ...(facts.live && !recorded(rulesInKernel(facts), wanted) ? ['the kernel'] : []),
    ...(recorded(rulesOnDisk(facts), wanted) ? [] : ['/etc/audit/rules.d']),
  ];
}
