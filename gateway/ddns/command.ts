import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import {
  at,
  deviceSystem,
  readIfThere,
  type System,
  writeDurably,
} from '../../firstboot/system.ts';
import { GatewayError, requireRoot } from '../errors.ts';
import { readForeignJson } from '../foreign-file.ts';
import { forTerminal } from '../terminal.ts';
import { type DdnsStatus, settingsPath, statusFile, statusText } from './view.ts';

/** In the StateDirectory= of the service, which is its own user's. */
const stateFile = '/var/lib/pi-gateway-ddns/state.json';
const unit = 'pi-gateway-ddns.service';

/** Milliseconds: a run waits up to 4 minutes for a network. */
const runTimeout = 360_000;

/**
 * What the service's last run came to.
 * @throws GatewayError if there is none.
 */
export async function readStatus(system: System): Promise<DdnsStatus> {
  const status = await readForeignJson(at(system, statusFile));
  if (status !== undefined) return status as DdnsStatus;
  if ((await readIfThere(at(system, settingsPath))) === undefined)
    throw new GatewayError(
      'Dynamic DNS is not set up on this device',
      `Put the ddns: section's content into ${settingsPath} (0600, root); see docs/ddns.md`,
    );
  throw new GatewayError(
    'Dynamic DNS has not run since this device was started',
    'Try it: sudo pi-gateway ddns update',
  );
}

/** Lets stopped providers be asked once more, as the owner has mended something there. */
export async function forgetStops(system: System): Promise<void> {
  const path = at(system, stateFile);
  const text = await readIfThere(path);
  if (text === undefined) return;
  const state = JSON.parse(text) as {
    providers: Record<string, { stopped?: object; secrets?: object }>;
  };
  // Secrets with another digest count as changed: the service then forgets the failures itself.
  for (const one of Object.values(state.providers))
    if (one.secrets) one.secrets = { salt: '', digest: '' };
  // It is the service's own user's.
  const { uid, gid } = await stat(path);
  await writeDurably(path, `${JSON.stringify(state)}\n`, 0o600, { uid, gid });
}

/** pi-gateway ddns … */
export function addDdnsCommands(program: Command): void {
  const system = deviceSystem((text) => process.stderr.write(`${text}\n`));
  const ddns = program.command('ddns').description('the name under which this gateway is found');
  const print = async (json: boolean | undefined) => {
    const status = await readStatus(system);
    process.stdout.write(
      `${json ? JSON.stringify(status, null, 2) : forTerminal(statusText(status))}\n`,
    );
    process.exitCode = status.registered ? 0 : 1;
  };

  ddns
    .command('status')
    .description('which name has which address, at which provider; exit code 1: none has')
    .option('--json', 'for machines')
    .action(async (o: { json?: boolean }) => {
      requireRoot();
      await print(o.json);
    });

  ddns
    .command('update')
    .description('looks for a new address now, and sends it if it is one; a timer does this, too')
    .option('--again', 'ask a provider once more that had stopped: you have mended it there')
    .option('--json', 'for machines')
    .action(async (o: { again?: boolean; json?: boolean }) => {
      requireRoot();
      if (o.again) await forgetStops(system);
      // A run without any name fails; the status says why.
      await system
        .run('systemctl', ['start', '--wait', unit], { timeout: runTimeout })
        .catch(() => undefined);
      await print(o.json);
    });
}
