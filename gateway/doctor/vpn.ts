import { readUnits } from '../services/units.ts';
import { span } from '../terminal.ts';
import { type Examination, failed, ok, skipped, warning } from './examination.ts';

const unit = 'wg-quick@wg0.service';

/** Seconds in which a client that is there has shaken hands; it does every 2 minutes (WireGuard's paper, 6.1). */
const recent = 180;

const wireguard: Examination = {
  id: 'vpn',
  title: 'VPN (WireGuard)',
  run: async ({ system, now }) => {
    if (!(await readUnits(system, [unit])).has(unit)) return skipped('This image has none');
    const dump = await system.run('wg', ['show', 'wg0', 'dump']).catch(() => undefined);
    if (dump === undefined)
      return failed(
        'wg0 is not up',
        'No client can connect',
        'Start it: sudo pi-gateway service restart vpn; see why not: sudo pi-gateway logs vpn',
      );
    // wg(8): the first line is the interface; of a peer the fifth column is its last handshake.
    const handshakes = dump
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => Number(line.split('\t')[4] ?? 0));
    if (handshakes.length === 0) return ok('wg0 is up, without clients: sudo pi-gateway vpn add');
    const ever = handshakes.filter((time) => time > 0);
    const age = now() / 1000 - Math.max(...handshakes);
    const connected = handshakes.filter((time) => now() / 1000 - time < recent).length;
    if (ever.length === 0)
      return warning(
        `wg0 is up, but none of ${handshakes.length} clients has ever been heard`,
        'Since it came up; if a client did try, its packets do not arrive',
        "Is the port forwarded in the router (below), and the client's Endpoint right? Test with the phone's Wi-Fi off",
      );
    return ok(
      `${connected} of ${handshakes.length} clients connected${connected === 0 ? `; the last was heard ${span(age)} ago` : ''}`,
    );
  },
};

export const vpnExaminations: readonly Examination[] = [wireguard];
