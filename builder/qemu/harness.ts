import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, inject, onTestFailed, onTestFinished } from 'vitest';
import type { RunResult } from '../exec.ts';
import { keepEvidence } from './evidence.ts';
import { adminUser, bootSeconds, ownerFile } from './harness-facts.ts';
import { closeSsh, makeSshKey, type SshKey, ssh, sshResult, waitForSsh } from './ssh.ts';
import { startVm, type Vm, type VmOptions } from './vm.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Port and key of the VM that all boot tests of a run share. */
    sharedDevice: { port: number; keyDirectory: string; publicKey: string; vmDirectory: string };
    image: string;
    /** Of the image before it was booted. */
    imageSha256: string;
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
  /** What the serial console has shown so far. */
  consoleText(): Promise<string>;
  /** Restarts the device and waits until it lets the admin in again. */
  reboot(): Promise<void>;
  key: SshKey;
};

function deviceAt(port: number, key: SshKey, consoleText: () => Promise<string>): Device {
  const target = { user: adminUser, port, key };
  return {
    host: '127.0.0.1',
    sshPort: port,
    key,
    ssh: (command) => ssh(target, command),
    sshResult: (command) => sshResult(target, command),
    consoleText,
    reboot: async () => {
      const bootId = 'cat /proc/sys/kernel/random/boot_id';
      const before = await ssh(target, bootId);
      await sshResult(target, 'sudo systemctl reboot');
      await closeSsh(target);
      const until = Date.now() + bootSeconds * 1000;
      for (;;) {
        await waitForSsh(target, (until - Date.now()) / 1000);
        const now = await sshResult(target, bootId).catch(() => undefined);
        if (now?.exitCode === 0 && now.stdout !== before) return;
        await closeSsh(target);
      }
    },
  };
}

/**
 * The device that all boot tests share; tests must not change what others rely on. Called once, at
 * the top of a test file; console and journal of a test that fails are kept in output/boot-test/.
 */
export function device(): Device {
  const { port, keyDirectory, publicKey, vmDirectory } = inject('sharedDevice');
  const shared = deviceAt(
    port,
    {
      directory: keyDirectory,
      path: join(keyDirectory, 'key'),
      publicKey,
      remove: async () => undefined,
    },
    () => readFile(join(vmDirectory, 'console.log'), 'utf8'),
  );
  beforeEach(() => {
    onTestFailed(async ({ task }) => {
      const journal = await shared.sshResult('sudo journalctl -b --no-pager');
      await keepEvidence(`${task.name} journal`, journal.stdout);
      await keepEvidence(`${task.name} console`, await shared.consoleText());
    });
  });
  return shared;
}

/** Boots a device of a test's own, e.g. to compare it with another; it ends with the test. */
export async function bootDevice(o: Partial<VmOptions> = {}): Promise<{ vm: Vm; device: Device }> {
  const key = await makeSshKey();
  const vm = await startVm({
    image: inject('image'),
    forwards: { 22: 0 },
    bootFiles: ownerFile(key.publicKey),
    ...o,
  });
  onTestFinished(async () => {
    await vm.stop();
    await key.remove();
  });
  const own = deviceAt(vm.ports[22] ?? 0, key, vm.consoleText);
  await vm
    .whileRunning(waitForSsh({ user: adminUser, port: own.sshPort, key }, bootSeconds))
    .catch(async (error: unknown) => {
      await keepEvidence('boot', await vm.consoleText());
      throw error;
    });
  return { vm, device: own };
}
