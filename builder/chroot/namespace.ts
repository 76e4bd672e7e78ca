import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { BuildError, exitCode } from '../errors.ts';
import { hostPath } from '../exec.ts';

const marker = 'PI_GATEWAY_NAMESPACE';

/** True in the process that {@link runInNamespace} started. */
export function insideNamespace(): boolean {
  return process.env[marker] === '1';
}

/**
 * Runs this same command line again as root in a private mount and PID namespace and returns its
 * exit code.
 *
 * Whatever ends the build, even SIGKILL of any process of it, the kernel then ends every process of
 * the PID namespace and with the last one drops its mounts; loop devices are attached with
 * autoclear and go with their mount. So there is no clean-up code that a kill could skip.
 * - setpriv(1) --pdeathsig: unshare dies with this process.
 * - unshare(1) --kill-child: the namespace's first process dies with unshare.
 */
export async function runInNamespace(): Promise<number> {
  const script = process.argv[1];
  if (!script) throw new Error('no script to run again');
  const self = [process.execPath, ...process.execArgv, script, ...process.argv.slice(2)];
  const isolated = [
    'setpriv',
    '--pdeathsig',
    'KILL',
    'unshare',
    '--mount',
    '--propagation',
    'private',
    '--pid',
    '--fork',
    '--kill-child=KILL',
    '--mount-proc',
    ...self,
  ];
  const root = process.getuid?.() === 0;
  const [command = '', ...args] = root
    ? isolated
    : ['sudo', `--preserve-env=${marker},NO_COLOR,CI,SOURCE_DATE_EPOCH,DOCKER_CONFIG`, ...isolated];
  const child = spawn(command, args, {
    stdio: 'inherit',
    env: { ...process.env, [marker]: '1', PATH: `${process.env.PATH ?? ''}:${hostPath}` },
  });
  // Ctrl-C reaches the whole foreground group by itself; kill and service managers signal only us,
  // and unshare ignores both while it waits, so the build must hear it from here.
  const forward = (signal: NodeJS.Signals) => () => {
    if (signal === 'SIGTERM' || !process.stdin.isTTY) child.kill('SIGKILL');
  };
  const handlers = (['SIGTERM', 'SIGINT', 'SIGHUP'] as const).map(
    (signal) => [signal, forward(signal)] as const,
  );
  for (const [signal, handler] of handlers) process.on(signal, handler);
  let ended: NodeJS.Signals | undefined;
  for (const [signal] of handlers) {
    process.once(signal, () => {
      ended = signal;
    });
  }
  return await new Promise<number>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(
        new BuildError({
          what: root
            ? `The command '${command}' is not installed`
            : 'Building needs root (loop devices, overlayfs, chroot) and sudo is not installed',
          fix: root ? 'Run: npm run doctor' : 'Run the command as root, or install sudo',
          code: exitCode.host,
          cause,
        }),
      ),
    );
    child.once('exit', (code, signal) => {
      for (const [name, handler] of handlers) process.off(name, handler);
      if (ended) resolve(128 + constants.signals[ended]);
      else if (signal) resolve(128 + constants.signals[signal]);
      else resolve(code ?? exitCode.failed);
    });
  });
}
