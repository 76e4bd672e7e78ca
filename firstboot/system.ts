import { execFile } from 'node:child_process';
import { chmod, mkdir, open, readFile, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

export type RunOptions = {
  input?: string;
  /** Milliseconds until the program is killed. */
  timeout?: number;
  /** Kills the program when it is aborted. */
  signal?: AbortSignal;
};

/** The machine as the steps see it; tests give one that lies in a temporary directory. */
export type System = {
  /** `/` on the device. */
  readonly root: string;
  /** Where the owner's files lie, below the root. */
  readonly boot: string;
  run(command: string, args: readonly string[], options?: RunOptions): Promise<string>;
  /** What `once` has read; none: everything is read each time. */
  readonly read?: Map<unknown, Promise<unknown>>;
  /** A line for the journal and the console: never a secret, the journal stays on the card. */
  say(text: string): void;
};

/** Milliseconds that a command of a step may take. */
const commandTimeout = 120_000;

export function deviceSystem(say: (text: string) => void): System {
  return {
    root: '/',
    boot: '/boot/firmware',
    say,
    run: (command, args, options = {}) =>
      new Promise((resolve, reject) => {
        options.signal?.throwIfAborted();
        const child = execFile(
          command,
          [...args],
          {
            timeout: options.timeout ?? commandTimeout,
            // One that hangs may hang in its handler of SIGTERM, too.
            killSignal: 'SIGKILL',
            // A thousand entries of the journal, each cut at 4096 bytes; node's default is a megabyte.
            maxBuffer: 8 * 1024 * 1024,
            env: { PATH: '/usr/sbin:/usr/bin', LC_ALL: 'C.UTF-8' },
          },
          (error, stdout, stderr) => {
            if (!error) resolve(stdout);
            else if (error.killed) reject(new Error(`${command} took too long and was killed`));
            else reject(new Error(`${command} failed: ${(stderr || error.message).trim()}`));
          },
        );
        // Not execFile's own option for it, which ends a program by SIGTERM.
        options.signal?.addEventListener('abort', () => child.kill('SIGKILL'), { once: true });
        // A program that ends without reading its input breaks the pipe; its exit code tells the rest.
        child.stdin?.on('error', () => undefined);
        child.stdin?.end(options.input ?? '');
      }),
  };
}

/**
 * What `work` finds on a machine, found once in a run of first boot: on a small Pi, reading the owner's
 * files for each step anew takes seconds.
 */
export function once<T>(system: System, work: (system: System) => Promise<T>): Promise<T> {
  const found = (system.read?.get(work) as Promise<T> | undefined) ?? work(system);
  system.read?.set(work, found);
  return found;
}

export function at(system: System, path: string): string {
  return join(system.root, path);
}

/** The file's text, or undefined if there is none. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Writes a file so that after a power cut its name stands for the old content or the new one, never
 * for something between: temporary file, fsync, rename, fsync of the file and of the directory.
 */
export async function writeDurably(
  path: string,
  content: string | Uint8Array,
  mode = 0o644,
  owner?: { uid: number; gid: number },
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  await rm(temporary, { force: true });
  const file = await open(temporary, 'wx', mode);
  try {
    await file.writeFile(content);
    await file.chmod(mode);
    if (owner) await file.chown(owner.uid, owner.gid);
    await file.sync();
    await rename(temporary, path);
    // vfat writes the entry that a renamed file takes over only with the file, not with its directory
    // (fs/fat/namei_vfat.c); until then the name stands for the old file's clusters, which are free.
    await file.sync();
  } finally {
    await file.close();
  }
  await syncDirectory(dirname(path));
}

/** Makes the folder, if need be, with exactly this mode: an umask would take from mkdir's. */
export async function makeFolder(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, mode);
}

/** Points a symbolic link elsewhere so that its name is there all the time, after a power cut too. */
export async function linkDurably(target: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = join(dirname(path), `.${basename(path)}.new`);
  await rm(temporary, { force: true });
  await symlink(target, temporary);
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** For files that another program wrote. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  await file.sync().finally(() => file.close());
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } catch (error) {
    // Some file systems have no fsync of a directory, and nothing takes its place there.
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
  } finally {
    await directory.close();
  }
}
