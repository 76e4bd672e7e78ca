import { networksOverlap } from '../../builder/config/fields.ts';
import type { Forward } from './options.ts';
import { openPorts, type Policy, zoneOf } from './zones.ts';

/** Something wrong with one forward of a list: its index, and the key of it. */
export type ForwardMistake = { index: number; key: string; message: string };

/** `tcp 443 4`: two forwards of one port and family would get in each other's way. */
const placeOf = (forward: Forward) =>
  `${forward.tcp === undefined ? 'udp' : 'tcp'} ${forward.tcp ?? forward.udp} ${forward.to.includes(':') ? 6 : 4}`;

/**
 * Mistakes in port forwards that a schema can't say; of the image's options when it is built, and of the
 * device's settings, which stand beside those of the image (`others`).
 */
export function forwardMistakes(
  policy: Policy,
  forwards: readonly Forward[],
  others: readonly Forward[] = [],
): ForwardMistake[] {
  const seen = new Map(others.map((one) => [placeOf(one), 'the image']));
  return forwards.flatMap((forward, index) => {
    const mistakes: ForwardMistake[] = [];
    const at = (key: string, message: string) => mistakes.push({ index, key, message });
    if ((forward.tcp === undefined) === (forward.udp === undefined)) {
      at('to', 'needs one port of the wan address: tcp or udp, e.g. {tcp: 443, to: 192.168.40.10}');
      return mistakes;
    }
    const protocol = forward.tcp === undefined ? 'udp' : 'tcp';
    const port = forward.tcp ?? forward.udp ?? 0;
    const own = openPorts(policy, 'wan').find(
      (one) => one.protocol === protocol && one.port === port,
    );
    const allowed = policy.allow.some(
      (one) => one.from === 'wan' && one.to === 'gateway' && one[protocol].includes(port),
    );
    if (own || allowed)
      at(
        protocol,
        `port ${port} of the wan address is the gateway's own, for ${own?.name ?? 'an `allow` of the image'}`,
      );
    const place = placeOf(forward);
    const twin = seen.get(place);
    if (twin !== undefined) at(protocol, `port ${port} is forwarded already, by ${twin}`);
    seen.set(place, `forwards[${index}]`);
    const home = zoneOf(policy, forward.to);
    if (!home)
      at('to', `is in no zone's network; the zones have ${describeNetworks(policy) || 'none'}`);
    else if (home.addresses.some((address) => networksOverlap(address, forward.to)))
      at(
        'to',
        `is the gateway's own address in the zone ${home.name}; open_${protocol} opens ports`,
      );
    return mistakes;
  });
}

function describeNetworks(policy: Policy): string {
  return policy.zones
    .flatMap((zone) => zone.networks.map((network) => `${network} (${zone.name})`))
    .join(', ');
}
