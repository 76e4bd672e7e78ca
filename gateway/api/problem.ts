import { STATUS_CODES } from 'node:http';
import { type FailureKind, GatewayError, UnavailableError } from '../errors.ts';

/** An answer other than what was asked for: RFC 9457, with what to do about it (`fix`). */
export type Problem = {
  status: number;
  title: string;
  detail: string;
  fix: string;
  /** Where in the input what is wrong: `body.name`. */
  errors?: readonly { at: string; message: string }[];
};

/** The request cannot be answered as asked; thrown anywhere, said by the server. */
export class ProblemError extends Error {
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    detail: string,
    fix: string,
    more: { headers?: Record<string, string>; errors?: Problem['errors'] } = {},
  ) {
    super(detail);
    this.name = 'ProblemError';
    this.problem = {
      status,
      title: STATUS_CODES[status] ?? 'Error',
      detail,
      fix,
      ...(more.errors ? { errors: more.errors } : {}),
    };
    this.headers = more.headers ?? {};
  }
}

const statusOf: Record<FailureKind, number> = {
  refused: 400,
  missing: 404,
  conflict: 409,
  late: 504,
  busy: 503,
  failed: 500,
};

/** Seconds: systemd starts the helper within them even on a busy Pi. */
const retryHelper = '5';

/** What the client is told of an error; undefined: one that nobody foresaw, of which it learns nothing. */
export function problemOf(error: unknown): ProblemError | undefined {
  if (error instanceof ProblemError) return error;
  if (error instanceof UnavailableError)
    return new ProblemError(503, error.message, error.fix, {
      headers: { 'retry-after': retryHelper },
    });
  if (error instanceof GatewayError)
    return new ProblemError(statusOf[error.kind], error.message, error.fix, {
      ...(error.kind === 'busy' ? { headers: { 'retry-after': retryHelper } } : {}),
    });
  return undefined;
}

export function tooMany(seconds: number, what: string): ProblemError {
  return new ProblemError(429, what, `Try again in ${seconds} s`, {
    headers: { 'retry-after': String(seconds) },
  });
}
