import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('the login prompt shows the fingerprints of the keys that sshd has', async () => {
  const card = await device().ssh('sudo cat /etc/issue.d/50-pi-gateway.issue');
  const key = await device().ssh('ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub');
  expect(card).toContain(key.split(' ')[1]);
});

test('cloud-init does not run: first boot reads what Imager writes for it', async () => {
  const state = await device().ssh(
    'systemctl show -p ActiveEnterTimestampMonotonic --value cloud-init-main.service cloud-init-local.service cloud-final.service',
  );
  expect(state.split('\n').filter(Boolean)).toEqual(['0', '0', '0']);
});
