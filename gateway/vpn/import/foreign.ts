import * as z from 'zod';
import { isKey, publicKeyOf } from '../../../firstboot/wireguard-keys.ts';
import { GatewayError } from '../../errors.ts';
import { isAddress } from '../addresses.ts';
import { timeText } from '../moment.ts';
import type { ImportWish, Tunnel } from '../schema.ts';

/** A client as another tool had it. */
export type ForeignClient = {
  name: string;
  publicKey: string;
  privateKey: string | undefined;
  presharedKey: string | undefined;
  /** Without prefix. */
  addresses: readonly string[];
  disabled: boolean;
  created: string | undefined;
  expires: string | undefined;
  dns: readonly string[] | undefined;
  tunnel: Tunnel | undefined;
  /** Where it looks for the server, as host:port. */
  endpoint: string | undefined;
};

export type ForeignServer = {
  privateKey: string | undefined;
  port: number | undefined;
  addresses: readonly string[];
};

export type Foreign = {
  kind: 'pivpn' | 'wg-easy';
  server: ForeignServer;
  clients: ForeignClient[];
  warnings: string[];
};

/**
 * Reads what PiVPN and wg-easy leave, told apart by what is in the files, not by their names:
 * - wg0.conf of PiVPN: `### begin NAME ###` … `### end NAME ###` around each [Peer], whose lines begin with
 *   `#[disabled] ` while it is off (pivpn/scripts/wireguard/makeCONF.sh, disableCONF.sh);
 * - clients.txt of PiVPN: name, public key, seconds since 1970, address as a number;
 * - wg0.json of wg-easy up to 14: server, and clients by their id (src/lib/WireGuard.js);
 * - wg0.conf of wg-easy: `# Client: NAME (ID)` before each [Peer], of clients that are on;
 * - a client's own file of either.
 */
export function readForeign({ kind, files }: Pick<ImportWish, 'kind' | 'files'>): Foreign {
  const found = new Found();
  for (const file of files) found.file(file.name, file.text);
  const wanted = kind === 'auto' ? found.kind : kind;
  if (!wanted)
    throw new GatewayError(
      'It cannot be told which tool these files are of',
      "Say it (--kind pivpn or wg-easy), or give the server's file: wg0.conf of PiVPN, wg0.json or wg0.conf of wg-easy",
      'refused',
    );
  const clients = found.clients();
  if (clients.length === 0)
    throw new GatewayError(
      'There is no client in these files',
      'Give wg0.conf, configs/*.conf and configs/clients.txt of PiVPN, or wg0.json of wg-easy',
      'refused',
    );
  return { kind: wanted, server: found.server, clients, warnings: found.warnings };
}

type Section = {
  kind: 'interface' | 'peer';
  name: string | undefined;
  disabled: boolean;
  values: Map<string, string[]>;
};

