import { isKey } from '../../firstboot/wireguard-keys.ts';
import { type ClientZone, clientZones } from '../../stages/firewall/zones.ts';
import type { Tunnel } from './schema.ts';

/**
 * A client's file in /etc/wireguard/peers.d: a [Peer] section of wg(8), with what only the gateway knows of
 * it in comments, `# zones = lan wan`. One file is all there is of a client, so that one rename changes it.
 * /usr/lib/pi-gateway/wireguard-peer reads the same lines: what it must enforce it reads by itself.
 */
export type PeerFile = {
  publicKey: string;
  presharedKey: string | undefined;
  /** As the file has them, with or without a prefix. */
  allowedIps: readonly string[];
  /** Further lines of wg(8): an Endpoint, PersistentKeepalive. */
  further: readonly string[];
  /** Comments that are nothing of ours. */
  comments: readonly string[];
  created: string | undefined;
  /** Undefined: never. What is no time counts as over. */
  expires: string | undefined;
  /** Undefined: all. */
  zones: readonly ClientZone[] | undefined;
  tunnel: Tunnel;
  /** Undefined: as the gateway says. */
  dns: readonly string[] | undefined;
  disabled: boolean;
  note: string;
  /** Of keys that are to come: when the old ones end at the latest. */
  deadline: string | undefined;
};

/** @returns undefined for what is no [Peer] section, as wireguard-peer leaves it out. */
export function parsePeer(text: string): PeerFile | undefined {
  const meta = new Map<string, string>();
  const values = new Map<string, string>();
  const [comments, further, allowedIps]: string[][] = [[], [], []];
  let sections = 0;
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.trim();
    if (line === '') continue;
    const [, word, value = ''] = /^#\s*([a-z]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (word && words.has(word)) meta.set(word, value);
    else if (line.startsWith('#')) comments?.push(line);
    else {
      const bare = line.replace(/\s*#.*$/, '');
      const [key = '', ...rest] = bare.split('=');
      const name = key.trim().toLowerCase();
      const content = rest.join('=').replaceAll(/\s/g, '');
      if (/^\[.*\]$/.test(name)) {
        if (name !== '[peer]' || ++sections > 1) return undefined;
      } else if (sections === 0) return undefined;
      else if (name === 'publickey' || name === 'presharedkey') values.set(name, content);
      else if (name === 'allowedips') allowedIps?.push(...content.split(',').filter(Boolean));
      else further?.push(bare);
    }
  }
  const publicKey = values.get('publickey') ?? '';
  if (!isKey(publicKey)) return undefined;
  const zones = meta.get('zones')?.split(/[\s,]+/);
  return {
    publicKey,
    presharedKey: values.get('presharedkey'),
    allowedIps: allowedIps ?? [],
    further: further ?? [],
    comments: comments ?? [],
    created: meta.get('created'),
    expires: meta.get('expires'),
    zones: zones && clientZones.filter((zone) => zones.includes(zone)),
    tunnel: meta.get('tunnel') === 'split' ? 'split' : 'full',
    dns: meta
      .get('dns')
      ?.split(/[\s,]+/)
      .filter(Boolean),
    disabled: (meta.get('disabled') ?? 'false') !== 'false',
    note: meta.get('note') ?? '',
    deadline: meta.get('deadline'),
  };
}

const words = new Set([
  'created',
  'expires',
  'zones',
  'tunnel',
  'dns',
  'disabled',
  'note',
  'deadline',
]);

export function formatPeer(peer: PeerFile): string {
  const meta = (word: string, value: string | undefined) =>
    value === undefined ? [] : [`# ${word} = ${value}`.trimEnd()];
  const lines = [
    '[Peer]',
    ...peer.comments,
    ...meta('created', peer.created),
    ...meta('expires', peer.expires),
    ...meta('deadline', peer.deadline),
    ...meta('zones', peer.zones?.join(' ')),
    ...(peer.tunnel === 'split' ? meta('tunnel', 'split') : []),
    ...meta('dns', peer.dns?.join(', ')),
    ...(peer.disabled ? meta('disabled', 'true') : []),
    ...(peer.note === '' ? [] : meta('note', peer.note)),
    `PublicKey = ${peer.publicKey}`,
    ...(peer.presharedKey === undefined ? [] : [`PresharedKey = ${peer.presharedKey}`]),
    ...(peer.allowedIps.length > 0 ? [`AllowedIPs = ${peer.allowedIps.join(', ')}`] : []),
    ...peer.further,
  ];
  // Whoever calls has checked; a line of somebody else's making would be a peer of theirs.
  if (lines.some((line) => /[\r\n]/.test(line)))
    throw new Error('a line of a peer has an end in it');
  return `${lines.join('\n')}\n`;
}

export const emptyPeer: Omit<PeerFile, 'publicKey'> = {
  presharedKey: undefined,
  allowedIps: [],
  further: [],
  comments: [],
  created: undefined,
  expires: undefined,
  zones: undefined,
  tunnel: 'full',
  dns: undefined,
  disabled: false,
  note: '',
  deadline: undefined,
};

/** Addresses of single hosts without their prefix; networks as they are. */
export function shownAddresses(peer: PeerFile): string[] {
  return peer.allowedIps.map((one) => one.replace(/(?<=\.\d+)\/32$|(?<=:.*)\/128$/, ''));
}
