import type { Command } from 'commander';
import { localClient } from '../api/client.ts';
import { requireRoot } from '../errors.ts';
import { type Output, print } from '../terminal.ts';
import type { DesktopAccess, DesktopView } from './view.ts';

/** pi-gateway desktop … */
export function addDesktopCommands(program: Command): void {
  const desktop = program
    .command('desktop')
    .description('a remote desktop (VNC) for VPN clients, while it is needed');

  desktop
    .command('start')
    .description('starts it with a new password, which is shown this once; one that runs ends')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const access = await localClient().call('desktopStart');
      print(o, access, accessText(access));
    });

  desktop
    .command('stop')
    .description('ends it, and with it all that is open on it')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const view = await localClient().call('desktopStop');
      print(o, view, desktopText(view));
    });

  desktop
    .command('status')
    .description('whether it runs; exit code 1: it does not')
    .option('--json', 'for machines')
    .action(async (o: Output) => {
      requireRoot();
      const view = await localClient().call('desktopGet');
      print(o, view, desktopText(view));
      process.exitCode = view.state === 'running' ? 0 : 1;
    });
}

const states: Record<DesktopView['state'], string> = {
  stopped: 'The remote desktop does not run. Start it: sudo pi-gateway desktop start',
  starting: 'The remote desktop starts.',
  running: 'The remote desktop runs',
  failed:
    'THE REMOTE DESKTOP HAS FAILED. See why: sudo pi-gateway logs --unit pi-gateway-desktop.service',
};

export function desktopText(view: DesktopView): string {
  if (!view.available)
    return 'This image was built without a remote desktop (stages: {desktop: {}} in gateway.yaml).';
  if (view.state !== 'running') return states[view.state];
  return `${states.running} since ${view.since}, at ${view.address}:${view.port} for VPN clients. It ends ${view.idle_minutes} min after the last viewer has gone.`;
}

export function accessText(access: DesktopAccess): string {
  return [
    `Connect by the VPN with a VNC viewer that speaks TLS (VeNCrypt), e.g. TigerVNC or Remmina:`,
    `  address      ${access.address}:${access.port}`,
    `  user         ${access.user}`,
    `  password     ${access.password}`,
    `  certificate  SHA-256 ${access.fingerprint}`,
    '',
    `The password is shown this once, and is void when the desktop ends: ${access.idle_minutes} min after the last viewer has gone.`,
  ].join('\n');
}
