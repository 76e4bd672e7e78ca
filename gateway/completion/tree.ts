import type { Argument, Command, Option } from 'commander';
import { serviceIds } from '../services/registry.ts';

/** What can stand in a place of the command line. */
export type Value =
  | { kind: 'words'; words: readonly string[] }
  /** Names of VPN clients, which only the device knows. */
  | { kind: 'clients' }
  | { kind: 'files' }
  | { kind: 'none' };

export type OptionFact = { flags: readonly string[]; description: string; value?: Value };

/** A command with what may follow it. */
export type CommandFact = {
  /** Words before it: `[]`, `['vpn']`, `['vpn', 'add']`. */
  path: readonly string[];
  commands: readonly { name: string; description: string }[];
  options: readonly OptionFact[];
  /** Of each place after it; the last counts for all further ones if it is variadic. */
  values: readonly Value[];
  variadic: boolean;
};

/** Every command of the program, the shorter first. */
export function factsOf(program: Command, path: readonly string[] = []): CommandFact[] {
  const visible = program.createHelp().visibleCommands(program);
  const commands = visible.map((one) => ({ name: one.name(), description: one.description() }));
  const values = program.registeredArguments.map((argument) => placeOf(argument, path));
  return [
    {
      path,
      commands,
      options: [
        ...program.options.filter(({ hidden }) => !hidden).map(optionFact),
        { flags: ['--help'], description: 'help for the command' },
      ],
      values,
      variadic: program.registeredArguments.at(-1)?.variadic ?? false,
    },
    ...visible
      .filter((one) => one.name() !== 'help')
      .flatMap((one) => factsOf(one, [...path, one.name()])),
  ];
}

function optionFact(option: Option): OptionFact {
  const flags = [option.short, option.long].flatMap((flag) => flag ?? []);
  const takesValue = option.required || option.optional;
  return {
    flags,
    description: option.description,
    ...(takesValue
      ? {
          value: option.argChoices
            ? { kind: 'words', words: option.argChoices }
            : /file|directory|path/i.test(option.flags)
              ? { kind: 'files' }
              : { kind: 'none' },
        }
      : {}),
  };
}

/** By the names that commands give to their arguments. */
function placeOf(argument: Argument, path: readonly string[]): Value {
  const name = argument.name();
  if (argument.argChoices) return { kind: 'words', words: argument.argChoices };
  if (name === 'service') return { kind: 'words', words: serviceIds };
  if (name === 'shell') return { kind: 'words', words: ['bash', 'zsh', 'fish'] };
  // A client that is to be made has no name yet.
  if (name === 'name' && path[0] === 'vpn' && path[1] !== 'add') return { kind: 'clients' };
  return /^(file|path|directory)$/.test(name) ? { kind: 'files' } : { kind: 'none' };
}
