import { createServer } from 'node:net';
import { BuildError, exitCode, isErrno, type Problem } from '../errors.ts';

/**
 * Holds the machine-wide build lock until the process ends: binfmt_misc and the cores are shared by
 * the whole machine, so builds go one at a time.
 * @throws BuildError when another build runs.
 */
export async function takeBuildLock(): Promise<void> {
  await holdLock('pi-gateway-image-build', {
    what: 'Another pi-gateway-image build is running on this machine',
    fix: 'Wait for it to end, or stop it (it cleans up after itself)',
    code: exitCode.host,
  });
}

/**
 * Holds a lock of the whole machine until the process ends. An abstract unix socket (unix(7)) has no
 * file that a killed process could leave behind.
 * @throws BuildError of the problem when another process holds it.
 */
export async function holdLock(name: string, problem: Problem): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(isErrno(error, 'EADDRINUSE') ? new BuildError(problem) : error),
    );
    server.listen(`\0${name}`, resolve);
  });
  server.unref();
}
