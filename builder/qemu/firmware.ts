/** Boards whose `[filter]` sections of config.txt count for us. */
export type Model = 'pi3' | 'pi4';

export type FirmwareFiles = {
  kernel: string;
  /** Empty if the firmware would load none. */
  initramfs: string;
  /** File with the kernel command line. */
  commandLine: string;
};

/**
 * Which files of the boot partition the Raspberry Pi's firmware would load on a 64-bit board, as
 * config.txt says (Raspberry Pi documentation, config.txt: `kernel`, `initramfs`, `auto_initramfs`,
 * `cmdline`, conditional filters). Sections of other models, and filters such as `[gpio4=1]`, don't count.
 */
export function firmwareFiles(configTxt: string, model: Model): FirmwareFiles {
  let counts = true;
  let kernel = 'kernel8.img';
  let initramfs = '';
  let commandLine = 'cmdline.txt';
  let automatic = false;
  for (const raw of configTxt.split('\n')) {
    const line = raw.trim();
    const section = /^\[(.+)\]$/.exec(line)?.[1];
    if (section !== undefined) counts = section === 'all' || section === model;
    if (!counts || line.startsWith('#') || section !== undefined) continue;
    kernel = /^kernel=(\S+)/.exec(line)?.[1] ?? kernel;
    initramfs = /^initramfs\s+(\S+)/.exec(line)?.[1] ?? initramfs;
    commandLine = /^cmdline=(\S+)/.exec(line)?.[1] ?? commandLine;
    const auto = /^auto_initramfs=(\d)/.exec(line)?.[1];
    if (auto !== undefined) automatic = auto === '1';
  }
  // kernel8.img has initramfs8, kernel_2712.img initramfs_2712.
  const matching = /^kernel(.*)\.img$/.exec(kernel)?.[1];
  if (!initramfs && automatic && matching !== undefined) initramfs = `initramfs${matching}`;
  return { kernel, initramfs, commandLine };
}
