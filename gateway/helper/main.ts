import { deviceSystem } from '../../firstboot/system.ts';
import { inheritedSockets } from '../sockets.ts';
import { serveHelper } from './server.ts';
import { verbs } from './verbs.ts';

/** Started by systemd when somebody connects to pi-gateway-helper.socket, and gone when nobody asks any more. */
const [socket] = inheritedSockets(process.env, process.pid);
if (!socket) throw new Error('Start it with: systemctl start pi-gateway-helper.socket');
// Another root: for tests, which have no device of their own.
const { PI_GATEWAY_ROOT: root = '/' } = process.env;

const { server, ended, drain } = serveHelper({
  system: { ...deviceSystem((text) => process.stdout.write(`${text}\n`)), root },
  verbs,
  // A node that waits has 40 MB; the next start takes less than a second on a Pi.
  idle: 60_000,
  // Above the 120 s that one program of a verb may take (firstboot/system.ts).
  patience: 300_000,
});
// A stop waits for the change that is under way: TimeoutStopSec= of the unit.
process.on('SIGTERM', drain);
server.listen({ fd: socket.fd });
// The socket is systemd's, and who connects now starts the next helper.
process.exit((await ended) === 'idle' ? 0 : 1);
