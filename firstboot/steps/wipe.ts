import type { Dirent } from 'node:fs';
import { constants, open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Step } from '../step.ts';
import { type System, syncDirectory } from '../system.ts';

/**
 * Files of the boot partition that may hold a secret: ours, and those that Raspberry Pi Imager and older
 * guides put there (cloud-init's NoCloud; firstrun.sh; rpi-preseed.toml; custom.toml; userconf; wpa_supplicant.conf).
 * authorized_keys is none, and stays.
 */
export const secretFiles: readonly RegExp[] = [
  // With what editors and file managers leave beside it, but not the example.
  /^[._~]*gateway-device\.ya?ml(?!\.example$)/i,
  /^(user-data|network-config|meta-data|vendor-data)$/i,
  /^firstrun\.sh$/i,
  /^(custom|rpi-preseed)\.toml$/i,
  /^(failed_)?userconf(\.txt)?$/i,
  /^wpa_supplicant\.conf$/i,
];

/** Bytes of zeros that are written at once. */
const block = 64 * 1024;

/**
 * Takes the owner's secrets from the boot partition: zeros over the whole file, on disk before its name
 * goes. Cut off in between it begins again, and nobody reads the half of a file that is left.
 */
export const wipe: Step = {
  name: 'wipe',
  check: async (system) => (await found(system)).length === 0,
  apply: async (system) => {
    for (const entry of await found(system)) {
      const path = join(entry.parentPath, entry.name);
      // A link's own target is not the owner's file on this partition: only the link goes.
      if (entry.isFile()) await overwrite(path);
      await unlink(path);
    }
    await syncDirectory(join(system.root, system.boot));
  },
};

async function found(system: System): Promise<Dirent[]> {
  const entries = await readdir(join(system.root, system.boot), { withFileTypes: true });
  return entries.filter(
    (entry) => !entry.isDirectory() && secretFiles.some((one) => one.test(entry.name)),
  );
}

async function overwrite(path: string): Promise<void> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const { size } = await file.stat();
    const zeros = Buffer.alloc(block);
    for (let done = 0; done < size; done += block)
      await file.write(zeros, 0, Math.min(block, size - done), done);
    await file.sync();
  } finally {
    await file.close();
  }
}
