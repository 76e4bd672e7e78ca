import { at, readIfThere } from '../../firstboot/system.ts';
import { knownName } from '../known-name.ts';
import { type Examination, failed, ok, skipped, warning } from './examination.ts';
import { defaultRoute } from './route.ts';

const uplink: Examination = {
  id: 'uplink',
  title: 'Uplink',
  run: async ({ system, interfaces }) => {
    const route = await defaultRoute(system);
    if (!route)
      return failed(
        'There is no default route of IPv4',
        'The gateway has no way to the internet',
        'Is the cable in, and does the router give addresses (DHCP)? See: networkctl status',
      );
    const addresses = (interfaces[route.device] ?? [])
      .filter(({ family }) => family === 'IPv4')
      .map(({ address }) => address);
    const by = route.router === undefined ? '' : ` by the router ${route.router}`;
    return addresses.length === 0
      ? failed(
          `${route.device} has no IPv4 address`,
          'The gateway has no way to the internet',
          `See: networkctl status ${route.device}`,
        )
      : ok(`${addresses.join(', ')} on ${route.device},${by || ' directly'}`);
  },
};

const resolvConf: Examination = {
  id: 'resolv-conf',
  title: '/etc/resolv.conf',
  run: async ({ system }) => {
    const text = await readIfThere(at(system, '/etc/resolv.conf'));
    const servers = [...(text ?? '').matchAll(/^\s*nameserver\s+(\S+)/gm)].map(
      ([, server]) => server,
    );
    return servers.length > 0
      ? ok(`Names are asked of ${servers.join(', ')}`)
      : failed(
          text === undefined ? 'It is not there' : 'It names no server',
          'No name is resolved on the gateway: no updates, no time, no dynamic DNS',
          'Point it at the resolver: sudo ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf',
        );
  },
};

const dns: Examination = {
  id: 'dns',
  title: 'Name resolution',
  run: async ({ lookup }) => {
    try {
      const [address] = await lookup(knownName);
      return ok(`${knownName} is ${address}`);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      return failed(
        `${knownName} cannot be resolved (${code ?? error})`,
        'No updates, no time, no dynamic DNS; VPN clients that ask the gateway get no answer',
        'Restart the resolver: sudo pi-gateway service restart dns; see what it asks: resolvectl status',
      );
    }
  },
};

const clock: Examination = {
  id: 'clock',
  title: 'Clock',
  run: async ({ system, now }) => {
    const text = await system.run('timedatectl', ['show', '--property=NTPSynchronized', '--value']);
    const time = new Date(now()).toISOString().slice(0, 19).replace('T', ' ');
    return text.trim() === 'yes'
      ? ok(`${time} UTC, by the network's time`)
      : warning(
          `${time} UTC, but no time server has been heard`,
          'A Pi has no clock that runs without power: while it is wrong, certificates, DNSSEC and one-time codes fail',
          'Is UDP port 123 let out by your router? See: sudo pi-gateway logs time; try: sudo pi-gateway service restart time',
        );
  },
};

/** Bytes that WireGuard adds to a packet: 60 over IPv4, 80 over IPv6 (wireguard.com/protocol). */
const overhead = 80;

const mtu: Examination = {
  id: 'mtu',
  title: 'Packet sizes (MTU)',
  run: async ({ system }) => {
    const route = await defaultRoute(system);
    const of = async (device: string) =>
      Number((await readIfThere(at(system, `/sys/class/net/${device}/mtu`)))?.trim() ?? Number.NaN);
    const outer = await of(route?.device ?? '');
    const inner = await of('wg0');
    if (Number.isNaN(outer)) return skipped('There is no uplink');
    if (Number.isNaN(inner)) return ok(`${outer} bytes on ${route?.device}; the VPN is off`);
    const fits = outer - overhead;
    return inner <= fits
      ? ok(`${outer} bytes on ${route?.device}, ${inner} in the VPN`)
      : warning(
          `${outer} bytes on ${route?.device}, but ${inner} in the VPN`,
          'Through the VPN small things work (ping, login) and large ones hang',
          `Set MTU = ${fits} in the clients' files and in /etc/wireguard/wg0.conf, and stages.wireguard.mtu for the next image`,
        );
  },
};

export const networkExaminations: readonly Examination[] = [uplink, resolvConf, dns, clock, mtu];
