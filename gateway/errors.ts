import { printable } from './logs/redact.ts';

/**
 * refused: the input is none; conflict: it is so already, or something else is under way; missing: there is
 * no such thing; late: it has not come to an end in time, and may still; busy: it was not begun, and may be
 * asked for again; failed: the rest.
 */
export type FailureKind = 'refused' | 'conflict' | 'missing' | 'late' | 'busy' | 'failed';

/** Something that the owner can mend: what is wrong, and what to do. */
export class GatewayError extends Error {
  readonly fix: string;
  readonly kind: FailureKind;

  constructor(message: string, fix: string, kind: FailureKind = 'failed') {
    super(message);
    this.name = 'GatewayError';
    this.fix = fix;
    this.kind = kind;
  }
}

/** Another part of the gateway does not answer now: nothing was wrong with what was asked, and later it may be done. */
export class UnavailableError extends GatewayError {
  constructor(message: string, fix: string) {
    super(message, fix, 'failed');
    this.name = 'UnavailableError';
  }
}

/** Says on stderr what went wrong and what to do; some of it may be a stranger's text. @returns the exit code. */
export function present(error: unknown): number {
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`Error: ${printable(message)}\n`);
  if (error instanceof GatewayError) process.stderr.write(`  → ${printable(error.fix)}\n`);
  return 1;
}

/** @throws GatewayError unless the command runs as root. */
export function requireRoot(): void {
  if (process.getuid?.() !== 0)
    throw new GatewayError('This needs root', 'Run it with sudo: sudo pi-gateway …');
}
