import { z } from 'zod';
import { defineStage } from '../define.ts';

export const backup = defineStage({
  name: 'backup',
  summary:
    'Encrypted backups of the gateway, tried restores, and the way back from a lost card (restic)',
  needs: ['gateway', 'firstboot'],
  enabledByDefault: false,
  options: z.strictObject({
    smb: z
      .boolean()
      .default(true)
      .describe('Lets backups go to a Windows share or NAS (cifs-utils)'),
    nfs: z.boolean().default(false).describe('Lets backups go to an NFS server (nfs-common)'),
  }),
  packages: (o) => [
    'nodejs',
    'restic',
    'openssh-client', // SFTP
    'ca-certificates', // S3 and B2
    ...(o.smb ? ['cifs-utils'] : []),
    ...(o.nfs ? ['nfs-common'] : []),
  ],
  services: (o) => ({
    enable: [
      'pi-gateway-backup.timer',
      'pi-gateway-restore.service',
      'pi-gateway-restore-apply.service',
      'pi-gateway-restore-finish.service',
    ],
    // NFS version 4 needs none of them, and they listen.
    mask: o.nfs
      ? ['rpcbind.service', 'rpcbind.socket', 'rpc-statd.service', 'rpc-statd-notify.service']
      : [],
  }),
  bundles: [{ entry: 'gateway/backup/main.ts', path: '/usr/lib/pi-gateway/backup.mjs' }],
  // Root alone mounts here; Debian lets everybody try (fstab's option `user`).
  run: async (chroot, o) => {
    const programs = [...(o.smb ? ['mount.cifs'] : []), ...(o.nfs ? ['mount.nfs'] : [])];
    for (const name of programs) {
      const override = ['--update', '--add', 'root', 'root', '0755', `/usr/sbin/${name}`];
      await chroot.run('dpkg-statoverride', override);
    }
  },
});
