import { afterAll, beforeAll, expect, test } from 'vitest';
import { firewall } from '../../stages/firewall/stage.ts';
import { ssh } from '../../stages/ssh/stage.ts';
import { renderStage } from '../../stages/testing.ts';
import { wireguard } from '../../stages/wireguard/stage.ts';
import { median } from '../bench/measure.ts';
import { recordFigure } from './figures.ts';
import { connect, type LabHost, makeHost, removeHosts } from './namespace.ts';

/** A router between two hosts, on this machine's own kernel: emulation would only measure itself. */
let router: LabHost;
let client: LabHost;
let server: LabHost;
beforeAll(async () => {
  [router, client, server] = [
    await makeHost('fast-router'),
    await makeHost('fast-client'),
    await makeHost('fast-server'),
  ];
  await connect(
    { host: router, link: 'eth0', addresses: ['172.20.0.2/24'] },
    { host: server, link: 'eth0', addresses: ['172.20.0.1/24'] },
  );
  await connect(
    { host: router, link: 'eth1', addresses: ['192.168.10.1/24'] },
    { host: client, link: 'eth0', addresses: ['192.168.10.10/24'] },
  );
  await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  await client.run('ip', ['route', 'add', 'default', 'via', '192.168.10.1']);
  await server.run('ip', ['route', 'add', '192.168.10.0/24', 'via', '172.20.0.2']);
});
afterAll(() => removeHosts([router, client, server]));

/** Gigabits a second of one TCP connection through the router, in two seconds. */
async function throughput(): Promise<number> {
  const listening = server.start('iperf3', ['--server', '--one-off', '--forceflush']);
  await listening.said('Server listening', 10);
  const { stdout } = await client.run('iperf3', [
    '-c',
    '172.20.0.1',
    '-t',
    '2',
    '-O',
    '1',
    '--json',
  ]);
  await listening.stop();
  return (JSON.parse(stdout).end.sum_received.bits_per_second as number) / 1e9;
}

test('packets pass the rules at 0.9 or more of the speed without any', async () => {
  const rules = (
    await renderStage(
      firewall,
      {
        zones: {
          lan: { interfaces: ['eth1'], address4: '192.168.10.1/24' },
          guest: { interfaces: ['eth2'], address4: '192.168.20.1/24' },
          dmz: { interfaces: ['eth3'], address4: '192.168.30.1/24' },
        },
        forwards: [{ tcp: 443, to: '192.168.30.10' }],
      },
      [ssh, wireguard],
    )
  ).text('/etc/nftables.conf');
  const rounds: { rules: number; empty: number; ratio: number }[] = [];
  for (let n = 0; n < 9; n++) {
    await router.run('nft', ['-f', '-'], { input: rules });
    const withRules = await throughput();
    await router.run('nft', ['flush', 'ruleset']);
    const empty = await throughput();
    rounds.push({ rules: withRules, empty, ratio: withRules / empty });
  }
  // Of each pair, seconds apart: what else the machine does differs more over minutes.
  const ratio = median(rounds.map((round) => round.ratio));
  await recordFigure('throughput', { unit: 'Gbit/s', rounds, ratio });
  expect(ratio).toBeGreaterThanOrEqual(0.9);
});
