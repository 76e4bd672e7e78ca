import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { output } from '../exec.ts';
import type { LabHost, Running } from './namespace.ts';

export type PeerKeys = { privateKey: string; publicKey: string; presharedKey: string };

/** Keys as wg(8) makes them. */
export async function makePeerKeys(): Promise<PeerKeys> {
  const privateKey = (await output('wg', ['genkey'])).trim();
  return {
    privateKey,
    publicKey: (await output('wg', ['pubkey'], { input: privateKey })).trim(),
    presharedKey: (await output('wg', ['genpsk'])).trim(),
  };
}

export type Tunnel = {
  /** Bytes that came in through the tunnel: 0 as long as the gateway has not answered. */
  received(): Promise<number>;
  close(): Promise<void>;
};

/**
 * Brings up a real WireGuard client on a host of the lab: wireguard-go, since this machine's kernel
 * may have no WireGuard. All traffic but that to the gateway itself goes through the tunnel.
 */
export async function openTunnel(o: {
  host: LabHost;
  folder: string;
  link: string;
  keys: PeerKeys;
  addresses: readonly string[];
  gateway: { publicKey: string; address: string; port: number };
  /** Router on the way to the gateway. */
  via: string;
  mtu?: number;
}): Promise<Tunnel> {
  const { host, link, keys, gateway } = o;
  const process: Running = host.start('wireguard-go', ['--foreground', link], {
    LOG_LEVEL: 'verbose',
  });
  await process.said('UAPI listener started', 10);
  const config = join(o.folder, `${link}.conf`);
  await writeFile(
    config,
    [
      '[Interface]',
      `PrivateKey = ${keys.privateKey}`,
      '[Peer]',
      `PublicKey = ${gateway.publicKey}`,
      `PresharedKey = ${keys.presharedKey}`,
      `Endpoint = ${gateway.address}:${gateway.port}`,
      'AllowedIPs = 0.0.0.0/0, ::/0',
      'PersistentKeepalive = 5',
      '',
    ].join('\n'),
    { mode: 0o600 },
  );
  await host.run('wg', ['setconf', link, config]);
  await rm(config);
  for (const address of o.addresses) await host.run('ip', ['address', 'add', address, 'dev', link]);
  await host.run('ip', ['link', 'set', link, 'up', 'mtu', String(o.mtu ?? 1420)]);
  await host.run('ip', ['route', 'replace', `${gateway.address}/32`, 'via', o.via]);
  // Two halves win over the default route without replacing it, as wg-quick(8) does it.
  for (const half of ['0.0.0.0/1', '128.0.0.0/1'])
    await host.run('ip', ['route', 'add', half, 'dev', link]);
  for (const half of ['::/1', '8000::/1'])
    await host.run('ip', ['-6', 'route', 'add', half, 'dev', link]);
  return {
    received: async () => {
      const { stdout } = await host.run('wg', ['show', link, 'transfer']);
      return Number(stdout.trim().split('\t')[1] ?? 0);
    },
    close: () => process.stop(),
  };
}
