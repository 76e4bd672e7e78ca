import { type Body, type Control, l1, l2, none } from '../control.ts';
import { requireLive } from '../facts.ts';
import { moduleDenied, review, serviceUnused, sysctl } from '../kinds.ts';
import { sysctlNow } from '../state/kernel.ts';

const wireless: Body = {
  title: 'No wireless network is in use',
  checks: 'no interface in /sys/class/net with phy80211 or wireless is up (flag IFF_UP)',
  mend: "Wired only: 'dtoverlay=disable-wifi' in /boot/firmware/config.txt; with Wi-Fi as a network of the gateway this stays a fail",
  check: (facts) => {
    requireLive(facts);
    const names = facts.tree.list('/sys/class/net');
    if (!names.includes('lo')) throw new Error('/sys/class/net lists no interfaces');
    const radios = names.filter((name) =>
      ['phy80211', 'wireless'].some((mark) => facts.tree.stat(`/sys/class/net/${name}/${mark}`)),
    );
    // IFF_UP is bit 0: netdevice(7).
    const up = radios.filter((name) => {
      const flags = facts.tree.read(`/sys/class/net/${name}/flags`).trim();
      if (!/^0x[\da-f]+$/.test(flags)) throw new Error(`the flags of ${name} are '${flags}'`);
      return Number(flags) & 1;
    });
    return none(
      up.map((name) => `${name} is up`),
      radios.length ? `${radios.join(', ')} is down` : 'there is no wireless interface',
    );
  },
};

const v4 = (name: string) => `net.ipv4.conf.${name}`;
const v6 = (name: string) => `net.ipv6.conf.${name}`;

/** A parameter of all interfaces and of new ones, as two controls. */
function both(
  ids: readonly [string, string],
  key: (name: string) => string,
  allowed: readonly number[],
  title: string,
): Control[] {
  return [
    l1(ids[0], sysctl(key('all'), allowed, `${title} (all)`)),
    l1(ids[1], sysctl(key('default'), allowed, `${title} (new interfaces)`)),
  ];
}

/** Chapter 3: network. */
export const network: readonly Control[] = [
  l1(
    '3.1.1',
    review(
      'It is known whether IPv6 is in use',
      (facts) => {
        const off = sysctlNow(facts, 'net.ipv6.conf.all.disable_ipv6');
        return off === '0' ? 'IPv6 is on; the firewall treats it as IPv4' : 'IPv6 is off';
      },
      'Nothing: the gateway is for both',
    ),
  ),
  l1('3.1.2', wireless),
  l1('3.1.3', serviceUnused('Bluetooth is not used', ['bluez'], ['bluetooth.service'])),
  l1('3.2.1', moduleDenied('atm')),
  l1('3.2.2', moduleDenied('can')),
  l1('3.2.3', moduleDenied('dccp')),
  l1('3.2.4', moduleDenied('rds')),
  l1('3.2.5', moduleDenied('sctp')),
  l1('3.2.6', moduleDenied('tipc')),

  l2('3.3.1.1', sysctl('net.ipv4.ip_forward', [0], 'IPv4 is not forwarded')),
  ...both(['3.3.1.2', '3.3.1.3'], (name) => v4(`${name}.forwarding`), [0], 'IPv4 is not forwarded'),
  ...both(
    ['3.3.1.4', '3.3.1.5'],
    (name) => v4(`${name}.send_redirects`),
    [0],
    'No redirects are sent',
  ),
  l1(
    '3.3.1.6',
    sysctl('net.ipv4.icmp_ignore_bogus_error_responses', [1], 'Bogus ICMP errors are ignored'),
  ),
  l1(
    '3.3.1.7',
    sysctl('net.ipv4.icmp_echo_ignore_broadcasts', [1], 'Pings to broadcast addresses are ignored'),
  ),
  ...both(
    ['3.3.1.8', '3.3.1.9'],
    (name) => v4(`${name}.accept_redirects`),
    [0],
    'IPv4 redirects are refused',
  ),
  ...both(
    ['3.3.1.10', '3.3.1.11'],
    (name) => v4(`${name}.secure_redirects`),
    [0],
    'Redirects of routers are refused',
  ),
  ...both(
    ['3.3.1.12', '3.3.1.13'],
    (name) => v4(`${name}.rp_filter`),
    [1],
    'Sources that the route back does not lead to are dropped',
  ),
  ...both(
    ['3.3.1.14', '3.3.1.15'],
    (name) => v4(`${name}.accept_source_route`),
    [0],
    'IPv4 source routes are refused',
  ),
  ...both(
    ['3.3.1.16', '3.3.1.17'],
    (name) => v4(`${name}.log_martians`),
    [1],
    'Impossible sources are logged',
  ),
  l1('3.3.1.18', sysctl('net.ipv4.tcp_syncookies', [1], 'SYN cookies are on')),
  ...both(['3.3.2.1', '3.3.2.2'], (name) => v6(`${name}.forwarding`), [0], 'IPv6 is not forwarded'),
  ...both(
    ['3.3.2.3', '3.3.2.4'],
    (name) => v6(`${name}.accept_redirects`),
    [0],
    'IPv6 redirects are refused',
  ),
  ...both(
    ['3.3.2.5', '3.3.2.6'],
    (name) => v6(`${name}.accept_source_route`),
    [0],
    'IPv6 source routes are refused',
  ),
  ...both(
    ['3.3.2.7', '3.3.2.8'],
    (name) => v6(`${name}.accept_ra`),
    [0],
    "The kernel takes no router's advertisements",
  ),
];
