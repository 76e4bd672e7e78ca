import { type Facts, once, settings } from '../facts.ts';

/** What sshd does where its files say nothing, of OpenSSH 10: sshd_config(5). */
const defaults: Record<string, string> = {
  clientaliveinterval: '0',
  clientalivecountmax: '3',
  disableforwarding: 'no',
  gssapiauthentication: 'no',
  hostbasedauthentication: 'no',
  ignorerhosts: 'yes',
  logingracetime: '120',
  loglevel: 'INFO',
  maxauthtries: '6',
  maxsessions: '10',
  maxstartups: '10:30:100',
  permitemptypasswords: 'no',
  permitrootlogin: 'prohibit-password',
  permituserenvironment: 'no',
  usepam: 'no',
};

type Options = ReadonlyMap<string, string>;

const effective = once((facts): Options => {
  const lines = facts.live
    ? settings(facts.output('sshd'))
    : globalLines(facts, '/etc/ssh/sshd_config');
  const options = new Map<string, string>();
  for (const line of lines) {
    const [, key = '', value = ''] = /^(\w+)[\s=]+(.*)$/.exec(line) ?? [];
    const name = key.toLowerCase();
    // The first value counts; lists of users and groups add up.
    if (name && !options.has(name)) options.set(name, value.replaceAll('"', '').trim());
  }
  if (options.size === 0) throw new Error('sshd told none of its options');
  return options;
});

/** Lines before the first Match, with those of included files in their place. */
function globalLines(facts: Facts, path: string): string[] {
  const lines: string[] = [];
  for (const line of settings(facts.tree.read(path))) {
    const [keyword = '', ...patterns] = line.split(/\s+/);
    if (keyword.toLowerCase() === 'match') break;
    if (keyword.toLowerCase() !== 'include') lines.push(line);
    else for (const one of patterns) lines.push(...included(facts, one));
  }
  return lines;
}

function included(facts: Facts, pattern: string): string[] {
  const path = pattern.startsWith('/') ? pattern : `/etc/ssh/${pattern}`;
  const slash = path.lastIndexOf('/');
  const [directory, name] = [path.slice(0, slash), path.slice(slash + 1)];
  const [before = '', after = ''] = name.split('*');
  return facts.tree
    .list(directory)
    .filter((one) =>
      name.includes('*')
        ? one.startsWith(before) && one.endsWith(after) && !one.startsWith('.')
        : one === name,
    )
    .flatMap((one) => globalLines(facts, `${directory}/${one}`));
}

/** sshd's effective option (for connections that no Match applies to); undefined where it has none. */
export function sshdOption(facts: Facts, name: string): string | undefined {
  const key = name.toLowerCase();
  return effective(facts).get(key) ?? (facts.live ? undefined : defaults[key]);
}
