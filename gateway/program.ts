import { Command } from 'commander';
import { version } from './version.ts';

/** Adds an area's commands. */
export type AddCommands = (program: Command) => void | Promise<void>;

/**
 * Every area of the command line, by the commands that it adds. Only the one that is asked for is run: on a
 * small Pi the schemas of all would take most of a second. (In a bundle of one file esbuild keeps what
 * `import()` names asleep until then.)
 */
const areas: readonly { commands: readonly string[]; load(): Promise<AddCommands> }[] = [
  {
    commands: ['status'],
    load: async () => (await import('./status/command.ts')).addStatusCommand,
  },
  {
    commands: ['doctor'],
    load: async () => (await import('./doctor/command.ts')).addDoctorCommand,
  },
  {
    commands: ['service'],
    load: async () => (await import('./services/command.ts')).addServiceCommands,
  },
  {
    commands: ['account', 'token'],
    load: async () => (await import('./api/accounts/command.ts')).addAccountCommands,
  },
  { commands: ['logs'], load: async () => (await import('./logs/command.ts')).addLogsCommand },
  {
    commands: ['firewall'],
    load: async () => (await import('./firewall/command.ts')).addFirewallCommands,
  },
  { commands: ['ssh'], load: async () => (await import('./ssh/command.ts')).addSshCommands },
  { commands: ['vpn'], load: async () => (await import('./vpn/command.ts')).addVpnCommands },
  { commands: ['ddns'], load: async () => (await import('./ddns/command.ts')).addDdnsCommands },
  {
    commands: ['container'],
    load: async () => (await import('./containers/command.ts')).addContainerCommands,
  },
  {
    commands: ['secret'],
    load: async () => (await import('./secrets/command.ts')).addSecretCommands,
  },
  {
    commands: ['backup', 'restore'],
    load: async () => (await import('./backup/command.ts')).addBackupCommands,
  },
  {
    commands: ['desktop'],
    load: async () => (await import('./desktop/command.ts')).addDesktopCommands,
  },
  {
    commands: ['net'],
    load: async () => (await import('./tuning/command.ts')).addNetCommands,
  },
  {
    commands: ['router'],
    load: async () => (await import('./portmap/command.ts')).addRouterCommands,
  },
  {
    commands: ['certificate'],
    load: async () => (await import('./pki/command.ts')).addCertificateCommands,
  },
  { commands: ['proxy'], load: async () => (await import('./proxy/command.ts')).addProxyCommands },
  {
    commands: ['config'],
    load: async () => (await import('./settings/command.ts')).addConfigCommands,
  },
  {
    commands: ['update', 'reboot'],
    load: async () => (await import('./updates/command.ts')).addUpdateCommands,
  },
  {
    commands: ['compliance'],
    load: async () => (await import('./compliance/command.ts')).addCompliance,
  },
  {
    commands: ['support-bundle'],
    load: async () => (await import('./support/command.ts')).addSupportCommand,
  },
  {
    commands: ['extension'],
    load: async () => (await import('./extensions/command.ts')).addExtensionCommands,
  },
  {
    commands: ['x'],
    load: async () => (await import('./extensions/command.ts')).addVerbCommands,
  },
  {
    commands: ['completion'],
    load: async () => {
      const { addCompletionCommand } = await import('./completion/command.ts');
      return (program) => addCompletionCommand(program, () => makeProgram());
    },
  },
];

/**
 * `pi-gateway`, the owner's command on the device.
 * @param asked the first word of the command line; without one, or with none of ours, all areas are there,
 *   for the help and for what was probably meant.
 */
export async function makeProgram(asked?: string): Promise<Command> {
  const program = new Command('pi-gateway')
    .description('Looks after this Pi Gateway.')
    .version(version, '-V, --version', 'which version this is')
    .showHelpAfterError('(see --help)')
    .exitOverride()
    .addHelpText(
      'after',
      `
Each command has its own --help, with examples, and --json for machines.

Exit codes:
  0  done; of status and doctor: all is well
  1  failed; of status and doctor: something deserves a look
  2  wrong command line; of status and doctor: something has failed`,
    );
  const some = areas.filter(({ commands }) => asked !== undefined && commands.includes(asked));
  for (const { load } of some.length > 0 ? some : areas) await (await load())(program);
  return program;
}
