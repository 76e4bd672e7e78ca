import type { Command } from 'commander';
import { localClient } from '../../api/client.ts';
import { GatewayError, requireRoot } from '../../errors.ts';
import { type Output, print } from '../../terminal.ts';
import type { RuntimeView } from './view.ts';

/** `pi-gateway update runtime …`: the gateway's own programs. */
export function addRuntimeCommands(update: Command): void {
  const runtime = update.command('runtime').description("updates of the gateway's own programs");
  const json = ['--json', 'for machines'] as const;

  runtime
    .command('status')
    .description('which version runs, which is to be had, how the last update went')
    .option(...json)
    .action(async (o: Output) => {
      requireRoot();
      const state = await localClient().call('runtimeGet');
      print(o, state, runtimeText(state));
    });

  runtime
    .command('check')
    .description('look for a newer version')
    .option(...json)
    .action(async (o: Output) => {
      requireRoot();
      await localClient().call('runtimeCheck');
      const state = await waitUntilDone();
      print(o, state, runtimeText(state));
      if (state.problem !== null) process.exitCode = 1;
    });

  runtime
    .command('apply')
    .description('install the newest version; it is taken back if the gateway is unwell with it')
    .option('--again', 'even if it was undone before')
    .option(...json)
    .action(async (o: Output & { again?: boolean }) => {
      requireRoot();
      await localClient().call('runtimeApply', { body: { again: o.again ?? false } });
      finish(o, await waitUntilDone());
    });

  runtime
    .command('rollback')
    .description('go back to the version of before')
    .option(...json)
    .action(async (o: Output) => {
      requireRoot();
      await localClient().call('runtimeRollback');
      finish(o, await waitUntilDone());
    });
}

function finish(o: Output, state: RuntimeView): void {
  print(o, state, runtimeText(state));
  if (state.problem !== null || (state.last && state.last.state !== 'ok')) process.exitCode = 1;
}

/** Milliseconds between two looks, and until nobody waits any more. */
const pause = 2_000;
const patience = 30 * 60_000;

async function waitUntilDone(): Promise<RuntimeView> {
  const end = Date.now() + patience;
  for (;;) {
    // The update starts the daemon anew: that it does not answer for a while is no end.
    const state = await localClient()
      .call('runtimeGet')
      .catch(() => undefined);
    if (state?.running === null) return state;
    if (Date.now() > end)
      throw new GatewayError(
        'The update takes longer than half an hour',
        "See what it does: sudo journalctl -fu 'pi-gateway-runtime@*'",
      );
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

const outcomes = {
  ok: 'it runs, and the gateway is well',
  undone: 'UNDONE: the version of before runs again',
  failed: 'FAILED: nothing was changed',
} as const;

export function runtimeText(state: RuntimeView): string {
  const { last } = state;
  const signers =
    state.keys.length > 0
      ? `signed by ${state.keys.join(' or ')}`
      : 'NO KEY in this image: nobody is trusted';
  return [
    `Version ${state.version}, ${state.installed ? 'installed' : 'of the image'}.`,
    ...(state.installed ? [`A roll-back goes to ${state.previous ?? 'that of the image'}.`] : []),
    state.url === null
      ? 'Newer ones are looked for nowhere: updates.runtime.url is not set.'
      : `Newer ones: ${state.url}, ${signers}.`,
    ...(state.running ? [`Under way: ${state.running}`] : []),
    ...(state.checked_at === null
      ? []
      : [
          state.problem !== null
            ? `Looked at ${state.checked_at}: ${state.problem}`
            : state.available === null
              ? `Looked at ${state.checked_at}: there is none newer.`
              : `Version ${state.available} is to be had: sudo pi-gateway update runtime apply`,
        ]),
    ...(last
      ? [
          `Last (${last.what} ${last.version ?? 'of the image'}, ${last.finished_at}): ${outcomes[last.state]}${last.detail === '' ? '' : `. ${last.detail}`}`,
        ]
      : []),
  ].join('\n');
}
