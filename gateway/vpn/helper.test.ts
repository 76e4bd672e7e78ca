import type { Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { auditFile } from '../helper/audit.ts';
import { connectHelper } from '../helper/client.ts';
import { serveHelper } from '../helper/server.ts';
import type { Actor } from '../helper/verb.ts';
import { VpnDevice } from './testing.ts';
import { vpnVerbs } from './verbs.ts';

/** The verbs as the helper does them, over its socket. */
let vpn: VpnDevice;
let server: Server;
let path = '';
beforeEach(async () => {
  vpn = await VpnDevice.make();
  path = join(vpn.device.root, 'helper.sock');
  ({ server } = serveHelper({
    system: vpn.system,
    verbs: vpnVerbs,
    idle: 60_000,
    patience: 60_000,
  }));
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterEach(async () => {
  server.close();
  await vpn.remove();
});

const by = (via: Actor['via'], name: string): Actor => ({ via, name });

test('changes from everywhere at once lose nothing', { timeout: 60_000 }, async () => {
  const helpers = [connectHelper(path), connectHelper(path), connectHelper(path)];
  const actors = [by('cli', 'root'), by('api', 'ann'), by('api', 'token')];
  const wishes = Array.from({ length: 30 }, (_, i) => ({ name: `c${i}`, note: `number ${i}` }));
  await Promise.all(
    wishes.map(async (wish, i) => {
      const helper = helpers[i % 3];
      const actor = actors[i % 3] ?? by('cli', 'root');
      await helper?.call('vpn.add', wish, actor);
      // Three at once, of one client.
      await Promise.all([
        helper?.call('vpn.change', { name: wish.name, change: { zones: ['lan'] } }, actor),
        helper?.call('vpn.change', { name: wish.name, change: { tunnel: 'split' } }, actor),
        helper?.call('vpn.change', { name: wish.name, change: { note: `${i}` } }, actor),
      ]);
      if (i % 5 === 0) await helper?.call('vpn.revoke', { name: wish.name }, actor);
    }),
  );
  const clients = (await helpers[0]?.call('vpn.list', {}, by('cli', 'root'))) ?? [];
  expect(clients).toHaveLength(24);
  for (const client of clients)
    expect(client).toMatchObject({ zones: ['lan'], tunnel: 'split', note: client.name.slice(1) });
  expect(new Set(clients.flatMap((client) => client.addresses)).size).toBe(48);
  expect(await vpn.interface()).toHaveLength(24);
});

test('no secret key is in an answer but where it is asked for, nor in the record of changes', async () => {
  const helper = connectHelper(path);
  const ann = by('api', 'ann');
  const said: unknown[] = [
    await helper.call('vpn.add', { name: 'phone' }, ann),
    await helper.call('vpn.rotate', { name: 'phone' }, ann),
    await helper.call('vpn.list', {}, ann),
    await helper.call('vpn.status', {}, ann),
  ];
  const { text } = await helper.call('vpn.config', { name: 'phone' }, ann);
  const foreign = `[Interface]\nPrivateKey = ${/^PrivateKey = (.*)$/m.exec(text)?.[1]}\nAddress = 10.66.0.9/32\n[Peer]\nPresharedKey = ${Buffer.alloc(32, 5).toString('base64')}\nAllowedIPs = 0.0.0.0/0\n`;
  const files = [{ name: 'other.conf', text: foreign }];
  said.push(await helper.call('vpn.import', { kind: 'wg-easy', files }, ann));
  const secrets = [
    ...(await vpn.device.read('etc/wireguard/peers.d/phone.conf')).matchAll(/PresharedKey = (.*)/g),
    ...(await vpn.device.read('etc/wireguard/clients/phone.conf')).matchAll(
      /(?:Private|Preshared)Key = (.*)/g,
    ),
    ...text.matchAll(/(?:Private|Preshared)Key = (.*)/g),
    ...foreign.matchAll(/(?:Private|Preshared)Key = (.*)/g),
  ].map(([, secret]) => secret ?? '');
  expect(secrets).toHaveLength(7);
  said.push(await vpn.device.read(auditFile), vpn.device.said, vpn.device.calls);
  for (const secret of secrets)
    expect(JSON.stringify(said)).not.toContain(JSON.stringify(secret).slice(1, -1));
});
