import type { Command } from 'commander';
import { localClient } from '../api/client.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { type Output, print, span, table } from '../terminal.ts';
import { addRuntimeCommands } from './runtime/command.ts';
import type { UpdateResult, UpdatesState } from './view.ts';

/** pi-gateway update …, and reboot */
export function addUpdateCommands(program: Command): void {
  const update = program
    .command('update')
    .description("updates of Debian packages, and of the gateway's own programs");

  update
    .command('status')
    .description('what waits, how the last update went, whether a restart is due')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const state = await localClient().call('updatesGet');
      print(o, state, statusText(state, Date.now()));
    });

  update
    .command('refresh')
    .description('fetches the lists of packages')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      await localClient().call('updatesRefresh');
      const state = await waitUntilDone();
      print(o, state, statusText(state, Date.now()));
    });

  update
    .command('apply')
    .description('installs security updates, then looks whether the gateway is well')
    .option('--all', 'all updates, not only those of security')
    .option('--no-wait', 'return at once; update status says how it goes')
    .option('--json', 'for machines')
    .action(async (o: Output & { all?: boolean; wait: boolean }) => {
      requireRoot();
      const what = o.all ? 'all' : 'security';
      const started = await localClient().call('updatesApply', { body: { what } });
      if (!o.wait) return print(o, started, 'Started. See: sudo pi-gateway update status');
      const state = await waitUntilDone();
      print(o, state, statusText(state, Date.now()));
      process.exitCode = state.last && !['ok', 'nothing'].includes(state.last.state) ? 1 : 0;
    });

  addRuntimeCommands(update);

  program
    .command('reboot')
    .description('restarts the device')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const { seconds } = await localClient().call('reboot');
      print(o, { seconds }, `The device restarts in ${seconds} s.`);
    });
}

/** Milliseconds between two looks, and until nobody waits any more. */
const pause = 2_000;
const patience = 3_600_000;

async function waitUntilDone(): Promise<UpdatesState> {
  const end = Date.now() + patience;
  for (;;) {
    // An update may restart the daemon: that it does not answer for a while is no end.
    const state = await localClient()
      .call('updatesGet')
      .catch(() => undefined);
    if (state?.running === null) return state;
    if (Date.now() > end)
      throw new GatewayError(
        'The update takes longer than an hour',
        'See what it does: sudo journalctl -fu pi-gateway-update@*',
      );
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

const outcomes: Record<UpdateResult['state'], string> = {
  ok: 'installed, and the gateway is well',
  nothing: 'there was nothing to install',
  failed: 'FAILED',
  undone: 'UNDONE: the gateway was not well after it, and is with the packages of before',
  unwell: 'THE GATEWAY IS NOT WELL since this update',
};

export function statusText(state: UpdatesState, now: number): string {
  const age = state.refreshed_at === null ? undefined : now - Date.parse(state.refreshed_at);
  const security = state.packages.filter((one) => one.security).length;
  const { last } = state;
  return [
    ...(state.running ? [`Under way: ${state.running}`] : []),
    state.packages.length === 0
      ? 'No update waits.'
      : `${state.packages.length} updates wait, ${security} of them for security:`,
    ...(state.packages.length === 0
      ? []
      : [
          table(
            state.packages.map((one) => [
              one.security ? 'security' : '',
              one.name,
              `${one.installed ?? 'new'} → ${one.available}`,
            ]),
            '  ',
          ),
        ]),
    age === undefined
      ? 'The lists of packages have not been fetched yet: sudo pi-gateway update refresh'
      : `The lists of packages were fetched ${span(age / 1000)} ago.`,
    `By themselves: ${state.automatic === 'off' ? 'none' : `${state.automatic} updates`}; restart: ${state.reboot}.`,
    ...(state.reboot_required
      ? [
          `A RESTART IS DUE${state.reboot_packages.length > 0 ? `, for ${state.reboot_packages.join(', ')}` : ''}: sudo pi-gateway reboot`,
        ]
      : []),
    ...(last
      ? [
          `Last (${last.what}, ${last.finished_at}): ${outcomes[last.state]}${last.detail === '' ? '' : `. ${last.detail}`}`,
          ...last.packages.map(
            (one) => `  ${one.name} ${one.before ?? 'new'} → ${one.after ?? 'removed'}`,
          ),
          ...last.checks.map((one) => `  not well: ${one.id} (${one.detail})`),
          ...(last.kept.length > 0 ? [`  could not be brought back: ${last.kept.join(', ')}`] : []),
        ]
      : []),
  ].join('\n');
}
