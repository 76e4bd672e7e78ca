import type { Command } from 'commander';
import { localClient } from '../api/client.ts';
import { requireRoot } from '../errors.ts';
import { type Output, print } from '../terminal.ts';
import { methodNames, type Reached, type RouterGuide, type RouterView } from './view.ts';

type Answer = RouterView & { reached: Reached };

/** pi-gateway router … */
export function addRouterCommands(program: Command): void {
  const router = program
    .command('router')
    .description('the router before this gateway: the way in from the internet');

  router
    .command('status')
    .description(
      'what the router was asked for, and whether the internet reaches the gateway; exit code 1: not as far as is known',
    )
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const view = await localClient().call('routerGet');
      print(o, view, routerText(view));
      const isOpen =
        view.reached !== null || ['mapped', 'direct'].includes(view.status?.state ?? '');
      process.exitCode = view.line.state === 'failed' || !isOpen ? 1 : 0;
    });

  router
    .command('renew')
    .description("asks the router for the VPN's port now; a timer does so every 15 min")
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const view = await localClient().call('routerRenew');
      print(o, view, routerText(view));
      process.exitCode = ['mapped', 'direct'].includes(view.status?.state ?? '') ? 0 : 1;
    });

  router
    .command('guide')
    .description(
      'what to forward by hand in the router, with the addresses and ports of this device',
    )
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const { guide } = await localClient().call('routerGet');
      print(o, guide, guideText(guide));
    });
}

export function guideText({ steps }: RouterGuide): string {
  return steps.map((step, i) => `${i + 1}. ${step}`).join('\n');
}

export function routerText({ available, mapping, status, line, reached, running }: Answer): string {
  return [
    line.found,
    ...(line.why === null ? [] : [`  ${line.why}`]),
    ...(line.fix === null ? [] : [`  → ${line.fix}`]),
    '',
    reached === null
      ? 'No VPN client has come in from the internet since the VPN was started.'
      : `The way in works: a VPN client came in from ${reached.from} at ${reached.at}.`,
    '',
    ...(available
      ? mapping === 'off'
        ? [
            'The router is asked for nothing. Let it be asked: sudo pi-gateway config set router.mapping auto',
          ]
        : [
            running
              ? 'The router is being asked …'
              : (status?.summary ?? 'The router has not been asked yet'),
            ...(status?.families ?? []).flatMap((one) => [
              `  IPv${one.family}  ${one.own} behind ${one.router ?? 'no router'}: ${
                one.method === null
                  ? 'nothing'
                  : `${methodNames[one.method]}, UDP ${one.ports.map(({ external, internal }) => `${one.external_address ?? ''} ${external} → ${internal}`).join(', ')}`
              }`,
              ...one.notes.map((note) => `        ${note}`),
            ]),
          ]
      : [
          'This image has nothing that asks the router (stages: {portmap: {}} in gateway.yaml). By hand: sudo pi-gateway router guide',
        ]),
  ].join('\n');
}
