import { createServer } from 'node:net';
import { BuildError, exitCode, isErrno } from '../errors.ts';

/**
 * Holds the machine-wide build lock until the process ends: binfmt_misc and the cores are shared by
 * the whole machine, so builds go one at a time. An abstract unix socket (unix(7)) has no file that
 * a killed build could leave behind.
 * @throws BuildError when another build runs.
 */
export async function takeBuildLock(): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        isErrno(error, 'EADDRINUSE')
          ? new BuildError({
              what: 'Another pi-gateway-image build is running on this machine',
              fix: 'Wait for it to end, or stop it (it cleans up after itself)',
              code: exitCode.host,
            })
          : error,
      ),
    );
    server.listen('\0pi-gateway-image-build', resolve);
  });
  server.unref();
}
