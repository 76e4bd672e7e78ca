/** Exit codes of `pi-gateway-image`, the same for every command. */
export const exitCode = {
  ok: 0,
  /** Anything that went wrong while building, booting or inspecting. */
  failed: 1,
  /** The command line or the configuration is wrong; nothing was touched. */
  usage: 2,
  /** The host lacks something (a package, root, disk space, a kernel feature). */
  host: 3,
  /** A download, checksum or signature did not hold. */
  source: 4,
  /** Ended by SIGINT (128 + 2, as shells report it). */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCode)[keyof typeof exitCode];

export type Problem = {
  /** What is wrong, in one sentence. */
  what: string;
  /** The place: `file:line:column`, a URL, a stage, a command. */
  where?: string | undefined;
  /** What the user does next. */
  fix?: string | undefined;
  /** More lines for who wants them: the end of a log, the failed command's output. */
  detail?: string | undefined;
  code?: ExitCode | undefined;
  cause?: unknown;
};

/** An error that is part of the product: what went wrong, where, and what to do. */
export class BuildError extends Error {
  readonly where: string | undefined;
  readonly fix: string | undefined;
  readonly detail: string | undefined;
  readonly code: ExitCode;

  constructor(problem: Problem) {
    super(problem.what, { cause: problem.cause });
    this.name = 'BuildError';
    this.where = problem.where;
    this.fix = problem.fix;
    this.detail = problem.detail;
    this.code = problem.code ?? exitCode.failed;
  }
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True for a Node system error with this code, such as `ENOENT`. */
export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}
