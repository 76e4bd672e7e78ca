import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostPath, output, run } from '../exec.ts';
import { type LabHost, makeHost, removeHosts } from '../lab/namespace.ts';

export type VpnClient = {
  /** The client's machine: a network namespace whose only way out is the tunnel. */
  host: LabHost;
  /** Addresses of its interface, without prefix. */
  addresses: string[];
  close(): Promise<void>;
};

/**
 * Connects as a laptop or phone does with the configuration that it was handed: wg-quick(8) parses
 * it, wireguard-go carries it, since this machine's kernel may have no WireGuard. The tunnel's socket
 * stays in this process's network and its interface moves into one of its own, so that it reaches a
 * port on loopback: https://www.wireguard.com/netns/.
 */
export async function connectVpnClient(o: {
  configuration: string;
  /** Where the VM's WireGuard port is forwarded from; in place of the configuration's Endpoint. */
  port: number;
  folder: string;
}): Promise<VpnClient> {
  const link = `pgvpn${process.pid % 100_000}`;
  const file = join(o.folder, `${link}.conf`);
  await writeFile(file, o.configuration, { mode: 0o600 });
  const stripped = join(o.folder, `${link}.stripped`);
  const settings = await output('wg-quick', ['strip', file]);
  const here = settings.replace(/^Endpoint = .*$/m, `Endpoint = 127.0.0.1:${o.port}`);
  await writeFile(stripped, here, { mode: 0o600 });
  const tunnel = spawn('setpriv', ['--pdeathsig', 'KILL', 'wireguard-go', '--foreground', link], {
    stdio: 'ignore',
    env: { PATH: hostPath },
  });
  const ended = new Promise<void>((resolve) => {
    tunnel.once('error', () => resolve());
    tunnel.once('exit', () => resolve());
  });
  const host = await makeHost('vpnclient');
  const close = async () => {
    tunnel.kill('SIGKILL');
    await ended;
    await removeHosts([host]);
  };
  try {
    await untilThere(link);
    await run('wg', ['setconf', link, stripped]);
    await run('ip', ['link', 'set', link, 'netns', host.namespace]);
    const addresses = value(o.configuration, 'Address');
    for (const address of addresses) await host.run('ip', ['address', 'add', address, 'dev', link]);
    const mtu = value(o.configuration, 'MTU')[0] ?? '1420';
    await host.run('ip', ['link', 'set', link, 'up', 'mtu', mtu]);
    for (const network of value(o.configuration, 'AllowedIPs'))
      await host.run('ip', ['route', 'add', network, 'dev', link]);
    return { host, addresses: addresses.map((address) => address.split('/')[0] ?? ''), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The values of a key, which wg(8) separates by commas. */
function value(configuration: string, key: string): string[] {
  const line = new RegExp(`^\\s*${key}\\s*=\\s*(.*)$`, 'm').exec(configuration)?.[1] ?? '';
  return line.split(',').map((part) => part.trim());
}

async function untilThere(link: string): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { exitCode } = await run('wg', ['show', link], { okCodes: [1] });
    if (exitCode === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`wireguard-go did not make ${link}`);
}
