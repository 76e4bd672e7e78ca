import type { Command } from 'commander';
import { localClient } from '../api/client.ts';
import { present, requireRoot, UnavailableError } from '../errors.ts';
import { type Output, painter, print } from '../terminal.ts';
import { screen } from './screen.ts';

/** `pi-gateway status`: one screen, and an exit code for scripts. */
export function addStatusCommand(program: Command): void {
  program
    .command('status')
    .description('the gateway at a glance: health, addresses, VPN, updates')
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Exit codes:
  0  all is well
  1  something deserves a look
  2  something has failed, or the gateway's daemon does not answer`,
    )
    .action(async (o: Output) => {
      requireRoot();
      try {
        const status = await localClient().call('statusGet');
        print(o, status, screen(status, painter(process.stdout)));
        process.exitCode = { ok: 0, warning: 1, failed: 2 }[status.health.state];
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        present(error);
        process.stderr.write('  → What is wrong: sudo pi-gateway doctor\n');
        process.exitCode = 2;
      }
    });
}
