import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { localClient } from '../api/client.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { forTerminal, table } from '../terminal.ts';
import { apply, confirm, rollback } from './change.ts';
import { firewallStatus, statusText, zoneReport, zoneTable } from './status.ts';

type Output = { json?: boolean };

const system = deviceSystem((text) => process.stderr.write(`${text}\n`));

function print(output: Output, value: object, text: string): void {
  process.stdout.write(
    output.json ? `${JSON.stringify(value, null, 2)}\n` : `${forTerminal(text)}\n`,
  );
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

  addForwardCommands(firewall);
}

/** `443` or `443/udp`. */
function portOf(text: string): { port: number; protocol: 'tcp' | 'udp' } {
  const [, number = '', protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? [];
  const port = Number(number);
  if (port < 1 || port > 65_535)
    throw new InvalidArgumentError('It must be a port, e.g. 443 or 51820/udp.');
  return { port, protocol: protocol === 'udp' ? 'udp' : 'tcp' };
}

function addForwardCommands(firewall: Command): void {
  const forward = firewall
    .command('forward')
    .description('ports of the wan address that lead to servers behind the gateway');

  forward
    .command('list')
    .description("the image's and your own")
    .option('--json', 'for machines')
    .action(async (output: Output) => {
      requireRoot();
      const found = await localClient().call('firewallListForwards');
      const rows = found.forwards.map((one) => [
        one.id,
        `${one.port}/${one.protocol}`,
        `${one.to} port ${one.to_port}`,
        one.zone ?? '-',
        one.from ?? 'everywhere',
        one.name ?? '-',
        one.origin,
      ]);
      const head = ['id', 'port', 'leads to', 'zone', 'from', 'name', 'set by'];
      print(output, found, rows.length === 0 ? 'No port is forwarded.' : table([head, ...rows]));
    });

  forward
    .command('add')
    .description('adds one; it is in force at once, and part of the settings')
    .argument('<port>', "port of the gateway's wan address: 443, 51820/udp", portOf)
    .argument('<address>', 'address of the server, in a network behind the gateway')
    .option(
      '--to-port <port>',
      'port of the server; by default the same',
      (text) => portOf(text).port,
    )
    .option('--from <network>', 'only for sources in this network')
    .option('--name <name>', 'what it is for')
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway firewall forward add 443 192.168.30.10 --name web
  sudo pi-gateway firewall forward add 2222 192.168.30.10 --to-port 22 --from 203.0.113.0/24`,
    )
    .action(
      async (
        { port, protocol }: ReturnType<typeof portOf>,
        to: string,
        o: Output & { toPort?: number; from?: string; name?: string },
      ) => {
        requireRoot();
        const body = {
          protocol,
          port,
          to,
          ...(o.toPort === undefined ? {} : { to_port: o.toPort }),
          ...(o.from === undefined ? {} : { from: o.from }),
          ...(o.name === undefined ? {} : { name: o.name }),
        };
        const added = await localClient().call('firewallAddForward', { body });
        print(
          o,
          added,
          `${added.protocol} port ${added.port} leads to ${added.to} port ${added.to_port} (${added.zone}).\n  To remove it: sudo pi-gateway firewall forward remove ${added.id}`,
        );
      },
    );

  forward
    .command('remove')
    .description('removes one: new connections no longer pass, those that are open stay')
    .argument('<id>', 'as forward list shows it, e.g. tcp4-443')
    .option('--json', 'for machines')
    .action(async (id: string, output: Output) => {
      requireRoot();
      await localClient().call('firewallRemoveForward', { params: { id } });
      print(output, { removed: id }, `Removed: ${id}.`);
    });
}
