import type { Command } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { localClient } from '../api/client.ts';
import { requireRoot } from '../errors.ts';
import { type LogFlags, logOptions, showLogs } from '../logs/command.ts';
import { bytes, type Output, type Paint, painter, print, span, table } from '../terminal.ts';
import { exitCodeOf } from './health.ts';
import { serviceIds } from './registry.ts';
import type { ServiceView } from './view.ts';

/** `pi-gateway service …` */
export function addServiceCommands(program: Command): void {
  const service = program
    .command('service')
    .description('what runs on this gateway; restarts that cut nobody off');

  service
    .command('list')
    .description('state, health, ports, and what needs what; exit code 2: one has failed')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const { services } = await localClient().call('serviceList');
      print(o, services, listText(services, painter(process.stdout), Date.now()));
      process.exitCode = exitCodeOf(services.map(({ health }) => health));
    });

  service
    .command('restart')
    .description('restarts a service, or reloads it where a restart would cut everybody off')
    .argument('<service>', `one of ${serviceIds.join(', ')}`)
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway service restart dns
  sudo pi-gateway service restart vpn    (clients come back within seconds)`,
    )
    .action(async (id: string, o: Output) => {
      requireRoot();
      const done = await localClient().call('serviceRestart', { params: { id } });
      const what = done.did === 'reload' ? 'has read its settings anew' : 'was restarted';
      print(o, done, `${done.id} ${what}; it is ${done.state}.`);
      process.exitCode = done.state === 'failed' ? 1 : 0;
    });

  logOptions(
    service
      .command('logs')
      .description("a service's lines of the journal; as pi-gateway logs SERVICE")
      .argument('<service>', `one of ${serviceIds.join(', ')}`),
  ).action(async (id: string, o: LogFlags) => {
    requireRoot();
    await showLogs(
      deviceSystem((text) => process.stderr.write(`${text}\n`)),
      id,
      o,
    );
  });
}

const marks = { ok: 'ok', warning: 'WARN', failed: 'FAIL', unknown: '?' } as const;
const colours = { ok: 'green', warning: 'yellow', failed: 'red', unknown: 'dim' } as const;

function listText(services: readonly ServiceView[], paint: Paint, now: number): string {
  const rows = services.map((one) => [
    marks[one.health],
    one.id,
    one.ports.map(({ port, protocol }) => `${port}/${protocol}`).join(' ') || '-',
    one.since === null ? '-' : span((now - Date.parse(one.since)) / 1000),
    one.memory_bytes === null ? '-' : bytes(one.memory_bytes),
    one.detail,
  ]);
  const lines = table([['', 'service', 'ports', 'for', 'memory', ''], ...rows]).split('\n');
  return lines
    .map((line, index) => {
      const health = services[index - 1]?.health;
      // Coloured when the columns are made: what colours has no width.
      return health
        ? line.replace(/^\S+/, (mark) => paint(colours[health], mark))
        : paint('dim', line);
    })
    .join('\n');
}
