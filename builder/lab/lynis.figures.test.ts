import { mkdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { lab } from './harness.ts';

const { probes, ssh } = lab();

test('lynis gives a hardening index of at least 90, and no warning', {
  timeout: 3_600_000,
}, async () => {
  // As a device has it after its first night: what lynis looks for.
  await ssh('sudo systemctl start pi-gateway-integrity.service', 1500);
  // Under /root, since nothing runs from /tmp; lynis wants its files to be root's.
  const { stdout: archive } = await execa(
    'tar',
    [
      '-cz',
      '--owner=0',
      '--group=0',
      '-C',
      probes,
      'usr/share/lynis',
      'usr/sbin/lynis',
      'etc/lynis',
    ],
    { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 },
  );
  await ssh('sudo mkdir -p /root/lynis && sudo tar -xz -C /root/lynis', 120, archive);
  await ssh(
    'sudo sh -c "cd /root/lynis/usr/share/lynis && cp /root/lynis/usr/sbin/lynis . && cp /root/lynis/etc/lynis/default.prf . && mkdir -p plugins && bash ./lynis audit system --quick --no-colors > /root/lynis.out 2>&1 < /dev/null"',
    1800,
  );
  const report = await ssh('sudo cat /var/log/lynis-report.dat');
  await mkdir(resolve('output/lab'), { recursive: true });
  await writeFile(resolve('output/lab/lynis-report.dat'), report);
  await ssh('sudo rm -rf /root/lynis /root/lynis.out /var/log/lynis*');
  const field = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(report)?.[1];
  expect(report).not.toMatch(/^warning\[\]=/m);
  expect(Number(field('hardening_index'))).toBeGreaterThanOrEqual(90);
});
