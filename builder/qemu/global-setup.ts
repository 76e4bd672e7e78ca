import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { fileDigest } from '../artifact/compress.ts';
import { BuildError, exitCode } from '../errors.ts';
import { keepEvidence } from './evidence.ts';
import { adminUser, bootSeconds, ownerFile } from './harness-facts.ts';
import { makeSshKey, waitForSsh } from './ssh.ts';
import { startVm } from './vm.ts';

/** Boots the image once, as a user would have flashed it, for all boot tests of the run. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const image = resolve(process.env.PI_GATEWAY_IMAGE ?? 'output/pi-gateway/pi-gateway.img');
  await access(image).catch((cause) => {
    throw new BuildError({
      what: 'There is no image to boot',
      where: image,
      fix: 'Build it (npm run image) or name one: PI_GATEWAY_IMAGE=<file>',
      code: exitCode.usage,
      cause,
    });
  });
  const { sha256 } = await fileDigest(image);
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
    await vm.whileRunning(waitForSsh({ user: adminUser, port, key }, bootSeconds));
  } catch (error) {
    const log = await keepEvidence('start console', await vm.consoleText());
    process.stderr.write(`${(await vm.consoleText()).slice(-3000)}\nAll of the console: ${log}\n`);
    await undo();
    throw error;
  }
  project.provide('image', image);
  project.provide('imageSha256', sha256);
  project.provide('sharedDevice', {
    port,
    keyDirectory: key.directory,
    publicKey: key.publicKey,
    vmDirectory: vm.directory,
  });
  return undo;
}
