import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { BuildError, exitCode } from '../errors.ts';

/** Names the image to tests that start devices of their own, and starts none for all. */
export async function setup(project: TestProject): Promise<void> {
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
  project.provide('image', image);
}
