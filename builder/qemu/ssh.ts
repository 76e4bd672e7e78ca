import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BuildError } from '../errors.ts';
import { type RunResult, run } from '../exec.ts';

/** A key pair that lives as long as the test. */
export type SshKey = {
  directory: string;
  path: string;
  publicKey: string;
  remove(): Promise<void>;
};

export async function makeSshKey(): Promise<SshKey> {
  const directory = await mkdtemp(join(tmpdir(), 'pi-gateway-key-'));
  const path = join(directory, 'key');
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'boot test', '-f', path]);
  const publicKey = (await readFile(`${path}.pub`, 'utf8')).trim();
  return {
    directory,
    path,
    publicKey,
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

export type SshTarget = {
  user: string;
  port: number;
  key: SshKey;
  /** Address; 127.0.0.1 unless said. */
  host?: string;
  /** Network namespace that the connection starts from; this process's own unless said. */
  namespace?: string;
  /** Own address that the connection comes from, where the namespace has several. */
  from?: string;
};

/** The command line of ssh(1) with everything before the remote command. */
function sshCommand(target: SshTarget, ...more: string[]): [string, string[]] {
  const enter = target.namespace ? ['ip', 'netns', 'exec', target.namespace] : [];
  const [command = '', ...args] = [
    ...enter,
    'ssh',
    ...options(target),
    ...(target.from ? ['-b', target.from] : []),
    ...more,
    `${target.user}@${target.host ?? '127.0.0.1'}`,
  ];
  return [command, args];
}

function options(target: SshTarget): string[] {
  const { directory, path } = target.key;
  return [
    ...['-F', 'none', '-i', path, '-p', String(target.port)],
    ...['-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=20'],
    ...['-o', 'ServerAliveInterval=15', '-o', 'ServerAliveCountMax=4'],
    // The device makes its host keys on first boot: there is nothing to compare with yet.
    ...['-o', 'StrictHostKeyChecking=accept-new'],
    ...['-o', `UserKnownHostsFile=${join(directory, `known_hosts_${target.port}`)}`],
    ...['-o', 'LogLevel=ERROR'],
    // One connection for all commands: under emulation, a key exchange takes seconds.
    ...['-o', 'ControlMaster=auto', '-o', 'ControlPersist=60'],
    ...['-o', `ControlPath=${join(directory, `control-${target.port}-${target.namespace ?? ''}`)}`],
  ];
}

/** Runs a shell command on the device; any exit code is a result. */
export async function sshResult(
  target: SshTarget,
  command: string,
  seconds = 120,
  input?: Uint8Array,
): Promise<RunResult> {
  const [program, args] = sshCommand(target);
  return await run(program, [...args, command], {
    timeout: seconds * 1000,
    ...(input ? { input } : {}),
    okCodes: Array.from({ length: 255 }, (_, i) => i + 1),
  });
}

/** Drops the connection that commands share, e.g. because the device restarts. */
export async function closeSsh(target: SshTarget): Promise<void> {
  const [program, args] = sshCommand(target, '-O', 'exit');
  await run(program, args, { okCodes: [255] });
}

/** Runs a shell command on the device and gives its output. @throws BuildError if it fails. */
export async function ssh(
  target: SshTarget,
  command: string,
  seconds?: number,
  input?: Uint8Array,
): Promise<string> {
  const result = await sshResult(target, command, seconds, input);
  if (result.exitCode !== 0)
    throw new BuildError({
      what: `On the device, a command failed with exit code ${result.exitCode}`,
      where: command,
      detail: `${result.stdout}\n${result.stderr}`.trim(),
    });
  return result.stdout;
}

/** Waits until the device lets the key in. */
export async function waitForSsh(target: SshTarget, seconds: number): Promise<void> {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const result = await sshResult(target, 'true', 60).catch(() => undefined);
    if (result?.exitCode === 0) return;
    if (Date.now() > until)
      throw new BuildError({
        what: `The device did not let the admin in by SSH within ${seconds} s`,
        detail: result?.stderr,
      });
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}
