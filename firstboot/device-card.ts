import { chmod, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { at, type System, writeDurably } from './system.ts';

/** Shows the host keys' fingerprints above the login prompt: issue(5), /etc/issue.d. */
export async function writeDeviceCard(system: System): Promise<void> {
  const folder = at(system, '/etc/ssh');
  const keys = (await readdir(folder)).filter((name) => /^ssh_host_.*_key\.pub$/.test(name));
  const prints = await Promise.all(
    keys.sort().map((name) => system.run('ssh-keygen', ['-l', '-f', `${folder}/${name}`])),
  );
  // What everybody reads at the console, everybody may read: the service's own umask would forbid it.
  const issues = at(system, '/etc/issue.d');
  await mkdir(issues, { recursive: true });
  await chmod(issues, 0o755);
  await writeDurably(
    join(issues, '50-pi-gateway.issue'),
    ['Pi Gateway \\n · SSH host keys:', ...prints.map((line) => line.trim()), ''].join('\n'),
  );
}
