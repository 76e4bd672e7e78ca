import { Argument, type Command } from 'commander';
import { completionScript, type Shell, shells } from './scripts.ts';
import { factsOf } from './tree.ts';

/** `pi-gateway completion SHELL`. @param whole gives the program with the commands of all areas. */
export function addCompletionCommand(program: Command, whole: () => Promise<Command>): void {
  program
    .command('completion')
    .description("prints a shell's completion; bash on the gateway has it already")
    .addArgument(new Argument('<shell>', 'which').choices(shells))
    .addHelpText(
      'after',
      `
Examples:
  pi-gateway completion zsh > ~/.zfunc/_pi-gateway
  pi-gateway completion fish > ~/.config/fish/completions/pi-gateway.fish`,
    )
    .action(async (shell: Shell) => {
      process.stdout.write(completionScript(shell, factsOf(await whole())));
    });
}
