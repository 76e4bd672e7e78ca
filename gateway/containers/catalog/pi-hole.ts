import { defineTemplate } from '../template.ts';

export const piHole = defineTemplate({
  id: 'pi-hole',
  title: 'Pi-hole',
  summary: 'A DNS server that does not answer for advertisers',
  version: 1,
  login: { user: null, secret: 'admin-password' },
  secrets: ['admin-password'],
  parts: [
    {
      name: 'pi-hole',
      image: 'docker.io/pihole/pihole:2025.08.0',
      environment: {
        // Every network of its own container; who reaches it is the firewall's business.
        FTLCONF_dns_listeningMode: 'all',
        FTLCONF_ntp_ipv4_active: 'false',
        FTLCONF_ntp_ipv6_active: 'false',
        FTLCONF_ntp_sync_active: 'false',
      },
      secrets: [{ secret: 'admin-password', variable: 'WEBPASSWORD_FILE' }],
      volumes: [{ name: 'config', path: '/etc/pihole' }],
      tmpfs: [{ path: '/var/log/pihole', mib: 32 }],
      networks: ['dmz'],
      ports: [
        { name: 'dns-udp', port: 53, published: 53, protocol: 'udp', zones: ['lan', 'vpn'] },
        { name: 'dns-tcp', port: 53, published: 53, protocol: 'tcp', zones: ['lan', 'vpn'] },
        { name: 'web', port: 80, published: 8053, zones: ['lan', 'vpn'], web: '/admin/' },
      ],
      limits: { memory_mib: 256, cpus: 1, pids: 128 },
      capabilities: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'NET_BIND_SERVICE', 'SETGID', 'SETUID'],
      writable_because: 'its start-up writes below /etc, /opt and /var, and has no list of where',
      health: { command: ['dig', '+short', '+time=3', '@127.0.0.1', 'pi.hole'], start_s: 120 },
    },
  ],
  notes: [
    "It answers at the containers' own address, as the gateway itself answers DNS at its others: give that address to your devices.",
    'All queries come to it from one address: it cannot tell who asked.',
  ],
});
