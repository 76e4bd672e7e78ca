#!/usr/bin/env node
/**
 * What `pi-gateway-image` and npm's scripts start: cli.ts, but sooner. A build with nothing to do is mostly the
 * start of this program, once as it is called and once in the namespace of the build.
 */
import { enableCompileCache } from 'node:module';
import { join, resolve } from 'node:path';

// Node strips the types of a module and compiles it once. It lies where layers lie: who may write there
// decides what a build makes anyhow. A folder that cannot be written leaves it off.
const compiled = join(resolve(import.meta.dirname, '..'), 'cache/compiled');
enableCompileCache(compiled);

// Root needs no password for the namespace: what is wrong is found out within as well.
const straight = process.getuid?.() === 0 && process.argv[2] === 'build';
const { insideNamespace, runInNamespace } = await import('./chroot/namespace.ts');
if (straight && !insideNamespace())
  try {
    process.exitCode = await runInNamespace();
  } catch (error) {
    const { presentError } = await import('./ui/present.ts');
    process.exitCode = presentError(error, { json: process.argv.includes('--json') });
  }
else await import('./cli.ts');
