/**
 * The kernel's own hardening switches, as far as the image's kernels have them (kernel
 * Documentation/admin-guide/kernel-parameters.txt; choice: KSPP recommended settings).
 * @param kernels the configurations (/boot/config-*) of all kernels of the image
 */
export function bootArguments(kernels: readonly string[], o: { audit: boolean }): string[] {
  const every = (setting: string) =>
    kernels.length > 0 && kernels.every((text) => text.split('\n').includes(setting));
  return [
    // Caches of like size are kept apart: an overflow in one kind of object meets no other kind.
    'slab_nomerge',
    // Memory is zero when it is handed out. Debian's kernel does this anyway; the vendor's does not.
    // init_on_free=1 would do it again at the end, for 3 to 7 % of the work and little more safety.
    'init_on_alloc=1',
    'page_alloc.shuffle=1',
    'randomize_kstack_offset=on',
    // Root cannot change the running kernel: no unsigned modules, no /dev/mem, no kexec. Only where the
    // modules are signed, as Debian's are: elsewhere not one would load, and nothing would boot.
    ...(every('CONFIG_SECURITY_LOCKDOWN_LSM=y') && every('CONFIG_MODULE_SIG=y')
      ? ['lockdown=integrity']
      : []),
    // The vendor's kernel has AppArmor, but not on.
    ...(every('CONFIG_SECURITY_APPARMOR=y') && !every('CONFIG_DEFAULT_SECURITY_APPARMOR=y')
      ? ['apparmor=1', 'security=apparmor']
      : []),
    // Processes that start before auditd are watched too, and what they do waits for it (CIS 6.2.1.3, 6.2.1.4).
    ...(o.audit ? ['audit=1', 'audit_backlog_limit=8192'] : []),
    // The console shows warnings and worse, not each audit record: a serial line holds the boot up.
    'loglevel=4',
  ];
}

/** The command line with the arguments; one of the same name is replaced. */
export function withArguments(line: string, wanted: readonly string[]): string {
  const name = (argument: string) => argument.split('=')[0];
  const names = new Set(wanted.map(name));
  const others = line.split(/\s+/).filter((word) => word !== '' && !names.has(name(word)));
  return [...others, ...wanted].join(' ');
}

/** Most bits of address space randomisation that all kernels can; undefined if they do not say. */
export function mmapRandomBits(
  kernels: readonly string[],
): { native: number; compat: number | undefined } | undefined {
  const least = (setting: string) => {
    const found = kernels.map((text) => new RegExp(`^${setting}=(\\d+)$`, 'm').exec(text)?.[1]);
    const bits = found.map(Number).filter((value) => value > 0);
    return bits.length > 0 && bits.length === kernels.length ? Math.min(...bits) : undefined;
  };
  const native = least('CONFIG_ARCH_MMAP_RND_BITS_MAX');
  if (native === undefined) return undefined;
  return { native, compat: least('CONFIG_ARCH_MMAP_RND_COMPAT_BITS_MAX') };
}
