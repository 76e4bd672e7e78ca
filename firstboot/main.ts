import { readdir } from 'node:fs/promises';
import { runSteps } from './run.ts';
import { growRootfs } from './steps/grow-rootfs.ts';
import { hostKeys } from './steps/host-keys.ts';
import { machineId } from './steps/machine-id.ts';
import { admin, hostName } from './steps/owner.ts';
import { deviceSystem, type System, writeDurably } from './system.ts';

/** Shows the host keys' fingerprints above the login prompt: issue(5), /etc/issue.d. */
async function writeDeviceCard(system: System): Promise<void> {
  const keys = (await readdir('/etc/ssh')).filter((name) => /^ssh_host_.*_key\.pub$/.test(name));
  const prints = await Promise.all(
    keys.sort().map((name) => system.run('ssh-keygen', ['-l', '-f', `/etc/ssh/${name}`])),
  );
  await writeDurably(
    '/etc/issue.d/50-pi-gateway.issue',
    ['Pi Gateway \\n · SSH host keys:', ...prints.map((line) => line.trim()), ''].join('\n'),
  );
}

const system = deviceSystem((text) => process.stdout.write(`${text}\n`));
const { failures } = await runSteps(system, [machineId, hostKeys, hostName, admin, growRootfs]);
await writeDeviceCard(system);
process.exitCode = failures.length === 0 ? 0 : 1;
