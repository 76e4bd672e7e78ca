import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Chroot } from '../define.ts';
import { renderStage } from '../testing.ts';
import { bootArguments, mmapRandomBits, withArguments } from './boot-arguments.ts';
import { kernel } from './stage.ts';

const path = '/etc/sysctl.d/90-gateway.conf';

function keys(text: string): string[] {
  return [...text.matchAll(/^-?([a-z][\w.*-]+) = /gm)].map(([, key = '']) => key);
}

describe('sysctl', () => {
  test('a VPN gateway routes, in IPv4 and IPv6 alike; with forward off it does not', async () => {
    const on = (await renderStage(kernel)).text(path);
    expect(on).toContain('net.ipv4.ip_forward = 1\n');
    expect(on).toContain('net.ipv6.conf.all.forwarding = 1\n');
    const off = (await renderStage(kernel, { forward: false })).text(path);
    expect(off).toContain('net.ipv4.ip_forward = 0\n');
    expect(off).toContain('net.ipv6.conf.all.forwarding = 0\n');
  });

  test('each key stands once, and the kernel knows it', async () => {
    const all = keys((await renderStage(kernel)).text(path));
    expect(all.length).toBeGreaterThan(60);
    expect(new Set(all).size).toBe(all.length);
    // This host's kernel may be built without some; the boot test asks the device's for all.
    for (const key of all.filter((name) => /^net\.ipv4\.[^*]+$/.test(name)))
      await access(`/proc/sys/${key.replaceAll('.', '/')}`);
  });

  test('every line is a comment or a setting', async () => {
    for (const line of (await renderStage(kernel)).text(path).split('\n'))
      expect(line).toMatch(/^(#.*|-?[\w.*-]+ = \S+)?$/);
  });

  test('reverse path is strict, or loose where asked; user namespaces are kept for containers', async () => {
    const strict = (await renderStage(kernel)).text(path);
    expect(strict.match(/rp_filter = 1/g)).toHaveLength(3);
    expect(strict).toContain('-kernel.unprivileged_userns_clone = 1\n');
    const loose = (
      await renderStage(kernel, { reverse_path: 'loose', user_namespaces: false })
    ).text(path);
    expect(loose.match(/rp_filter = 2/g)).toHaveLength(3);
    expect(loose).toContain('-kernel.unprivileged_userns_clone = 0\n');
  });
});

describe('modules', () => {
  const file = '/etc/modprobe.d/gateway.conf';

  test('each that is not needed is refused to devices and to everybody', async () => {
    const text = (await renderStage(kernel)).text(file);
    const blacklisted = [...text.matchAll(/^blacklist (\S+)$/gm)].map(([, name]) => name);
    const refused = [...text.matchAll(/^install (\S+) \/bin\/false$/gm)].map(([, name]) => name);
    expect(blacklisted).toEqual(refused);
    expect(new Set(refused).size).toBe(refused.length);
    for (const name of ['dccp', 'sctp', 'rds', 'tipc', 'cramfs', 'udf', 'firewire-core'])
      expect(refused).toContain(name);
    // What containers, the VPN, backups and the card itself need.
    for (const name of [
      'overlay',
      'wireguard',
      'nfs',
      'cifs',
      'vfat',
      'ext4',
      'llc',
      'usb-storage',
    ])
      expect(refused).not.toContain(name);
  });

  test('USB storage is refused where asked', async () => {
    expect((await renderStage(kernel, { usb_storage: false })).text(file)).toContain(
      'install usb-storage /bin/false\nblacklist uas\ninstall uas /bin/false\n',
    );
  });
});

describe('boot arguments', () => {
  const debian =
    'CONFIG_SECURITY_LOCKDOWN_LSM=y\nCONFIG_MODULE_SIG=y\nCONFIG_SECURITY_APPARMOR=y\nCONFIG_DEFAULT_SECURITY_APPARMOR=y\nCONFIG_ARCH_MMAP_RND_BITS_MAX=33\nCONFIG_ARCH_MMAP_RND_COMPAT_BITS_MAX=16\n';
  const vendor = 'CONFIG_SECURITY_APPARMOR=y\nCONFIG_ARCH_MMAP_RND_BITS_MAX=24\n';

  test('lock the kernel down only where its modules are signed', () => {
    expect(bootArguments([debian], { audit: true })).toContain('lockdown=integrity');
    for (const kernels of [[vendor], [debian, vendor], [], [debian.replace('MODULE_SIG=y', 'X=n')]])
      expect(bootArguments(kernels, { audit: true })).not.toContain('lockdown=integrity');
  });

  test('turn AppArmor on where the kernel has it off, and audit where auditd is', () => {
    expect(bootArguments([vendor], { audit: false })).toContain('security=apparmor');
    expect(bootArguments([debian], { audit: false }).join(' ')).not.toMatch(/apparmor|audit/);
    expect(bootArguments([debian], { audit: true })).toContain('audit=1');
  });

  test('replace their like on a line that is there', () => {
    expect(
      withArguments('root=PARTUUID=1-02 audit=0 quiet rootwait\n', ['audit=1', 'slab_nomerge']),
    ).toBe('root=PARTUUID=1-02 quiet rootwait audit=1 slab_nomerge');
  });

  test('random bits are those of the weakest kernel', () => {
    expect(mmapRandomBits([debian])).toEqual({ native: 33, compat: 16 });
    expect(mmapRandomBits([debian, vendor])).toEqual({ native: 24, compat: undefined });
    expect(mmapRandomBits(['CONFIG_X=y'])).toBeUndefined();
  });

  describe('are written', () => {
    async function apply(
      files: Record<string, string>,
    ): Promise<(name: string) => Promise<string>> {
      const root = await mkdtemp(join(tmpdir(), 'pi-gateway-kernel-'));
      const at = (name: string) => join(root, name);
      const write = async (name: string, content: string | Uint8Array) => {
        await mkdir(dirname(at(name)), { recursive: true });
        await writeFile(at(name), content);
      };
      for (const [name, content] of Object.entries(files)) await write(name, content);
      const chroot: Chroot = {
        root,
        run: async () => '',
        write,
        read: (name) => readFile(at(name), 'utf8'),
        exists: (name) =>
          access(at(name)).then(
            () => true,
            () => false,
          ),
        remove: (name) => rm(at(name), { recursive: true }),
      };
      await kernel.run?.(chroot, kernel.options.parse({}), {
        name: 'x',
        stages: { system: { audit: true } },
        ports: [],
      });
      return (name) => readFile(at(name), 'utf8');
    }

    test("where Debian's raspi-firmware takes them from", async () => {
      const read = await apply({
        '/boot/config-6.12': debian,
        '/etc/kernel/postinst.d/z50-raspi-firmware':
          'cmdline_custom="/etc/default/raspi-extra-cmdline"',
      });
      expect(await read('/etc/default/raspi-extra-cmdline')).toMatch(
        /^slab_nomerge .* audit=1 .*\n$/,
      );
      expect(await read('/etc/sysctl.d/91-gateway-aslr.conf')).toContain('vm.mmap_rnd_bits = 33\n');
    });

    test("into the vendor's cmdline.txt, which stays one line", async () => {
      const read = await apply({
        '/boot/config-6.12-v8': vendor,
        '/boot/firmware/cmdline.txt': 'console=tty1 root=PARTUUID=1-02 rootwait\n',
        '/etc/kernel/postinst.d/z50-raspi-firmware': 'copies kernels',
      });
      expect(await read('/boot/firmware/cmdline.txt')).toMatch(
        /^console=tty1 root=PARTUUID=1-02 rootwait slab_nomerge [^\n]*\n$/,
      );
    });
  });
});
