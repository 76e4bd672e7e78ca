import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deviceSystem } from '../firstboot/system.ts';
import { connectHelper } from './helper/client.ts';
import { helperSocket } from './helper/protocol.ts';
import { kernelState, stateSocket } from './kernel-state.ts';
import { systemdNotifier } from './notify.ts';
import { startGateway } from './runtime.ts';
import { inheritedSockets } from './sockets.ts';

/**
 * pi-gatewayd: monitoring, alerts and the API in one process without privileges. It owns nothing of the
 * machine: sockets and certificate come from systemd, and what needs root is asked of the helper.
 */
const { CREDENTIALS_DIRECTORY: credentials, PI_GATEWAY_ROOT: root = '/' } = process.env;
const sockets = inheritedSockets(process.env, process.pid);
if (credentials === undefined || sockets.length === 0)
  throw new Error('Start it with: systemctl start pi-gatewayd.service');

// Milliseconds; systemd kills what takes ten seconds (TimeoutStopSec=).
const longestEnd = 5_000;

const say = (text: string) => void process.stdout.write(`${text}\n`);
const notifier = systemdNotifier(process.env, say);
const gateway = await startGateway({
  // Another root: for tests, which have no device of their own.
  system: { ...deviceSystem(say), root },
  helper: connectHelper(join(root, helperSocket)),
  kernel: kernelState(join(root, stateSocket)),
  pem: await readFile(join(credentials, 'server.pem'), 'utf8'),
  listen: sockets.filter(({ name }) => name === 'https').map(({ fd }) => ({ fd })),
  socket: sockets.find(({ name }) => name === 'local'),
  inherited: sockets,
});
process.on('SIGHUP', () => void gateway.reload());
let isEnding = false;
const end = async () => {
  if (isEnding) return;
  isEnding = true;
  notifier.end();
  setTimeout(() => {
    say(`Not everything was saved within ${longestEnd / 1000} s`);
    process.exit(1);
  }, longestEnd);
  await Promise.all([notifier.stopping(), gateway.stop()]);
  process.exit(0);
};
process.on('SIGTERM', () => void end());
process.on('SIGINT', () => void end());
await notifier.ready();
