import type { Command } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { requireRoot } from '../errors.ts';
import { clientAsQr, forgetClient, listClients, readClient } from './clients.ts';

const system = deviceSystem((text) => process.stdout.write(`${text}\n`));

/** `pi-gateway vpn …`: the clients of the WireGuard server. */
export function addVpnCommands(program: Command): void {
  const vpn = program.command('vpn').description("WireGuard's clients");

  vpn
    .command('list')
    .description('show the clients, and whether their private key is still on the device')
    .option('--json', 'for machines')
    .action(async (o: { json?: boolean }) => {
      requireRoot();
      const clients = await listClients(system);
      if (o.json) return say(JSON.stringify(clients, null, 2));
      if (clients.length === 0) say('No client yet.');
      for (const { name, addresses, held, seen } of clients)
        say(
          [
            name.padEnd(16),
            addresses.join(' ').padEnd(36),
            seen ? `seen ${seen.toISOString()}` : 'not seen',
            ...(held ? ['(configuration here: vpn qr, vpn export)'] : []),
          ].join(' '),
        );
    });

  const forget = [
    '--forget',
    "then delete the client's private key from the device; the client stays a peer",
  ] as const;

  vpn
    .command('export')
    .description("print a client's configuration, its private key included")
    .argument('<name>', 'the client')
    .option(...forget)
    .action(async (name: string, o: { forget?: boolean }) => {
      requireRoot();
      process.stdout.write(await readClient(system, name));
      if (o.forget) await forgetClient(system, name);
    });

  vpn
    .command('qr')
    .description("show a client's configuration as a QR code, for the WireGuard app")
    .argument('<name>', 'the client')
    .option(...forget)
    .action(async (name: string, o: { forget?: boolean }) => {
      requireRoot();
      process.stdout.write(await clientAsQr(system, name));
      if (o.forget) await forgetClient(system, name);
    });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
