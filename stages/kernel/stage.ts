import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type Chroot, defineStage } from '../define.ts';
import { bootArguments, mmapRandomBits, withArguments } from './boot-arguments.ts';

export const kernel = defineStage({
  name: 'kernel',
  summary: 'Kernel settings, boot arguments and modules: routing, spoofing, leaks, lockdown',
  options: z.strictObject({
    forward: z.boolean().default(true).describe('Route between networks; a VPN gateway must'),
    reverse_path: z
      .enum(['strict', 'loose'])
      .default('strict')
      .describe(
        'Drop packets whose answer would leave elsewhere (strict), or nowhere (loose: for several uplinks)',
      ),
    user_namespaces: z
      .boolean()
      .default(true)
      .describe('Let users make user namespaces; rootless containers need them'),
    usb_storage: z
      .boolean()
      .default(true)
      .describe('Allow USB disks and sticks; must be true if the device starts from one'),
  }),
  // Debugging interfaces of the kernel that nothing here reads.
  services: () => ({ mask: ['sys-kernel-debug.mount', 'sys-kernel-tracing.mount'] }),
  run: async (chroot, _options, config) => {
    const kernels = await kernelConfigs(chroot);
    const bits = mmapRandomBits(kernels);
    if (bits)
      await chroot.write(
        '/etc/sysctl.d/91-gateway-aslr.conf',
        [
          "# As many random bits in addresses as this image's kernels can (CONFIG_ARCH_MMAP_RND_BITS_MAX).",
          `-vm.mmap_rnd_bits = ${bits.native}`,
          ...(bits.compat === undefined ? [] : [`-vm.mmap_rnd_compat_bits = ${bits.compat}`]),
          '',
        ].join('\n'),
      );
    const { audit = false } = (config.stages.system ?? {}) as { audit?: boolean };
    await setBootArguments(chroot, bootArguments(kernels, { audit }));
  },
});

async function kernelConfigs(chroot: Chroot): Promise<string[]> {
  const boot = join(chroot.root, 'boot');
  const names = (await readdir(boot)).filter((name) => name.startsWith('config-')).sort();
  return await Promise.all(names.map((name) => readFile(join(boot, name), 'utf8')));
}

/**
 * Debian's raspi-firmware writes cmdline.txt itself, now and at each kernel update, and takes ours from a
 * file of its own; on the vendor's image cmdline.txt is what it is.
 */
async function setBootArguments(chroot: Chroot, wanted: readonly string[]): Promise<void> {
  const hook = '/etc/kernel/postinst.d/z50-raspi-firmware';
  const extra = '/etc/default/raspi-extra-cmdline';
  const cmdline = '/boot/firmware/cmdline.txt';
  if ((await chroot.exists(hook)) && (await chroot.read(hook)).includes(extra))
    await chroot.write(extra, `${wanted.join(' ')}\n`);
  else if (await chroot.exists(cmdline))
    await chroot.write(cmdline, `${withArguments(await chroot.read(cmdline), wanted)}\n`);
}
