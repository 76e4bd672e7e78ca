import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

const shared = device();

test('the ruleset is loaded and drops by default', async () => {
  const rules = await shared.ssh('sudo nft list table inet gateway');
  expect(rules).toMatch(/chain input \{\s+type filter hook input priority filter; policy drop;/);
  expect(rules).toMatch(
    /chain forward \{\s+type filter hook forward priority filter; policy drop;/,
  );
  expect(rules).toMatch(
    /chain in_wan \{[^}]*tcp dport 22 goto new_ssh[^}]*udp dport @wireguard_ports goto new_wireguard/,
  );
  expect(rules).toMatch(/set wireguard_ports \{[^}]*51820/);
});

test('it is there before any network is', async () => {
  const times = await shared.ssh(
    'systemctl show -P ActiveEnterTimestampMonotonic nftables network-pre.target',
  );
  const [rules = 0, network = 0] = times.split('\n').filter(Boolean).map(Number);
  expect(rules).toBeGreaterThan(0);
  expect(network).toBeGreaterThanOrEqual(rules);
});

test('nothing listens for the network but what the stages open', async () => {
  const sockets = await shared.ssh("sudo ss -Hlntu | awk '{print $1, $5}'");
  const open = sockets
    .trim()
    .split('\n')
    .filter((line) => !/ (127\.|\[::1\]|.*%lo:|.*%eth0:68$|\[fe80)/.test(line));
  expect(open.toSorted()).toEqual([
    'tcp 0.0.0.0:22',
    'tcp 10.66.0.1:53',
    'tcp 10.66.0.1:8443',
    'tcp [::]:22',
    'tcp [fd66:6761:7465::1]:53',
    'tcp [fd66:6761:7465::1]:8443',
    'udp 0.0.0.0:51820',
    'udp 10.66.0.1:53',
    'udp [::]:51820',
    'udp [fd66:6761:7465::1]:53',
  ]);
});

test('the command tells what is in force, and who may reach whom', async () => {
  const status = JSON.parse(await shared.ssh('sudo pi-gateway firewall status --json'));
  expect(status).toMatchObject({ state: 'active', pending: null, counters: { input: {} } });
  expect(await shared.ssh('pi-gateway firewall zones')).toMatch(/^vpn +yes +- +yes/m);
});

/** Rules that let no new SSH connection in, as a file on the device. */
const cutOff =
  "sudo sed 's/tcp dport 22 goto new_ssh/tcp dport 22 drop/' /etc/nftables.conf > cut-off.nft";
const cut = 'sudo nft list chain inet gateway in_wan | grep -c "tcp dport 22 drop" || true';

/** A connection of its own, past the one that all commands share: sshd says its name first. */
async function newConnection(): Promise<void> {
  const socket = connect({ host: shared.host, port: shared.sshPort });
  try {
    const [greeting] = await once(socket, 'data', { signal: AbortSignal.timeout(10_000) });
    expect(String(greeting)).toMatch(/^SSH-2\.0-/);
  } finally {
    socket.destroy();
  }
}

describe('rules that lock their author out', () => {
  test('are undone when nobody confirms them', async () => {
    await shared.ssh(`${cutOff}; sudo pi-gateway firewall apply --timeout 30 cut-off.nft`);
    // This connection stays open: it was there before.
    expect((await shared.ssh(cut)).trim()).toBe('1');
    await expect(newConnection()).rejects.toThrow();
    await expect
      .poll(async () => (await shared.ssh(cut)).trim(), { timeout: 60_000, interval: 2000 })
      .toBe('0');
    await newConnection();
    await expect
      .poll(() => shared.ssh('sudo journalctl -b -u pi-gateway-firewall-rollback'), {
        timeout: 30_000,
      })
      .toContain('Finished');
    expect((await shared.sshResult('sudo pi-gateway firewall confirm')).stderr).toContain(
      'There are no rules to confirm',
    );
  });
});

test('rules that are confirmed stay, and a roll-back returns to those of before', async () => {
  const before = await shared.ssh('cat /etc/nftables.conf');
  await shared.ssh("{ cat /etc/nftables.conf; echo '# mine'; } > mine.nft");
  await shared.ssh('sudo pi-gateway firewall apply mine.nft && sudo pi-gateway firewall confirm');
  expect(await shared.ssh('cat /etc/nftables.conf')).toBe(`${before}# mine\n`);
  expect(
    (
      await shared.sshResult('systemctl is-active pi-gateway-firewall-rollback.timer')
    ).stdout.trim(),
  ).toBe('inactive');
  await shared.ssh('sudo pi-gateway firewall rollback');
  expect(await shared.ssh('cat /etc/nftables.conf')).toBe(before);
});

test('rules that are broken at start close the device but for SSH, and stopping opens nothing', async () => {
  const keep = 'sudo cp /etc/nftables.conf /root/nftables.conf';
  const mend = 'sudo cp /root/nftables.conf /etc/nftables.conf; sudo systemctl restart nftables';
  await shared.ssh(`${keep}; echo broken | sudo tee /etc/nftables.conf > /dev/null`);
  try {
    expect((await shared.sshResult('sudo systemctl restart nftables')).exitCode).not.toBe(0);
    expect(JSON.parse(await shared.ssh('sudo pi-gateway firewall status --json'))).toMatchObject({
      state: 'closed',
    });
    expect(await shared.ssh('sudo journalctl -b -p emerg -u nftables')).toContain('did not load');
  } finally {
    await shared.ssh(mend);
  }
  await shared.ssh('sudo systemctl stop nftables');
  expect(await shared.ssh('sudo nft list tables')).toContain('table inet gateway');
  await shared.ssh('sudo systemctl start nftables');
  expect(await shared.ssh('systemctl --failed --no-legend --plain')).toBe('');
});

test("our own reload leaves fail2ban's bans alone", async () => {
  await shared.ssh('sudo fail2ban-client set sshd banip 192.0.2.77');
  try {
    await shared.ssh('sudo systemctl reload nftables');
    expect(await shared.ssh('sudo nft list table inet f2b-table')).toContain('192.0.2.77');
  } finally {
    await shared.ssh('sudo fail2ban-client set sshd unbanip 192.0.2.77');
  }
});
