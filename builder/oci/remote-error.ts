import { BuildError, exitCode } from '../errors.ts';

/** A store for layers that cannot be used: it is away, too slow, full, or does not let us in. */
export class RemoteError extends BuildError {
  constructor(what: string, where: string, cause?: unknown) {
    super({ what, where, code: exitCode.source, cause });
  }
}
