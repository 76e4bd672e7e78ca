import { expect, test } from 'vitest';
import { device } from '../../builder/qemu/harness.ts';

test('every setting of ours holds on the running kernel', async () => {
  const text = await device().ssh(
    'cat /etc/sysctl.d/90-gateway.conf /etc/sysctl.d/91-gateway-aslr.conf | grep -v "^#" | grep =',
  );
  const wanted = text
    .trim()
    .split('\n')
    .map((line) => line.replace(/^-/, '').split(' = '))
    .filter(([name]) => !name?.includes('*'));
  const names = wanted.map(([name]) => name).join(' ');
  const actual = await device().ssh(`sudo sysctl ${names}`);
  expect(actual.trim().split('\n').sort()).toEqual(wanted.map((pair) => pair.join(' = ')).sort());
});

test('interfaces that came before the settings have them too', async () => {
  const values = await device().ssh(
    'cat /proc/sys/net/ipv4/conf/*/send_redirects /proc/sys/net/ipv6/conf/*/accept_redirects /proc/sys/net/ipv6/conf/*/accept_ra | sort -u',
  );
  expect(values.trim()).toBe('0');
});

test('the kernel has taken the boot arguments, and is locked down', async () => {
  const line = await device().ssh('cat /proc/cmdline');
  for (const argument of ['slab_nomerge', 'page_alloc.shuffle=1', 'lockdown=integrity', 'audit=1'])
    expect(line.trim().split(' ')).toContain(argument);
  expect(await device().ssh('sudo cat /sys/kernel/security/lockdown')).toContain('[integrity]');
});

test('modules that nobody needs cannot be loaded, and others still can', async () => {
  for (const name of ['dccp', 'sctp', 'tipc', 'cramfs', 'udf'])
    expect((await device().sshResult(`sudo modprobe ${name}`)).exitCode, name).not.toBe(0);
  await device().ssh('sudo modprobe dummy && sudo modprobe -r dummy');
});

test('a program that crashes leaves no core', async () => {
  const result = await device().ssh(
    'cd && ulimit -c; sleep 100 & kill -SEGV $!; wait $!; ls core* 2>/dev/null; true',
  );
  expect(result.trim()).toBe('0');
});
