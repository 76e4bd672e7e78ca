import type { Settings } from './settings.ts';

type Network = NonNullable<Settings['network']>;
type Wifi = NonNullable<Network['wifi']>;

/** Wired before wireless: higher than the 1024 that networkd gives routes by itself (systemd.network(5)). */
const wifiMetric = 3000;

/**
 * systemd.network(5) of eth0. Its name sorts before the zones' 30-* and the
 * image's 80-wired: the first that fits counts.
 */
export function wiredNetwork(o: Network): string {
  const addresses = o.addresses ?? [];
  const own = (family: 4 | 6) => addresses.some((one) => one.includes(':') === (family === 6));
  const dhcp = own(4) ? 'no' : own(6) ? 'ipv4' : 'yes';
  return file([
    ...['[Match]', 'Name=eth0', 'Type=ether', '', '[Network]', `DHCP=${dhcp}`],
    ...addresses.map((address) => `Address=${address}`),
    ...(o.gateways ?? []).map((gateway) => `Gateway=${gateway}`),
    ...(o.dns ?? []).map((server) => `DNS=${server}`),
    `IPv6AcceptRA=${own(6) ? 'no' : 'yes'}`,
    ...['IPv6PrivacyExtensions=no', 'IPv6LinkLocalAddressGenerationMode=stable-privacy'],
    ...(o.dns
      ? [
          '',
          '[DHCPv4]',
          'UseDNS=no',
          '',
          '[DHCPv6]',
          'UseDNS=no',
          '',
          '[IPv6AcceptRA]',
          'UseDNS=no',
        ]
      : []),
  ]);
}

export function wirelessNetwork(): string {
  return file([
    ...['[Match]', 'Name=wlan0', '', '[Link]', 'RequiredForOnline=no', ''],
    ...['[Network]', 'DHCP=yes', 'IPv6AcceptRA=yes', 'IPv6PrivacyExtensions=no'],
    ...['IPv6LinkLocalAddressGenerationMode=stable-privacy', ''],
    ...['[DHCPv4]', `RouteMetric=${wifiMetric}`, '', '[IPv6AcceptRA]'],
    `RouteMetric=${wifiMetric}`,
  ]);
}

/**
 * wpa_supplicant.conf(5). The name in hex, as it may hold any byte; the passphrase as it is, between the
 * first quote and the last, since WPA3 (SAE) cannot be had from the key that WPA2 makes of it.
 */
export function wpaSupplicant(wifi: Wifi): string {
  const { ssid, password, hidden } = wifi;
  const key = password && (/^[0-9a-f]{64}$/i.test(password) ? password : `"${password}"`);
  return file([
    ...['ctrl_interface=/run/wpa_supplicant', `country=${wifi.country}`],
    ...(ssid === undefined
      ? []
      : [
          ...['network={', `  ssid=${Buffer.from(ssid).toString('hex')}`],
          ...(hidden ? ['  scan_ssid=1'] : []),
          ...(key
            ? ['  key_mgmt=WPA-PSK WPA-PSK-SHA256 SAE', '  ieee80211w=1', `  psk=${key}`]
            : ['  key_mgmt=NONE']),
          '}',
        ]),
  ]);
}

/** modprobe.d(5): the country from the start of the radio on. */
export function regulatoryDomain(country: string): string {
  return file([`options cfg80211 ieee80211_regdom=${country}`]);
}

/** nm-settings-keyfile(5) of eth0, for Raspberry Pi OS, where NetworkManager has the network. */
export function wiredConnection(o: Network): string {
  const family = (six: boolean) => {
    const of = (list: readonly string[] = []) => list.filter((one) => one.includes(':') === six);
    const [addresses, [gateway], dns] = [of(o.addresses), of(o.gateways), of(o.dns)];
    return [
      ...['', `[ipv${six ? 6 : 4}]`, `method=${addresses.length > 0 ? 'manual' : 'auto'}`],
      ...addresses.map((address, index) => `address${index + 1}=${address}`),
      ...(gateway ? [`gateway=${gateway}`] : []),
      ...(dns.length > 0 ? [`dns=${dns.join(';')};`] : []),
      ...(o.dns ? ['ignore-auto-dns=true'] : []),
    ];
  };
  return file([
    ...['[connection]', 'id=owner-eth0', 'type=ethernet', 'interface-name=eth0'],
    ...['autoconnect-priority=10', ...family(false), ...family(true)],
  ]);
}

/** The same of wlan0. The name as bytes; in the passphrase a backslash, and a space at its start, are escaped. */
export function wirelessConnection(wifi: Wifi & { ssid: string }): string {
  const escaped = wifi.password?.replaceAll('\\', '\\\\').replace(/^ /, '\\s');
  return file([
    ...['[connection]', 'id=owner-wlan0', 'type=wifi', 'interface-name=wlan0'],
    ...['', '[wifi]', 'mode=infrastructure', `ssid=${[...Buffer.from(wifi.ssid)].join(';')};`],
    ...(wifi.hidden ? ['hidden=true'] : []),
    ...(escaped ? ['', '[wifi-security]', 'key-mgmt=wpa-psk', `psk=${escaped}`] : []),
    ...['', '[ipv4]', 'method=auto', `route-metric=${wifiMetric}`],
    ...['', '[ipv6]', 'method=auto', `route-metric=${wifiMetric}`],
  ]);
}

function file(lines: readonly string[]): string {
  return `# Of the owner's settings, by first boot.\n${lines.join('\n')}\n`;
}
