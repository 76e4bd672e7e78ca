import { z } from 'zod';
import { addressIn, cidr, port, sshPublicKey, zone } from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

/** What this stage reads of the wireguard stage's options. */
type Vpn = { network4: string; network6: string };

/** Host and user keys, in the order of ssh-audit's guide for Debian 13: Ed25519 before RSA, no ECDSA. */
const keyAlgorithms = [
  'sk-ssh-ed25519-cert-v01@openssh.com',
  'ssh-ed25519-cert-v01@openssh.com',
  'sk-ssh-ed25519@openssh.com',
  'ssh-ed25519',
  'rsa-sha2-512-cert-v01@openssh.com',
  'rsa-sha2-512',
  'rsa-sha2-256-cert-v01@openssh.com',
  'rsa-sha2-256',
];

/** systemd time spans that fail2ban understands too, e.g. 10m, 12h, 7d. */
const duration = z
  .string()
  .regex(
    /^[1-9]\d{0,4}[smhdw]$/,
    'must be a duration: a number and one of s, m, h, d, w, e.g. 10m',
  );

export const ssh = defineStage({
  name: 'ssh',
  summary: 'Key-only OpenSSH with post-quantum key exchange, watched by fail2ban',
  needs: ['system'],
  options: z.strictObject({
    port: port.default(22).describe('TCP port of sshd'),
    listen: z
      .enum(['any', 'vpn'])
      .default('any')
      .describe(
        'any: on all addresses. vpn: on the VPN addresses alone. With vpn, a VPN that does not come up (a lost client key, a wrong clock) locks you out but for keyboard and screen: set up a peer and log in through it before you choose this',
      ),
    zones: z.array(zone).min(1).default(['wan', 'lan', 'vpn']).describe('Zones that may log in'),
    ban_after: z.number().int().min(1).max(100).default(5).describe('Failed logins until a ban'),
    ban_time: duration
      .default('10m')
      .describe('Length of the first ban; each further one is longer'),
    ban_time_max: duration.default('7d').describe('Longest ban'),
    never_ban: z
      .array(cidr)
      .default([])
      .describe("Networks that are never banned: the admin's own"),
    max_sessions: z
      .number()
      .int()
      .min(1)
      .max(100)
      .default(4)
      .describe('Sessions over one connection, which clients that share a connection need'),
    tcp_forwarding: z
      .boolean()
      .default(false)
      .describe("Let the admin reach the device's loopback services through SSH (ssh -L)"),
    trusted_user_ca_keys: z
      .array(sshPublicKey)
      .default([])
      .describe('Public keys of CAs whose user certificates let their principals in'),
  }),
  // dbus-user-session: by it a session leaves sshd's sandbox (/usr/lib/pi-gateway/session).
  packages: () => ['openssh-server', 'fail2ban', 'python3-systemd', 'dbus-user-session'],
  ports: (o) => [{ port: o.port, protocol: 'tcp', zones: o.zones, path: ['port'], name: 'ssh' }],
  services: () => ({
    enable: ['ssh', 'fail2ban', 'pi-gateway-ssh-rotation.timer'],
    disable: ['ssh.socket'],
  }),
  files: {
    // CIS Debian 5.1.1: only root reads the configuration of sshd.
    '/etc/ssh/sshd_config.d/10-gateway.conf': { mode: 0o600 },
  },
  derive: (o, config) => {
    const vpn = config.stages.wireguard as Vpn | undefined;
    return {
      listen:
        o.listen === 'vpn' && vpn ? [addressIn(vpn.network4, 1), addressIn(vpn.network6, 1)] : [],
      keyAlgorithms: keyAlgorithms.join(','),
      penaltyExempt: ['127.0.0.0/8', '::1/128', ...o.never_ban],
    };
  },
  validate: (o, config) =>
    o.listen === 'vpn' && !config.stages.wireguard
      ? [
          {
            path: ['listen'],
            message: "is vpn, but the wireguard stage is off; turn it on, or take 'listen: any'",
          },
        ]
      : [],
  run: async (chroot) => {
    // Group exchange is off; this is for who turns it on: no modulus under 3072 bit (NIST SP 800-57).
    const moduli = await chroot.read('/etc/ssh/moduli');
    await chroot.write('/etc/ssh/moduli', strongModuli(moduli));
    await chroot.run('chmod', ['0600', '/etc/ssh/sshd_config']);
  },
});

/** The lines of moduli(5) whose size (5th field, bits less one) is at least 3071, and comments. */
export function strongModuli(text: string): string {
  const kept = text
    .split('\n')
    .filter((line) => line.startsWith('#') || Number(line.split(' ')[4]) >= 3071);
  return `${kept.join('\n')}\n`;
}
