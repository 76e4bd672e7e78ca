import { Command, CommanderError } from 'commander';
import { addCompliance } from './compliance/command.ts';
import { addDdnsCommands } from './ddns/command.ts';
import { present } from './errors.ts';
import { addFirewallCommands } from './firewall/command.ts';
import { addSshCommands } from './ssh/command.ts';
import { addVpnCommands } from './vpn/command.ts';

/** pi-gateway: the owner's command on the device. Each area adds its own commands. */
const program = new Command('pi-gateway')
  .description('Looks after this Pi Gateway.')
  .configureHelp({ showGlobalOptions: true })
  .showHelpAfterError('(see --help)')
  .exitOverride()
  .addHelpText(
    'after',
    `
Exit codes:
  0  done
  1  failed
  2  wrong command line`,
  );

const areas: readonly ((program: Command) => void)[] = [
  addFirewallCommands,
  addSshCommands,
  addVpnCommands,
  addCompliance,
  addDdnsCommands,
];
for (const add of areas) add(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else process.exitCode = present(error);
}
