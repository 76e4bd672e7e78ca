import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('wg0 is up with a key that was made on the device', async () => {
  const [key, port] = (
    await device().ssh('sudo wg show wg0 public-key; sudo wg show wg0 listen-port')
  ).split('\n');
  expect(key).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  expect(port).toBe('51820');
  expect((await device().ssh('sudo cat /etc/wireguard/server.pub')).trim()).toBe(key);
  expect(
    (await device().ssh('sudo stat -c %a:%U /etc/wireguard/server.key /etc/wireguard')).trim(),
  ).toBe('600:root\n700:root');
});

test('it has its address of both families and the MTU', async () => {
  const address = await device().ssh('ip address show wg0');
  expect(address).toContain('inet 10.66.0.1/24');
  expect(address).toContain('inet6 fd66:6761:7465::1/64');
  expect(address).toContain('mtu 1420');
});

test('it and the key are there without waiting for a network', async () => {
  expect(await device().ssh('systemctl show -P After wg-quick@wg0')).not.toContain(
    'network-online',
  );
});

test('the gateway answers for names on its VPN addresses', async () => {
  for (const server of ['10.66.0.1', 'fd66:6761:7465::1'])
    expect(
      await device().ssh(
        `python3 - ${server} << 'END'
import socket, sys
family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(10)
# The question for the A record of localhost.
s.sendto(b'\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\x09localhost\\0\\0\\1\\0\\1', (sys.argv[1], 53))
print(s.recv(512)[-4:])
END`,
      ),
    ).toContain("b'\\x7f\\x00\\x00\\x01'");
});

test('a peer is added and removed live, and one that is broken does no harm', async () => {
  const peer = 'sudo /usr/lib/pi-gateway/wireguard-peer';
  const key = (await device().ssh('wg genkey | wg pubkey')).trim();
  const client = await device().ssh(`${peer} add probe ${key} 10.66.0.200 fd66:6761:7465::200`);
  // It may what the zone table lets the vpn, and still may when the rules are loaded again.
  const set = 'sudo nft list set inet gateway';
  expect(await device().ssh(`${set} vpn_wan4; ${set} vpn_gateway6`)).toMatch(
    /10\.66\.0\.200[\s\S]*fd66:6761:7465::200/,
  );
  expect(await device().ssh(`sudo nft -f /etc/nftables.conf; ${set} vpn_wan4`)).toContain(
    '10.66.0.200',
  );
  expect(client).toMatch(/^DNS = 10\.66\.0\.1, fd66:6761:7465::1$/m);
  expect(client).toMatch(/^PresharedKey = [A-Za-z0-9+/]{43}=$/m);
  await device().ssh('echo rubbish | sudo tee /etc/wireguard/peers.d/broken.conf > /dev/null');
  try {
    await device().ssh('sudo systemctl restart wg-quick@wg0');
    const shown = await device().ssh(
      'sudo wg show wg0 allowed-ips; sudo wg show wg0 preshared-keys',
    );
    expect(shown).toContain(`${key}\t10.66.0.200/32 fd66:6761:7465::200/128`);
    expect(shown).not.toContain('(none)');
  } finally {
    await device().ssh(`sudo rm /etc/wireguard/peers.d/broken.conf; ${peer} remove probe`);
  }
  expect(await device().ssh('sudo wg show wg0 peers')).not.toContain(key);
});

test('what watches over clients without the daemon is enabled, and rests', async () => {
  expect(
    await device().ssh(
      'systemctl is-active pi-gateway-wireguard-expire.timer pi-gateway-wireguard-rotation.path; systemctl is-active pi-gateway-wireguard-rotation.service || true',
    ),
  ).toBe('active\nactive\ninactive\n');
});

test('a client whose time is over is cut off by the timer, and new keys take over at their deadline', {
  timeout: 300_000,
}, async () => {
  const run = (text: string) => device().ssh(text);
  const load = 'sudo /usr/lib/pi-gateway/wireguard-peer load';
  const [key, next] = (await run('wg genkey | wg pubkey; wg genkey | wg pubkey'))
    .trim()
    .split('\n');
  const file = '/etc/wireguard/peers.d/timed';
  await run(
    `printf '[Peer]\\n# expires = %s\\nPublicKey = ${key}\\nAllowedIPs = 10.66.0.201/32\\n' "$(date -u -d '+20 seconds' +%FT%TZ)" | sudo tee ${file}.conf; ${load} timed`,
  );
  expect(await run('sudo wg show wg0 peers')).toContain(key);
  await expect
    .poll(() => run('sudo wg show wg0 peers'), { timeout: 150_000, interval: 3000 })
    .not.toContain(key);
  expect(await run('sudo nft list set inet gateway vpn_lan4')).not.toContain('10.66.0.201');
  await run(
    `printf '[Peer]\\nPublicKey = ${key}\\nAllowedIPs = 10.66.0.201/32\\n' | sudo tee ${file}.conf; printf '[Peer]\\n# deadline = 2026-01-01T00:00:00Z\\nPublicKey = ${next}\\n' | sudo tee ${file}.next; ${load} timed`,
  );
  await expect
    .poll(() => run('sudo wg show wg0 allowed-ips'), { timeout: 60_000, interval: 2000 })
    .toContain(`${next}\t10.66.0.201/32`);
  await run('sudo /usr/lib/pi-gateway/wireguard-peer remove timed');
});

test('a new key of the server works beside the old one, on a port of its own, and is called off', {
  timeout: 120_000,
}, async () => {
  const peer = 'sudo /usr/lib/pi-gateway/wireguard-peer';
  const key = (await device().ssh('wg genkey | wg pubkey')).trim();
  // Without a client there is nobody to wait for, and the old key would end at once.
  await device().ssh(`${peer} add rotating ${key} 10.66.0.202`);
  try {
    expect(await device().ssh('sudo pi-gateway vpn server rotate')).toContain('rotating');
    expect(
      await device().ssh(
        'sudo wg show wg0next allowed-ips; sudo wg show wg0next listen-port; sudo nft list set inet gateway wireguard_ports; systemctl is-active pi-gateway-wireguard-server.service',
      ),
    ).toMatch(/10\.66\.0\.202\/32[\s\S]*51821[\s\S]*51820, 51821[\s\S]*\nactive/);
  } finally {
    await device().ssh(`sudo pi-gateway vpn server cancel --cut-off; ${peer} remove rotating`);
  }
  expect(await device().ssh('sudo wg show interfaces')).toBe('wg0\n');
});
