import type { CommandFact, Value } from './tree.ts';

/**
 * Scripts for shells that know every command by themselves: pressing Tab starts no node, which takes a small Pi
 * a second. Made of the commands when the image is built.
 */
export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

export function completionScript(shell: Shell, facts: readonly CommandFact[]): string {
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](facts);
}

/**
 * Names of clients are root's: who may become root without a password need not type them. Nothing but names:
 * bash's compgen expands its words.
 */
const listClients =
  "{ ls /etc/wireguard/peers.d 2> /dev/null || sudo -n ls /etc/wireguard/peers.d 2> /dev/null; } | sed -n 's/^\\([a-z0-9-]*\\)\\.conf$/\\1/p'";

/** For case: words of our own commands, which need no quoting inside the quotes. */
const keyOf = (path: readonly string[]) => `'${path.join(' ')}'`;

function bashScript(facts: readonly CommandFact[]): string {
  return `# bash completion of pi-gateway(1); made by: pi-gateway completion bash
_pi_gateway_clients() {
  ${listClients}
}

_pi_gateway() {
  local cur=\${COMP_WORDS[COMP_CWORD]} path='' place=0 skip='' word i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [ -n "$skip" ]; then
      skip=''
      continue
    fi
    case "$path:$word" in
      ${valueOptions(facts)
        .map(({ path, flag }) => `'${path.join(' ')}:${flag}'`)
        .join(' | ')})
        skip=1
        ;;
      *:-*) ;;
${facts
  .filter(({ path }) => path.length > 0)
  .map(
    ({ path }) => `      '${path.slice(0, -1).join(' ')}:${path.at(-1)}') path=${keyOf(path)} ;;`,
  )
  .join('\n')}
      *) place=$((place + 1)) ;;
    esac
  done
  if [ -n "$skip" ]; then
    case "$path:\${COMP_WORDS[COMP_CWORD - 1]}" in
${valueOptions(facts)
  .filter(({ value }) => value.kind !== 'none')
  .map(({ path, flag, value }) => `      '${path.join(' ')}:${flag}') ${bashValue(value)} ;;`)
  .join('\n')}
    esac
    return 0
  fi
  case "$cur" in
    -*)
      case "$path" in
${facts
  .map(
    ({ path, options }) =>
      `        ${keyOf(path)}) ${bashWords(options.flatMap(({ flags }) => flags.filter((flag) => flag.startsWith('--'))))} ;;`,
  )
  .join('\n')}
      esac
      return 0
      ;;
  esac
  case "$path:$place" in
${facts.flatMap(bashPlaces).join('\n')}
  esac
  return 0
}

complete -F _pi_gateway pi-gateway
`;
}

function bashPlaces({ path, commands, values, variadic }: CommandFact): string[] {
  const key = path.join(' ');
  if (commands.length > 0)
    return [`    '${key}:0') ${bashWords(commands.map(({ name }) => name))} ;;`];
  return values.flatMap((value, index) => {
    if (value.kind === 'none') return [];
    const isLast = variadic && index === values.length - 1;
    const place = isLast ? `'${key}:'*` : `'${key}:${index}'`;
    return [`    ${place}) ${bashValue(value)} ;;`];
  });
}

const bashWords = (words: readonly string[]) =>
  `mapfile -t COMPREPLY < <(compgen -W '${words.join(' ')}' -- "$cur")`;

function bashValue(value: Value): string {
  switch (value.kind) {
    case 'words':
      return bashWords(value.words);
    case 'clients':
      return 'mapfile -t COMPREPLY < <(compgen -W "$(_pi_gateway_clients)" -- "$cur")';
    case 'files':
      return 'compopt -o filenames 2> /dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur")';
    default:
      return ':';
  }
}

function valueOptions(
  facts: readonly CommandFact[],
): { path: readonly string[]; flag: string; value: Value }[] {
  return facts.flatMap(({ path, options }) =>
    options.flatMap(({ flags, value }) =>
      value ? flags.map((flag) => ({ path, flag, value })) : [],
    ),
  );
}

