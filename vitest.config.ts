import { defineConfig } from 'vitest/config';
import { FailureDetails } from './ci/failure-details.ts';

/**
 * Kinds of tests: `unit` in seconds, `browser` uses the dashboard in Chromium, `build` makes images, `boot`
 * starts one in QEMU, `lab` starts one among other hosts and probes it from outside, `services` does
 * so with every service on, `figures` measures that device, `boot-time` how long one takes to start with nothing
 * beside it, `power` cuts a device's power; these five are no part of npm test: npm run lab, services, figures
 * (both), power.
 */
// biome-ignore lint/style/noDefaultExport: vitest takes its configuration from the default export
export default defineConfig({
  test: {
    reporters: ['default', new FailureDetails()],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{builder,firstboot,gateway,stages,ci}/**/*.test.ts'],
          exclude: [
            '**/*.{boot,browser,build,figures,lab,services}.test.ts',
            '**/{boot,lab,power}.test.ts',
          ],
          // Some write durably hundreds of times, which a busy disk takes long for.
          testTimeout: 180_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'browser',
          include: ['gateway/**/*.browser.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'build',
          include: ['{builder,firstboot}/**/*.build.test.ts'],
          exclude: ['**/*.long.build.test.ts'],
          testTimeout: 1_200_000,
          hookTimeout: 1_200_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'boot',
          include: ['{builder,stages}/**/*.boot.test.ts', 'stages/**/boot.test.ts'],
          exclude: ['**/*.long.boot.test.ts'],
          globalSetup: ['builder/qemu/global-setup.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'long',
          include: ['{builder,stages}/**/*.long.{boot,build}.test.ts'],
          globalSetup: ['builder/qemu/global-setup.ts'],
          testTimeout: 1_200_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'lab',
          include: ['stages/**/lab.test.ts', '{builder,stages}/**/*.lab.test.ts'],
          globalSetup: ['builder/lab/global-setup.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'services',
          include: ['stages/**/*.services.test.ts'],
          globalSetup: ['builder/lab/global-setup.ts'],
          testTimeout: 600_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'figures',
          include: ['builder/lab/*.figures.test.ts'],
          globalSetup: ['builder/lab/global-setup.ts'],
          testTimeout: 1_200_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'boot-time',
          include: ['builder/qemu/*.figures.test.ts'],
          testTimeout: 3_600_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'power',
          include: ['stages/**/power.test.ts'],
          globalSetup: ['builder/qemu/image-setup.ts'],
          testTimeout: 5_400_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
