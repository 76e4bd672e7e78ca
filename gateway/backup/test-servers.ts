import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../builder/exec.ts';

/** Configuration of real servers for tests of backups: sshd and an S3-compatible one. */

export type SftpServer = { command: string; args: string[]; hostKey: string; user: string };

/**
 * sshd(8) for SFTP alone.
 * @param folder for its files; readable by nobody else, as sshd wants it.
 * @param allowed lines of authorized_keys.
 */
export async function sftpServer(
  folder: string,
  o: { address: string; port: number; allowed: string },
): Promise<SftpServer> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  await chmod(folder, 0o700);
  const key = join(folder, 'host_key');
  const there = await readFile(`${key}.pub`, 'utf8').catch(() => undefined);
  if (!there) await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', key]);
  await writeFile(join(folder, 'authorized_keys'), o.allowed, { mode: 0o600 });
  const config = join(folder, `sshd_config_${o.port}`);
  await writeFile(
    config,
    [
      `ListenAddress ${o.address}:${o.port}`,
      `HostKey ${key}`,
      `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
      ...['PidFile none', 'UsePAM no', 'StrictModes no', 'PermitRootLogin prohibit-password'],
      ...['PasswordAuthentication no', 'KbdInteractiveAuthentication no'],
      ...['ForceCommand internal-sftp', 'Subsystem sftp internal-sftp', 'MaxStartups 100', ''],
    ].join('\n'),
  );
  return {
    command: '/usr/sbin/sshd',
    args: ['-D', '-e', '-f', config],
    hostKey: (await readFile(`${key}.pub`, 'utf8')).trim(),
    user: process.env.USER ?? 'root',
  };
}

const s3Main = resolve(fileURLToPath(new URL('test-s3.ts', import.meta.url)));

/** The keys that it takes are its own, and known: S3RVER. */
export function s3Server(folder: string, o: { address: string; port: number }) {
  return {
    command: process.execPath,
    args: ['--no-warnings', s3Main, folder, o.address, String(o.port)],
  };
}

/** Waits until somebody listens there. */
export async function listening(address: string, port: number, seconds = 20): Promise<void> {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const isOpen = await new Promise<boolean>((done) => {
      const socket = createConnection({ host: address, port });
      socket.once('connect', () => {
        socket.destroy();
        done(true);
      });
      socket.once('error', () => done(false));
    });
    if (isOpen) return;
    if (Date.now() > until) throw new Error(`nobody listens on ${address}:${port}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}
