import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BuildError, exitCode, isErrno, messageOf } from '../errors.ts';
import { run } from '../exec.ts';

const directory = '/proc/sys/fs/binfmt_misc';
const name = 'pi-gateway-aarch64';

/** ELF, 64 bit, little endian, executable or shared object, EM_AARCH64: as qemu-binfmt-conf.sh. */
const magic =
  '\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00';
const mask =
  '\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff';

/**
 * Has the kernel run arm64 programs through `interpreter` until the returned function is called.
 * The newest registration goes first, so one that the host has stays as it is. Flag F opens the
 * interpreter now, so that it need not exist in the chroots; C and P as in Debian's own entry.
 * A registration that a killed build left is replaced.
 * Kernel: Documentation/admin-guide/binfmt-misc.rst.
 */
export async function registerBinfmt(interpreter: string): Promise<() => Promise<void>> {
  try {
    await access(join(directory, 'register')).catch(() =>
      run('mount', ['-t', 'binfmt_misc', 'binfmt_misc', directory]),
    );
    await unregisterBinfmt();
    await writeFile(join(directory, 'register'), `:${name}:M::${magic}:${mask}:${interpreter}:FCP`);
  } catch (cause) {
    throw new BuildError({
      what: `The kernel takes no interpreter for arm64 programs: ${messageOf(cause)}`,
      where: directory,
      fix: 'Load the module (modprobe binfmt_misc), or build on an arm64 host; in a container, run it privileged',
      code: exitCode.host,
      cause,
    });
  }
  return unregisterBinfmt;
}

/** Takes back the registration, also one that a killed build left. */
export async function unregisterBinfmt(): Promise<void> {
  try {
    await writeFile(join(directory, name), '-1', { flag: 'r+' }); // creating is what it refuses
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
}

/** What the kernel runs arm64 programs with now, for `doctor`. */
export async function registeredInterpreter(): Promise<string | undefined> {
  for (const entry of [name, 'qemu-aarch64']) {
    try {
      const text = await readFile(join(directory, entry), 'utf8');
      return /^interpreter (.*)$/m.exec(text)?.[1];
    } catch {
      // not registered under this name
    }
  }
  return undefined;
}
