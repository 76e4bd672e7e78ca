import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../exec.ts';

export type DdnsProvider = {
  /** As a guest of QEMU's user network reaches it. */
  url: string;
  /** Its certificate, which is its authority too. */
  ca: string;
  /** The updates that came, in order. */
  updates: URL[];
  close(): Promise<void>;
};

/** What the provider says that a VM's public address is. */
export const publicAddress = '93.184.215.14';

/**
 * DuckDNS on this machine, over TLS, as its documentation has it (duckdns.org/spec.jsp); it also tells an
 * address to who asks /ip for his own.
 * @param token The account's; another one gets KO.
 */
export async function startDdnsProvider(token: string): Promise<DdnsProvider> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-provider-'));
  const [certificate, privateKey] = [join(folder, 'server.crt'), join(folder, 'server.key')];
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-subj', '/CN=10.0.2.2', '-addext', 'subjectAltName=IP:10.0.2.2'],
    ...['-days', '3650', '-out', certificate, '-keyout', privateKey],
  ]);
  const ca = await readFile(certificate, 'utf8');
  const updates: URL[] = [];
  const server = createServer(
    { cert: ca, key: await readFile(privateKey) },
    (request, response) => {
      const url = new URL(request.url ?? '/', 'https://10.0.2.2');
      if (url.pathname === '/ip') return response.end(publicAddress);
      if (url.pathname !== '/update') return response.writeHead(404).end();
      updates.push(url);
      const isKnown = url.searchParams.get('token') === token;
      const verbose = url.searchParams.get('verbose') === 'true';
      const lines = [
        url.searchParams.get('ip') ?? '',
        url.searchParams.get('ipv6') ?? '',
        'UPDATED',
      ];
      return response.end(isKnown ? ['OK', ...(verbose ? lines : [])].join('\n') : 'KO');
    },
  );
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://10.0.2.2:${port}`,
    ca,
    updates,
    close: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
      await rm(folder, { recursive: true });
    },
  };
}

/** The owner's `ddns:` for it. */
export function ddnsOf(provider: Pick<DdnsProvider, 'url' | 'ca'>, token: string): object {
  const { url, ca } = provider;
  return {
    providers: [{ type: 'duckdns', hostnames: ['attic.duckdns.org'], token, server: url, ca }],
    address: {
      ...{ families: [4], interface: false, stun: [], dns: [], https: [`${url}/ip`] },
      ...{ quorum: 1, ca },
    },
  };
}
