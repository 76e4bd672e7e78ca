import { buildTime } from '../image.ts';
import { readSettings } from '../settings.ts';
import { OwnerError, type Step } from '../step.ts';
import { at, readIfThere } from '../system.ts';

/**
 * Bits that the kernel's pool counts once it is initialised, and never fewer after it: POOL_BITS of
 * drivers/char/random.c since Linux 5.18.
 */
const initialised = 256;

/**
 * No key is made before the kernel's random numbers are unpredictable. Reading /dev/random blocks until
 * they are, and never again (random(4), Linux 5.6 and later), as getrandom(2) without flags does, which
 * is behind node:crypto. A program of its own reads it: one that waits can be killed.
 */
export const entropy: Step = {
  name: 'entropy',
  // Interrupts alone give it in a few seconds; the Pi's generator at once.
  timeout: 120_000,
  check: async (system) => {
    const bits = await readIfThere(at(system, '/proc/sys/kernel/random/entropy_avail'));
    return Number(bits) >= initialised;
  },
  apply: async (system) => {
    await system.run('head', ['--bytes=1', '/dev/random']).catch((error: unknown) => {
      throw new Error(
        `the kernel has no unpredictable random numbers yet, so no key was made: ${String(error)}`,
      );
    });
  },
};

/**
 * A Pi has no clock that runs without power. PID 1 starts it at the build time of the image, or at what
 * the time service saved last; the network corrects it later, and nothing here waits for that.
 */
export const time: Step = {
  name: 'time',
  check: async (system) => Date.now() / 1000 >= (await buildTime(system)),
  apply: async (system) => {
    const built = new Date((await buildTime(system)) * 1000).toISOString();
    throw new OwnerError(
      `The clock says ${new Date().toISOString()}, which is before this image was made (${built})`,
      'Start the device again; if it has a battery-backed clock, set that or take its battery out',
    );
  },
};

/** Tells once what is wrong with the owner's files; the steps that read them wait for this one. */
export const settings: Step = {
  name: 'settings',
  check: async (system) => {
    await readSettings(system);
    return true;
  },
  apply: async () => undefined,
};
