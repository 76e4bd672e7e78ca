import { BlockList, isIP } from 'node:net';
import { localNames } from '../../firstboot/hosts.ts';
import { permitted } from '../../firstboot/steps/ca.ts';

/** What the certificate is for. */
export type Names = { dns: readonly string[]; addresses: readonly string[] };

/**
 * The names under which the API is found, of those that the device's CA may vouch for: a certificate with
 * any other is refused whole (RFC 5280 §4.2.1.10).
 * @param further what the owner calls the gateway.
 */
export function namesOf(
  hostname: string,
  addresses: readonly string[],
  further: readonly string[] = [],
): Names {
  const names = [`${hostname}.local`, ...localNames(hostname), 'localhost'];
  return {
    dns: [...new Set([...names, ...further.filter((name) => isIP(name) === 0)])].filter(mayBeNamed),
    addresses: [...new Set([...addresses, ...further.filter((name) => isIP(name) !== 0)])].filter(
      mayBeAddressed,
    ),
  };
}

/** Whether the device's CA may vouch for the host name. */
export function mayBeNamed(name: string): boolean {
  return permitted.some((one) => {
    const [kind, zone = ''] = one.split(':', 2);
    return kind === 'DNS' && (name === zone || name.endsWith(`.${zone}`));
  });
}

/** Whether it may for the address. */
export function mayBeAddressed(address: string): boolean {
  return permittedAddresses.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

const permittedAddresses = new BlockList();
for (const one of permitted) {
  const [, network = '', mask = ''] = /^IP:([^/]+)\/(.+)$/.exec(one) ?? [];
  if (network !== '')
    permittedAddresses.addSubnet(network, prefixOf(mask), isIP(network) === 6 ? 'ipv6' : 'ipv4');
}

/** Bits of a mask as openssl's x509v3_config(5) has it: 255.240.0.0, fe00:0:0:0:0:0:0:0. */
function prefixOf(mask: string): number {
  const radix = mask.includes(':') ? 16 : 10;
  const bits = mask.split(/[.:]/).map((part) => Number.parseInt(part, radix).toString(2));
  return bits.join('').replaceAll('0', '').length;
}
