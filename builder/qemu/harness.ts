import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { afterAll, inject, onTestFailed } from 'vitest';
import type { RunResult } from '../exec.ts';
import { adminUser, bootSeconds, ownerFile } from './harness-facts.ts';
import { makeSshKey, type SshKey, ssh, sshResult, waitForSsh } from './ssh.ts';
import { startVm, type Vm, type VmOptions } from './vm.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Port and key of the VM that all boot tests of a run share. */
    sharedDevice: { port: number; keyDirectory: string; publicKey: string; vmDirectory: string };
    image: string;
  }
}

/** The running device of a boot test. */
export type Device = {
  /** Loopback address and port that lead to the device's SSH port. */
  host: string;
  sshPort: number;
  /** Output of a shell command of the admin; throws if it fails. */
  ssh(command: string): Promise<string>;
  sshResult(command: string): Promise<RunResult>;
  key: SshKey;
};

function deviceAt(port: number, key: SshKey): Device {
  const target = { user: adminUser, port, key };
  return {
    host: '127.0.0.1',
    sshPort: port,
    key,
    ssh: (command) => ssh(target, command),
    sshResult: (command) => sshResult(target, command),
  };
}

/** The device that all boot tests share; tests must not change what others rely on. */
export function device(): Device {
  const { port, keyDirectory, publicKey } = inject('sharedDevice');
  return deviceAt(port, {
    directory: keyDirectory,
    path: join(keyDirectory, 'key'),
    publicKey,
    remove: async () => undefined,
  });
}

/** Boots a device of one's own, e.g. to compare it with another; ends with the test file. */
export async function bootDevice(o: Partial<VmOptions> = {}): Promise<{ vm: Vm; device: Device }> {
  const key = await makeSshKey();
  const vm = await startVm({
    image: inject('image'),
    forwards: { 22: 0 },
    bootFiles: ownerFile(key.publicKey),
    ...o,
  });
  afterAll(async () => {
    await vm.stop();
    await key.remove();
  });
  const own = deviceAt(vm.ports[22] ?? 0, key);
  await waitForSsh({ user: adminUser, port: own.sshPort, key }, bootSeconds).catch(
    async (error: unknown) => {
      await keepEvidence('boot', await vm.consoleText());
      throw error;
    },
  );
  return { vm, device: own };
}

/** Keeps console and journal of the shared device when the test that calls it fails. */
export function collectOnFailure(): void {
  onTestFailed(async ({ task }) => {
    const journal = await device().sshResult('sudo journalctl -b --no-pager');
    await keepEvidence(task.name, journal.stdout);
  });
}

async function keepEvidence(name: string, text: string): Promise<void> {
  const folder = resolve('output/boot-test');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name.replaceAll(/\W+/g, '-')}.log`), text);
}
