import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lab } from '../../builder/lab/harness.ts';
import { outside } from '../../builder/lab/lab.ts';
import type { Running } from '../../builder/lab/namespace.ts';
import { makePeerKeys, openTunnel, type Tunnel } from '../../builder/lab/wireguard-peer.ts';
import { startMiniupnpd } from '../../gateway/portmap/testing.ts';
import type { Reached, RouterGuide, RouterView } from '../../gateway/portmap/view.ts';

/**
 * The device behind a home router that maps ports (Debian's miniupnpd). The router's outer address is one of
 * documentation, and it believes to have another, as it would not work with that.
 */
const { facts, peer, ssh, sshResult, wan } = lab();
const port = 51_820;
const claimed = '5.5.5.5';
let folder: string;
let router: Running;
let tunnel: Tunnel | undefined;
/** The firewall's rules for what comes from the wan. */
let before: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-router-'));
  router = await startMiniupnpd({
    host: wan,
    folder,
    outer: 'peer',
    inner: 'eth0',
    lines: ['enable_natpmp=yes', 'enable_upnp=yes', `ext_ip=${claimed}`],
  });
});
afterAll(async () => {
  await tunnel?.close();
  await sshResult('sudo /usr/lib/pi-gateway/wireguard-peer remove mapped');
  await sshResult('sudo pi-gateway config set router.mapping off');
  await router?.stop();
  await wan.run('nft', ['delete', 'table', 'inet', 'miniupnpd']);
  await rm(folder, { recursive: true, force: true });
});

const openings = () => ssh('sudo nft -s list chain inet gateway in_wan');
const rules = async () => (await wan.run('nft', ['list', 'table', 'inet', 'miniupnpd'])).stdout;
const status = async (command: string) =>
  JSON.parse((await sshResult(`sudo pi-gateway router ${command} --json`)).stdout) as RouterView & {
    reached: Reached;
  };

test('unless its owner says so the router is asked for nothing', async () => {
  const view = await status('status');
  expect(view).toMatchObject({ available: true, mapping: 'off' });
  expect((await sshResult('sudo pi-gateway router renew')).stderr).toContain('turned off');
  await ssh('sudo systemctl start pi-gateway-portmap.service');
  expect(router.text()).not.toContain('request received');
  before = await openings();
});

test('the guide names the ports and addresses of this very device', async () => {
  const guide = JSON.parse(await ssh('sudo pi-gateway router guide --json', 60)) as RouterGuide;
  expect(guide).toMatchObject({
    device: 'eth0',
    own4: outside.gateway4,
    router4: outside.router4,
    mac: '52:54:00:70:69:01',
  });
  expect(guide.forwards[0]).toMatchObject({
    name: 'wireguard',
    protocol: 'udp',
    external_port: port,
    internal_port: port,
  });
  expect(guide.steps.join('\n')).toContain(`port ${port} from outside to ${outside.gateway4}`);
});

test('turned on, the router maps the port, and a VPN client comes in by the address of the router', async () => {
  await ssh('sudo pi-gateway config set router.mapping auto', 120);
  const view = await status('renew');
  expect(view.status, JSON.stringify(view)).toMatchObject({ state: 'mapped' });
  expect(view.status?.families.find(({ family }) => family === 4)).toMatchObject({
    method: 'pcp',
    own: outside.gateway4,
    router: outside.router4,
    external_address: claimed,
  });
  expect(await rules()).toContain(`dnat ip to ${outside.gateway4}:${port}`);
  const keys = await makePeerKeys();
  await ssh(
    [
      'sudo tee /etc/wireguard/peers.d/mapped.conf > /dev/null <<END',
      '[Peer]',
      `PublicKey = ${keys.publicKey}`,
      `PresharedKey = ${keys.presharedKey}`,
      'AllowedIPs = 10.66.0.9/32, fd66:6761:7465::9/128',
      'END',
      'sudo chmod 600 /etc/wireguard/peers.d/mapped.conf',
      'sudo /usr/lib/pi-gateway/wireguard-peer load mapped',
    ].join('\n'),
  );
  tunnel = await openTunnel({
    host: peer,
    folder: facts.keyDirectory,
    link: 'wgmap',
    keys,
    addresses: ['10.66.0.9/32', 'fd66:6761:7465::9/128'],
    gateway: {
      publicKey: (await ssh('sudo cat /etc/wireguard/server.pub')).trim(),
      // The router's, not the gateway's: only the mapping leads on.
      address: outside.server4,
      port,
    },
    via: '198.51.100.1',
  });
  await peer.run('ping', ['-c', '3', '-W', '15', '10.66.0.1']);
  const after = await status('status');
  expect(after.reached).toMatchObject({ from: outside.peer4 });
});

test('for that the firewall was opened by nothing: answers come in as answers do', async () => {
  expect(await openings()).toBe(before);
  expect((await ssh('sudo ss -Hulpn | grep -c portmap || true')).trim()).toBe('0');
});

test('a router that was restarted is asked again', async () => {
  await wan.run('nft', ['flush', 'chain', 'inet', 'miniupnpd', 'prerouting_miniupnpd']);
  await wan.run('nft', ['flush', 'chain', 'inet', 'miniupnpd', 'miniupnpd']);
  await router.stop();
  router = await startMiniupnpd({
    host: wan,
    folder,
    outer: 'peer',
    inner: 'eth0',
    lines: ['enable_natpmp=yes', 'enable_upnp=yes', `ext_ip=${claimed}`],
  });
  expect(await rules()).not.toContain('dnat');
  // As its timer does.
  await ssh('sudo systemctl start pi-gateway-portmap.service', 60);
  expect(await rules()).toContain(`dnat ip to ${outside.gateway4}:${port}`);
});

test('turned off, it takes the mapping back', async () => {
  await ssh('sudo pi-gateway config set router.mapping off', 120);
  await expect.poll(rules, { timeout: 60_000, interval: 2000 }).not.toContain('dnat');
  expect((await status('status')).mapping).toBe('off');
});
