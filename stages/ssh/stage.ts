import { z } from 'zod';
import { cidr, port } from '../../builder/config/fields.ts';
import { defineStage } from '../define.ts';

export const ssh = defineStage({
  name: 'ssh',
  summary: 'Key-only OpenSSH with modern algorithms, watched by fail2ban',
  needs: ['system'],
  options: z.strictObject({
    port: port.default(22).describe('TCP port of sshd'),
    ban_after: z.number().int().min(1).max(100).default(5).describe('Failed logins until a ban'),
    never_ban: z
      .array(cidr)
      .default([])
      .describe("Networks that are never banned: the admin's own"),
  }),
  packages: () => ['openssh-server', 'fail2ban', 'python3-systemd'],
  services: () => ({ enable: ['ssh', 'fail2ban'], disable: ['ssh.socket'] }),
});
