import { randomBytes } from 'node:crypto';
import type { LabDevice } from '../../builder/lab/harness.ts';
import { hostAddress } from '../../builder/lab/lab.ts';
import type { LabHost } from '../../builder/lab/namespace.ts';
import { openRelay, type Relay, RelayClient, type Way } from '../../builder/lab/relay.ts';
import type { Role } from '../../gateway/api/operation.ts';

/** The API of the device, as the lab's hosts reach it. */
export type Door = {
  way: Way;
  /** PEM of the device's own authority. */
  ca: string;
  relay: Relay;
  /** A client of its own, from an address of the lan's host. */
  client(localAddress?: string): RelayClient;
  close(): Promise<void>;
};

const port = 8443;

/** The way in from the lan's host, once the API answers. */
export async function openDoor({ facts, lan, ssh }: LabDevice): Promise<Door> {
  const host = facts.zones.lan.v4.split('/')[0] ?? '';
  const ca = await ssh('sudo cat /etc/pi-gateway/ca/root.crt');
  const relay = await openRelay(lan);
  const client = (localAddress?: string) =>
    new RelayClient(
      relay,
      { host, port, ...(localAddress === undefined ? {} : { localAddress }) },
      ca,
    );
  const first = client();
  // The lab waits for SSH alone, which comes first.
  for (const until = Date.now() + 240_000; ; ) {
    const said = await first.ask({ method: 'GET', path: '/api/v1/claim' }).then(
      ({ status }) => status,
      (error: unknown) => error,
    );
    if (said === 200) break;
    if (Date.now() > until) throw new Error(`The API does not answer: ${String(said)}`);
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
  first.close();
  return { way: { host, port }, ca, relay, client, close: () => relay.close() };
}

/** Further addresses of the lan's host, from the n-th on; those that it has already stay. */
export async function moreAddresses(
  { facts, lan }: LabDevice,
  n: number,
  count: number,
): Promise<string[]> {
  const addresses = Array.from({ length: count }, (_, i) => hostAddress(facts.zones.lan, n + i).v4);
  for (const one of addresses) await give(lan, one);
  return addresses;
}

async function give(host: LabHost, address: string): Promise<void> {
  await host.run('ip', ['address', 'replace', `${address}/24`, 'dev', 'eth0']);
}

export type Account = { name: string; password: string };

/** An account that root makes, or the one of that name with another password. */
export async function makeAccount(
  { ssh, sshResult }: LabDevice,
  name: string,
  role: Role,
): Promise<Account> {
  const password = randomBytes(12).toString('base64url');
  await sshResult(`sudo pi-gateway account remove ${name}`);
  const have = await ssh('sudo pi-gateway account list --json');
  // The last admin cannot be removed.
  const isThere = (JSON.parse(have) as { name: string }[]).some((one) => one.name === name);
  const command = isThere ? `password ${name}` : `add ${name} --role ${role}`;
  await ssh(`sudo pi-gateway account ${command}`, 120, Buffer.from(`${password}\n`));
  return { name, password };
}

/** Headers of a new session. @throws Error if it is refused */
export async function logIn(client: RelayClient, body: Account): Promise<Record<string, string>> {
  const answer = await client.ask({ method: 'POST', path: '/api/v1/session', body });
  const cookie = [answer.headers['set-cookie'] ?? []].flat()[0]?.split(';')[0];
  if (answer.status !== 200 || cookie === undefined)
    throw new Error(`No session for ${body.name}: ${answer.status} ${answer.text}`);
  return { cookie, 'x-csrf-token': (JSON.parse(answer.text) as { csrf: string }).csrf };
}

/** What must be the same before and after whatever is asked of the API. */
export type Footing = {
  mainPid: string;
  restarts: string;
  failed: string;
  /** The ruleset without counters and without what its sets have. */
  rules: string;
  serverKey: string;
};

export async function footing({ ssh }: LabDevice): Promise<Footing> {
  const show = (property: string) =>
    ssh(`systemctl show --value -p ${property} pi-gatewayd.service`).then((text) => text.trim());
  return {
    mainPid: await show('MainPID'),
    restarts: await show('NRestarts'),
    failed: await ssh('systemctl --failed --no-legend --plain'),
    // Tables that were loaded anew are listed last.
    rules: (await ssh('sudo nft -s -t list ruleset'))
      .split(/^(?=table )/m)
      .toSorted()
      .join(''),
    serverKey: (await ssh('sudo wg show wg0 public-key')).trim(),
  };
}

/** MiB of memory that the daemon's process has (ps(1), rss). */
export async function daemonMemory({ ssh }: LabDevice): Promise<number> {
  const text = await ssh('ps -o rss= -p $(systemctl show --value -p MainPID pi-gatewayd.service)');
  return Math.round((Number(text) / 1024) * 10) / 10;
}

/** Values by their place among all, sorted: 0.5 is the median. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
}
