import type { Finding } from '../doctor/examination.ts';
import type { RouterGuide } from './view.ts';

/** What is known of the line, for the guide. */
export type GuideFacts = Omit<RouterGuide, 'steps'> & {
  /** The gateway's own IPv4 address is one of the internet's. */
  direct: boolean;
  /** Carrier-grade NAT, a second router. */
  line: Finding;
};

/** What an owner does in the router, with the addresses and ports of this very device. */
export function guideOf(facts: GuideFacts): RouterGuide {
  const { direct, line, ...guide } = facts;
  return { ...guide, steps: stepsOf(facts) };
}

function stepsOf({ direct, line, own4, own6, router4, mac, forwards }: GuideFacts): string[] {
  if (forwards.length === 0)
    return ['Nothing of this gateway is open to the internet: there is nothing to forward.'];
  const open = forwards
    .map((one) => `${one.protocol.toUpperCase()} ${one.external_port}`)
    .join(', ');
  const six =
    own6 === null
      ? []
      : [
          `IPv6: in the router's IPv6 firewall ("pinholes", "exposed host", "Freigaben") let ${open} through to ${own6}.`,
        ];
  if (own4 === null && own6 === null)
    return ['There is no uplink: connect the gateway to the router, and look again.'];
  if (direct || own4 === null || router4 === null)
    return [
      `The gateway has ${own4 ?? 'IPv6'} itself: nothing to forward for IPv4.`,
      ...six,
      trial,
    ];
  return [
    `Open the router's page, usually http://${router4}/, and log in as its admin.`,
    `Give this gateway always the same address: DHCP reservation (also "static lease", "always assign this address") of ${own4} for the MAC address ${mac ?? '(see: ip link)'}.`,
    ...forwards.map(
      (one) =>
        `Port forwarding: ${one.protocol.toUpperCase()}, port ${one.external_port} from outside to ${own4}, port ${one.internal_port} (${one.name}).`,
    ),
    ...six,
    ...(line.state === 'ok' || line.state === 'skipped'
      ? []
      : [`First this: ${line.found}. ${line.fix ?? ''}`]),
    trial,
  ];
}

const trial =
  'Try it from outside: turn Wi-Fi off on a phone that is a VPN client, connect, and look here: sudo pi-gateway router status';
