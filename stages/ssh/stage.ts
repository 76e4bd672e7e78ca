import { z } from 'zod';
import { cidr, port, zone } from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

export const ssh = defineStage({
  name: 'ssh',
  summary: 'Key-only OpenSSH with modern algorithms, watched by fail2ban',
  needs: ['system'],
  options: z.strictObject({
    port: port.default(22).describe('TCP port of sshd'),
    zones: z.array(zone).min(1).default(['wan', 'lan', 'vpn']).describe('Zones that may log in'),
    ban_after: z.number().int().min(1).max(100).default(5).describe('Failed logins until a ban'),
    never_ban: z
      .array(cidr)
      .default([])
      .describe("Networks that are never banned: the admin's own"),
  }),
  packages: () => ['openssh-server', 'fail2ban', 'python3-systemd'],
  ports: (o) => [{ port: o.port, protocol: 'tcp', zones: o.zones, path: ['port'], name: 'ssh' }],
  services: () => ({ enable: ['ssh', 'fail2ban'], disable: ['ssh.socket'] }),
});
