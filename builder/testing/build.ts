import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';

export const project = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

export type CliResult = { code: number | null; stdout: string; stderr: string; seconds: number };

/** A running `pi-gateway-image`, as a user starts it. */
export type Running = {
  pid: number;
  /** Everything it has printed to stderr. */
  text(): string;
  /** Resolves when stderr has the text; rejects when it ends before. */
  said(text: string | RegExp): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  done: Promise<CliResult>;
};

/** Starts `pi-gateway-image` of the project in `root`. */
export function startCli(
  root: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Running {
  const begun = performance.now();
  const child = spawn(process.execPath, [join(root, 'builder/cli.ts'), ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let stdout = '';
  let stderr = '';
  const waiting = new Set<() => void>();
  child.stdout.on('data', (data: Buffer) => {
    stdout += data;
  });
  child.stderr.on('data', (data: Buffer) => {
    stderr += data;
    for (const check of waiting) check();
  });
  const done = new Promise<CliResult>((finish) => {
    child.once('close', (code) => {
      finish({ code, stdout, stderr, seconds: (performance.now() - begun) / 1000 });
    });
  });
  return {
    pid: child.pid ?? 0,
    text: () => stderr,
    kill: (signal) => child.kill(signal),
    done,
    said: (text) =>
      new Promise((found, failed) => {
        const check = () => {
          if (typeof text === 'string' ? stderr.includes(text) : text.test(stderr)) {
            waiting.delete(check);
            found();
          }
        };
        waiting.add(check);
        check();
        void done.then(() => failed(new Error(`it ended without saying ${text}:\n${stderr}`)));
      }),
  };
}

export async function runCli(
  root: string,
  args: readonly string[],
  env?: Record<string, string>,
): Promise<CliResult> {
  return await startCli(root, args, env).done;
}

/** A copy of the project (without caches and results) that a test may change. */
export async function copyProject(target: string): Promise<void> {
  await mkdir(target, { recursive: true });
  const skip = new Set(['node_modules', 'cache', 'output', '.git', 'gateway.local.yaml']);
  for (const name of await readdir(project))
    if (!skip.has(name)) await cp(join(project, name), join(target, name), { recursive: true });
  await symlink(join(project, 'node_modules'), join(target, 'node_modules'));
}

/** Mounts, loop devices and processes that have to do with `path`, on the whole machine. */
export async function traces(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const line of (await readFile('/proc/self/mountinfo', 'utf8')).split('\n'))
    if (line.includes(path)) found.push(`mount: ${line}`);
  for (const name of await readdir('/sys/block'))
    if (name.startsWith('loop')) {
      const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
      if (file.includes(path)) found.push(`loop device: ${name} ${file.trim()}`);
    }
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
    if (command.includes(path) || mounts.includes(`${path}/`))
      found.push(`process: ${pid} ${command.replaceAll('\0', ' ')}`);
  }
  return found;
}

export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Removes a folder that builds have used. */
export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
}