/** Sections of a wg-quick(8) file; each with the name that a comment gives it. */
function sectionsOf(text: string): Section[] {
  const sections: Section[] = [];
  let name: string | undefined;
  let current: Section | undefined;
  for (const raw of text.split(/\r?\n/)) {
    const disabled = /^#\[disabled\] ?/.test(raw);
    const line = raw.replace(/^#\[disabled\] ?/, '').trim();
    const named = /^### begin (.+) ###$/.exec(line) ?? /^# Client: (.*) \([^()]*\)$/.exec(line);
    if (named) name = named[1];
    const header = /^\[(interface|peer)\]$/i.exec(line)?.[1]?.toLowerCase();
    if (header) {
      current = {
        kind: header === 'peer' ? 'peer' : 'interface',
        name: header === 'peer' ? name : undefined,
        disabled,
        values: new Map(),
      };
      name = undefined;
      sections.push(current);
      continue;
    }
    const [, key = '', value = ''] = /^([A-Za-z]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === '' || !current) continue;
    const list = current.values.get(key.toLowerCase()) ?? [];
    current.values.set(key.toLowerCase(), [...list, value]);
  }
  return sections;
}

const firstOf = (section: Section, key: string) => section.values.get(key)?.[0];
const listOf = (section: Section, key: string) =>
  (section.values.get(key) ?? []).flatMap((value) => value.split(/\s*,\s*/)).filter(Boolean);
const keyOrNone = (text: string | undefined) =>
  text !== undefined && isKey(text) ? text : undefined;
const hostsOf = (cidrs: readonly string[]) =>
  cidrs.map((one) => one.split('/')[0] ?? '').filter(isAddress);

/** wg0.json; what else is in it is nothing that we take over. */
const wgEasy = z.object({
  server: z.object({
    privateKey: z.string().optional(),
    address: z.string().optional(),
  }),
  clients: z.record(
    z.string(),
    z.object({
      name: z.string(),
      address: z.string().optional(),
      privateKey: z.string().nullish(),
      publicKey: z.string(),
      preSharedKey: z.string().nullish(),
      createdAt: z.string().nullish(),
      expiredAt: z.string().nullish(),
      expireAt: z.string().nullish(),
      enabled: z.boolean().default(true),
    }),
  ),
});

class Found {
  kind: 'pivpn' | 'wg-easy' | undefined;
  server: ForeignServer = { privateKey: undefined, port: undefined, addresses: [] };
  readonly warnings: string[] = [];
  readonly #clients = new Map<string, ForeignClient>();
  readonly #created = new Map<string, string>();

  file(name: string, text: string): void {
    if (/^\s*\{/.test(text)) this.#json(name, text);
    else if (/^\s*\[(interface|peer)\]/im.test(text)) this.#configuration(name, text);
    else if (/^\S+ [A-Za-z0-9+/]{43}= \d+ \d+$/m.test(text)) this.#list(text);
    else if (text.trim() !== '') this.warnings.push(`${name}: it is no file of either tool`);
  }

  clients(): ForeignClient[] {
    return [...this.#clients.values()].map((client) => ({
      ...client,
      created: client.created ?? this.#created.get(client.publicKey),
    }));
  }

  /** The more is known of a client, the better; the server's file is right where both say something. */
  #add(client: ForeignClient, isServers: boolean): void {
    const other = this.#clients.get(client.publicKey);
    const [first, second] = isServers ? [client, other] : [other ?? client, client];
    this.#clients.set(client.publicKey, {
      ...first,
      name: first.name || second?.name || '',
      privateKey: first.privateKey ?? second?.privateKey,
      presharedKey: first.presharedKey ?? second?.presharedKey,
      addresses: first.addresses.length > 0 ? first.addresses : (second?.addresses ?? []),
      created: first.created ?? second?.created,
      expires: first.expires ?? second?.expires,
      dns: first.dns ?? second?.dns,
      tunnel: first.tunnel ?? second?.tunnel,
      endpoint: first.endpoint ?? second?.endpoint,
    });
  }

  #json(name: string, text: string): void {
    let data: unknown;
    try {
      data = JSON.parse(text);
    } catch {
      this.warnings.push(`${name}: it is no whole JSON`);
      return;
    }
    const parsed = wgEasy.safeParse(data);
    if (!parsed.success) {
      this.warnings.push(`${name}: it is no wg0.json of wg-easy: it has no server and clients`);
      return;
    }
    this.kind = 'wg-easy';
    const { server, clients } = parsed.data;
    this.server = {
      ...this.server,
      privateKey: keyOrNone(server.privateKey) ?? this.server.privateKey,
      addresses: hostsOf([server.address ?? '']),
    };
    for (const client of Object.values(clients)) {
      if (!isKey(client.publicKey)) {
        this.warnings.push(`${name}: a client has no whole public key and is left out`);
        continue;
      }
      this.#add(
        {
          ...nothing,
          name: client.name,
          publicKey: client.publicKey,
          privateKey: privateOf(client.privateKey ?? undefined, client.publicKey),
          presharedKey: keyOrNone(client.preSharedKey ?? undefined),
          addresses: hostsOf([client.address ?? '']),
          disabled: !client.enabled,
          created: timeOf(client.createdAt),
          expires: timeOf(client.expiredAt ?? client.expireAt),
        },
        true,
      );
    }
  }

  #list(text: string): void {
    this.kind ??= 'pivpn';
    for (const line of text.split('\n')) {
      const [, key = '', seconds] = line.trim().split(' ');
      if (isKey(key) && Number(seconds) > 0)
        this.#created.set(key, timeText(new Date(Number(seconds) * 1000)));
    }
  }

  #configuration(name: string, text: string): void {
    if (/^### begin .* ###$/m.test(text)) this.kind ??= 'pivpn';
    if (/^# Client: .* \(.*\)$/m.test(text)) this.kind ??= 'wg-easy';
    const sections = sectionsOf(text);
    const own = sections.find((section) => section.kind === 'interface');
    const peers = sections.filter((section) => section.kind === 'peer');
    const isServers =
      (own ? firstOf(own, 'listenport') !== undefined : true) ||
      peers.some((peer) => peer.name !== undefined);
    if (isServers) this.#servers(name, own, peers);
    else if (own) this.#clientsOwn(name, own, peers[0]);
  }

  #servers(name: string, own: Section | undefined, peers: readonly Section[]): void {
    if (own)
      this.server = {
        privateKey: keyOrNone(firstOf(own, 'privatekey')) ?? this.server.privateKey,
        port: Number(firstOf(own, 'listenport')) || this.server.port,
        addresses: hostsOf(listOf(own, 'address')),
      };
    for (const peer of peers) {
      const publicKey = keyOrNone(firstOf(peer, 'publickey'));
      if (publicKey === undefined) {
        this.warnings.push(`${name}: a [Peer] has no whole public key and is left out`);
        continue;
      }
      this.#add(
        {
          ...nothing,
          name: peer.name ?? '',
          publicKey,
          presharedKey: keyOrNone(firstOf(peer, 'presharedkey')),
          addresses: hostsOf(listOf(peer, 'allowedips')),
          disabled: peer.disabled,
        },
        true,
      );
    }
  }

  /** A client's own file: its name is the file's. */
  #clientsOwn(file: string, own: Section, peer: Section | undefined): void {
    const privateKey = keyOrNone(firstOf(own, 'privatekey'));
    const publicKey = privateKey && publicKeyOf(privateKey);
    if (!publicKey) {
      this.warnings.push(`${file}: it has no whole private key and is left out`);
      return;
    }
    const through = peer ? listOf(peer, 'allowedips') : [];
    // 0.0.0.0/1 and its other half are the same in other words.
    const isFull = through.some((one) => /^0\.0\.0\.0\/[01]$/.test(one));
    const dns = listOf(own, 'dns').filter(isAddress);
    this.#add(
      {
        ...nothing,
        name: file.replace(/^.*\//, '').replace(/\.conf$/i, ''),
        publicKey,
        privateKey,
        presharedKey: peer && keyOrNone(firstOf(peer, 'presharedkey')),
        addresses: hostsOf(listOf(own, 'address')),
        dns: dns.length > 0 ? dns.slice(0, 4) : undefined,
        tunnel: isFull ? 'full' : 'split',
        endpoint: peer && firstOf(peer, 'endpoint'),
      },
      false,
    );
  }
}

const nothing = {
  privateKey: undefined,
  presharedKey: undefined,
  disabled: false,
  created: undefined,
  expires: undefined,
  dns: undefined,
  tunnel: undefined,
  endpoint: undefined,
};

/** A private key, if it is that of the public one. */
function privateOf(text: string | undefined, publicKey: string): string | undefined {
  return text !== undefined && publicKeyOf(text) === publicKey ? text : undefined;
}

function timeOf(text: string | null | undefined): string | undefined {
  if (!text) return undefined;
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? undefined : timeText(time);
}
