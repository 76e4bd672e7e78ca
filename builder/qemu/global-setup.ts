import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { adminUser, bootSeconds, ownerFile } from './harness-facts.ts';
import { makeSshKey, waitForSsh } from './ssh.ts';
import { startVm } from './vm.ts';

/** Boots the image once, as a user would have flashed it, for all boot tests of the run. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const image = resolve(process.env.PI_GATEWAY_IMAGE ?? 'output/pi-gateway/pi-gateway.img');
  await access(image);
  const key = await makeSshKey();
  const vm = await startVm({
    image,
    forwards: { 22: 0 },
    diskSize: '4G',
    bootFiles: ownerFile(key.publicKey),
  });
  const port = vm.ports[22] ?? 0;
  const undo = async () => {
    await vm.stop();
    await key.remove();
  };
  try {
    await waitForSsh({ user: adminUser, port, key }, bootSeconds);
  } catch (error) {
    process.stderr.write(`${(await vm.consoleText()).slice(-6000)}\n`);
    await undo();
    throw error;
  }
  project.provide('image', image);
  project.provide('sharedDevice', {
    port,
    keyDirectory: key.directory,
    publicKey: key.publicKey,
    vmDirectory: vm.directory,
  });
  return undo;
}
