import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { apply, confirm, rollback } from './change.ts';
import { firewallStatus, statusText, zoneReport, zoneTable } from './status.ts';

type Output = { json?: boolean };

const system = deviceSystem((text) => process.stderr.write(`${text}\n`));

function print(output: Output, value: object, text: string): void {
  process.stdout.write(output.json ? `${JSON.stringify(value, null, 2)}\n` : `${text}\n`);
}

function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 10 || value > 3600)
    throw new InvalidArgumentError('It must be 10 to 3600 seconds.');
  return value;
}

/** pi-gateway firewall … */
export function addFirewallCommands(program: Command): void {
  const firewall = program
    .command('firewall')
    .description('shows the firewall, and changes it without locking you out');

  firewall
    .command('status')
    .description('which rules are in force, what they dropped, who is shut out')
    .option('--json', 'for machines')
    .action(async (output: Output) => {
      requireRoot();
      const status = await firewallStatus(system);
      print(output, status, statusText(status));
    });

  firewall
    .command('zones')
    .description('who may open connections to whom')
    .option('--json', 'for machines; with the reason of each cell')
    .action(async (output: Output) => {
      const report = await zoneReport(system);
      print(output, report, zoneTable(report));
    });

  firewall
    .command('apply')
    .description('loads rules for a while; unless you confirm them, the rules of before return')
    .argument('<file>', 'whole ruleset, e.g. an edited copy of /etc/nftables.conf')
    .option('--timeout <seconds>', 'time to confirm', seconds, 90)
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Example:
  sudo cp /etc/nftables.conf new.nft && sudoedit new.nft
  sudo pi-gateway firewall apply new.nft
  (from a new connection)  sudo pi-gateway firewall confirm`,
    )
    .action(async (file: string, options: Output & { timeout: number }) => {
      requireRoot();
      const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
        throw new GatewayError(`${file} cannot be read: ${cause.message}`, 'Check its name');
      });
      const pending = await apply(system, file, text, options.timeout);
      print(
        options,
        { state: 'pending', file: pending.file, seconds_left: options.timeout },
        `Loaded for ${options.timeout} s: ${file}. Then the rules of before return, unless you confirm.
  Open a NEW connection to the gateway; this one would stay open either way. There:
    sudo pi-gateway firewall confirm
  To return at once: sudo pi-gateway firewall rollback`,
      );
    });

  firewall
    .command('confirm')
    .description('keeps the rules that were applied')
    .option('--json', 'for machines')
    .action(async (output: Output) => {
      requireRoot();
      const { file } = await confirm(system);
      print(
        output,
        { state: 'active', file },
        `Kept, also over a restart: ${file} is /etc/nftables.conf now.\n  To return to the rules of before: sudo pi-gateway firewall rollback`,
      );
    });

  firewall
    .command('rollback')
    .description(
      'returns to the rules of before: ends a trial, or undoes the last confirmed change',
    )
    .option('--json', 'for machines')
    .action(async (output: Output) => {
      requireRoot();
      const what = await rollback(system);
      print(
        output,
        { state: 'active', ended: what },
        what === 'trial'
          ? 'The trial is over: the rules of /etc/nftables.conf are in force.'
          : 'The previous rules are in force and in /etc/nftables.conf. A second rollback undoes this one.',
      );
    });
}