/** zshcompsys(1), _describe: commands with what they do. */
function zshScript(facts: readonly CommandFact[]): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const described = (name: string, description: string) =>
    quoted(`${name.replaceAll(':', '\\:')}:${description.replaceAll('\n', ' ')}`);
  const value = (one: Value): string => {
    switch (one.kind) {
      case 'words':
        return `compadd -- ${one.words.join(' ')}`;
      case 'clients':
        return 'compadd -- $(_pi_gateway_clients)';
      case 'files':
        return '_files';
      default:
        return ':';
    }
  };
  const options = valueOptions(facts);
  return `#compdef pi-gateway
# zsh completion of pi-gateway(1); made by: pi-gateway completion zsh
_pi_gateway_clients() {
  ${listClients}
}

_pi_gateway() {
  local where='' skip='' word place=0
  local -a choices
  for word in "\${(@)words[2,CURRENT-1]}"; do
    if [[ -n $skip ]]; then
      skip=''
      continue
    fi
    case "$where:$word" in
      (${options.map(({ path, flag }) => `'${path.join(' ')}:${flag}'`).join('|')}) skip=$word ;;
      (*:-*) ;;
${facts
  .filter(({ path }) => path.length > 0)
  .map(
    ({ path }) => `      ('${path.slice(0, -1).join(' ')}:${path.at(-1)}') where=${keyOf(path)} ;;`,
  )
  .join('\n')}
      (*) place=$((place + 1)) ;;
    esac
  done
  if [[ -n $skip ]]; then
    case "$where:$skip" in
${options.map((one) => `      ('${one.path.join(' ')}:${one.flag}') ${value(one.value)} ;;`).join('\n')}
    esac
    return
  fi
  if [[ $PREFIX == -* ]]; then
    case $where in
${facts
  .map(
    (one) =>
      `      (${keyOf(one.path)}) choices=(${one.options.flatMap(({ flags, description }) => flags.filter((flag) => flag.startsWith('--')).map((flag) => described(flag, description))).join(' ')}) ;;`,
  )
  .join('\n')}
    esac
    _describe option choices
    return
  fi
  case "$where:$place" in
${facts
  .flatMap(({ path, commands, values, variadic }) => {
    const key = path.join(' ');
    if (commands.length > 0)
      return [
        `    ('${key}:0') choices=(${commands.map((one) => described(one.name, one.description)).join(' ')}); _describe command choices ;;`,
      ];
    return values.map(
      (one, index) =>
        `    ('${key}:'${variadic && index === values.length - 1 ? '*' : index}) ${value(one)} ;;`,
    );
  })
  .join('\n')}
  esac
}

if [[ $funcstack[1] == _pi_gateway ]]; then _pi_gateway "$@"; else compdef _pi_gateway pi-gateway; fi
`;
}

/** complete(1) of fish. */
function fishScript(facts: readonly CommandFact[]): string {
  const quoted = (text: string) =>
    `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'").replaceAll('\n', ' ')}'`;
  const lines = facts.flatMap(({ path, commands, options, values }) => {
    const here = `complete -c pi-gateway -n ${quoted(`__pi_gateway_at ${path.join(' ')}`.trim())}`;
    const [first] = values;
    return [
      ...commands.map(({ name, description }) => `${here} -a ${name} -d ${quoted(description)}`),
      ...options.map(({ flags, description, value }) => {
        const names = flags.map((flag) =>
          flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
        );
        const given = value ? ['-r', ...fishValue(value)] : [];
        return [here, ...names, ...given, '-d', quoted(description)].join(' ');
      }),
      ...(first && first.kind !== 'none' ? [[here, ...fishValue(first)].join(' ')] : []),
    ];
  });
  return `# fish completion of pi-gateway(1); made by: pi-gateway completion fish
function __pi_gateway_clients
  begin; ls /etc/wireguard/peers.d 2> /dev/null; or sudo -n ls /etc/wireguard/peers.d 2> /dev/null; end | string replace --filter --regex '^([a-z0-9-]+)\\.conf$' '$1'
end

# Whether the words so far, without options, are these.
function __pi_gateway_at
  set -l words (commandline -opc | string match --invert -- '-*')
  test "$words[2..-1]" = "$argv"
end

complete -c pi-gateway -f
${lines.join('\n')}
`;
}

function fishValue(value: Value): string[] {
  switch (value.kind) {
    case 'words':
      return ['-a', `'${value.words.join(' ')}'`];
    case 'clients':
      return ['-a', "'(__pi_gateway_clients)'"];
    case 'files':
      return ['-F'];
    default:
      return [];
  }
}
