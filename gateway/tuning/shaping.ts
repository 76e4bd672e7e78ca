import type { TrafficClass, Uplink } from './settings.ts';

/** One call of a program. */
export type Call = { program: 'tc' | 'ip' | 'nft'; args: readonly string[]; input?: string };

/**
 * How an uplink is shaped, the best first: cake (tc-cake(8)); fq_codel (RFC 8290) below a rate by htb; and a short
 * plain queue below it, for kernels that have neither.
 */
export const shapers = ['cake', 'fq_codel', 'fifo'] as const;
export type Shaper = (typeof shapers)[number];

/** The interface that stands for what an uplink brings; Linux, IFNAMSIZ: 15 characters. */
export const mirrorOf = (device: string): string => `ifb4${device}`.slice(0, 15);

const kbit = (mbit: number) => `${Math.round(mbit * 1000)}kbit`;

const tc = (...args: string[]): Call => ({ program: 'tc', args });
const ip = (...args: string[]): Call => ({ program: 'ip', args });

/** Takes away all shaping of a device. Each call may fail: there may be nothing. */
export function unshape(device: string): Call[] {
  return [
    tc('qdisc', 'del', 'dev', device, 'root'),
    tc('qdisc', 'del', 'dev', device, 'ingress'),
    ip('link', 'del', mirrorOf(device)),
  ];
}

/**
 * Shapes a device that has no shaping, in both directions as far as rates are given. What comes in is led over an
 * interface of its own (ifb), as a queue can only be kept where something leaves.
 * @param marked answers get the class of their connection back before they are sorted (tc-ctinfo(8)).
 */
export function shape(o: Uplink, shaper: Shaper, marked: boolean): Call[] {
  const mirror = mirrorOf(o.interface);
  const { upload, download } = o;
  return [
    ...(upload === undefined ? [] : queue(o.interface, upload, o.link, shaper, 'out')),
    ...(download === undefined
      ? []
      : [
          ip('link', 'add', 'name', mirror, 'type', 'ifb'),
          ip('link', 'set', 'dev', mirror, 'up'),
          ...queue(mirror, download, o.link, shaper, 'in'),
          tc('qdisc', 'add', 'dev', o.interface, 'handle', 'ffff:', 'ingress'),
          tc(
            ...['filter', 'add', 'dev', o.interface, 'parent', 'ffff:', 'protocol', 'all'],
            ...['prio', '10', 'u32', 'match', 'u32', '0', '0'],
            ...(marked ? ['action', 'ctinfo', 'dscp', '0xfc000000', '0x01000000'] : []),
            ...['action', 'mirred', 'egress', 'redirect', 'dev', mirror],
          ),
        ]),
  ];
}

/** Another rate for a device that is shaped already; packets that wait there go on waiting. */
export function reshape(device: string, mbit: number, shaper: Shaper): Call {
  return shaper === 'cake'
    ? tc('qdisc', 'change', 'dev', device, 'root', 'cake', 'bandwidth', kbit(mbit))
    : tc(
        ...['class', 'change', 'dev', device, 'parent', '1:', 'classid', '1:10'],
        ...['htb', 'rate', kbit(mbit), 'ceil', kbit(mbit)],
      );
}

function queue(
  device: string,
  mbit: number,
  link: Uplink['link'],
  shaper: Shaper,
  direction: 'in' | 'out',
): Call[] {
  if (shaper === 'cake')
    return [
      tc(
        ...['qdisc', 'add', 'dev', device, 'root', 'cake', 'bandwidth', kbit(mbit)],
        // Four classes by DSCP; and fair between devices behind the gateway, seen through its NAT.
        ...['diffserv4', 'nat', direction === 'out' ? 'dual-srchost' : 'dual-dsthost'],
        // tc-cake(8), "ingress": drops count, as they have crossed the line already.
        ...(direction === 'in' ? ['ingress'] : []),
        link,
      ),
    ];
  return [
    tc('qdisc', 'add', 'dev', device, 'root', 'handle', '1:', 'htb', 'default', '10'),
    tc(
      ...['class', 'add', 'dev', device, 'parent', '1:', 'classid', '1:10'],
      ...['htb', 'rate', kbit(mbit), 'ceil', kbit(mbit)],
    ),
    shaper === 'fq_codel'
      ? tc('qdisc', 'add', 'dev', device, 'parent', '1:10', 'fq_codel')
      : tc(
          'qdisc',
          'add',
          'dev',
          device,
          'parent',
          '1:10',
          'pfifo',
          'limit',
          String(fifoLimit(mbit)),
        ),
  ];
}

/** Packets of 1500 bytes that 15 ms of the rate are; less than four would starve TCP. */
const fifoLimit = (mbit: number) => Math.max(4, Math.round((mbit * 1e6 * 0.015) / 8 / 1500));

/** Differentiated services (RFC 2474) that cake's diffserv4 sorts by: tc-cake(8). */
const codepoints: Readonly<Record<TrafficClass['class'], { name: string; value: number }>> = {
  voice: { name: 'ef', value: 46 },
  video: { name: 'af41', value: 34 },
  besteffort: { name: 'cs0', value: 0 },
  bulk: { name: 'cs1', value: 8 },
};

const table = 'gateway_classes';

/** Bits of a connection's mark: six of the codepoint, and one that says that there is one. */
const mark = (value: number) => `0x${(value * 2 ** 26 + 0x01000000).toString(16).padStart(8, '0')}`;

/** A table of its own that gives connections their class; without classes it is taken away. nft(8). */
export function classRules(classes: readonly TrafficClass[], devices: readonly string[]): Call {
  const lines = classes.flatMap((one) => {
    const set = `ct mark set ct mark & 0x00ffffff | ${mark(codepoints[one.class].value)}`;
    const family = one.address?.includes(':') ? 'ip6' : 'ip';
    const places =
      one.address === undefined
        ? ['']
        : [
            `ct original ${family} saddr ${one.address} `,
            `ct original ${family} daddr ${one.address} `,
          ];
    const ports = (['tcp', 'udp'] as const)
      .filter((protocol) => one[protocol].length > 0)
      .map(
        (protocol) =>
          `meta l4proto ${protocol} ct original proto-dst { ${[...new Set(one[protocol])].join(', ')} } `,
      );
    return places.flatMap((place) =>
      (ports.length > 0 ? ports : ['']).map((what) => `    ${place}${what}${set}`),
    );
  });
  const out = `oifname { ${devices.map((one) => `"${one}"`).join(', ')} }`;
  const marks = [...new Set(classes.map((one) => one.class))].flatMap((name) => {
    const { name: dscp, value } = codepoints[name];
    const is = `${out} ct mark & 0xff000000 == ${mark(value)}`;
    return [
      `    ${is} meta nfproto ipv4 ip dscp set ${dscp}`,
      `    ${is} meta nfproto ipv6 ip6 dscp set ${dscp}`,
    ];
  });
  const rules =
    classes.length === 0 || devices.length === 0
      ? ''
      : `table inet ${table} {
  chain classify {
    type filter hook postrouting priority mangle; policy accept;
${[...lines, ...marks].join('\n')}
  }
}
`;
  return {
    program: 'nft',
    args: ['--file', '-'],
    // Declared first, as what is not there cannot be deleted.
    input: `table inet ${table}\ndelete table inet ${table}\n${rules}`,
  };
}
