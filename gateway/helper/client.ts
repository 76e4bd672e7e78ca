import { connect, type Socket } from 'node:net';
import { GatewayError, UnavailableError } from '../errors.ts';
import { readLines } from './lines.ts';
import { type Helper, longestLine, reply } from './protocol.ts';
import type { Actor } from './verb.ts';

export type ClientOptions = {
  /** Milliseconds until an answer; above the helper's own patience, which says more. */
  timeout?: number;
  /** Milliseconds without a question until the connection is closed, so that the helper can end. */
  idle?: number;
};

type Waiting = {
  /** The connection that it was asked on. */
  socket: Socket;
  resolve(result: unknown): void;
  reject(error: GatewayError): void;
};

/**
 * The helper behind a socket. It connects when something is asked, and again after the connection is lost;
 * what was asked before that is not asked again, as it may have been done.
 */
export function connectHelper(path: string, options: ClientOptions = {}): Helper {
  const client = new HelperClient(path, options.timeout ?? 310_000, options.idle ?? 5_000);
  return {
    // The answer is what the verb's own schema has made of its result: protocol.ts, VerbResult.
    call: (verb, args, actor) => client.call(verb, args, actor) as Promise<never>,
  };
}

class HelperClient {
  readonly #path: string;
  readonly #timeout: number;
  readonly #idle: number;
  readonly #waiting = new Map<number, Waiting>();
  #socket: Socket | undefined;
  #closing: NodeJS.Timeout | undefined;
  #lastId = 0;

  constructor(path: string, timeout: number, idle: number) {
    this.#path = path;
    this.#timeout = timeout;
    this.#idle = idle;
  }

  async call(verb: string, args: unknown, actor: Actor): Promise<unknown> {
    this.#lastId += 1;
    const id = this.#lastId;
    const line = JSON.stringify({ id, verb, args, actor });
    if (Buffer.byteLength(line) > longestLine)
      throw new GatewayError(
        `That is longer than ${longestLine} bytes`,
        'Give less at a time',
        'refused',
      );
    clearTimeout(this.#closing);
    const socket = this.#connected();
    let timer: NodeJS.Timeout | undefined;
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(id, { socket, resolve, reject });
      timer = setTimeout(() => reject(lateError(verb, this.#timeout)), this.#timeout);
    });
    socket.ref();
    socket.write(`${line}\n`);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
      if (this.#waiting.size === 0) this.#rest();
    }
  }

  #connected(): Socket {
    if (this.#socket?.writable) return this.#socket;
    const socket = connect(this.#path);
    this.#socket = socket;
    let problem: NodeJS.ErrnoException | undefined;
    let isOpen = false;
    socket.on('connect', () => {
      isOpen = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      problem = error;
    });
    readLines(socket, (line) => this.#take(socket, line));
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined;
      const error = isOpen ? lostError() : unreachableError(this.#path, problem);
      for (const one of this.#waiting.values()) if (one.socket === socket) one.reject(error);
    });
    return socket;
  }

  #take(socket: Socket, line: string): void {
    const answer = parseReply(line);
    // One whose time is over waits no more.
    const one = answer && this.#waiting.get(answer.id);
    if (!answer) socket.destroy();
    else if (answer.ok) one?.resolve(answer.result);
    else one?.reject(new GatewayError(answer.message, answer.fix, answer.kind));
  }

  /** Nobody waits: neither this process nor the helper need stay for the connection. */
  #rest(): void {
    this.#socket?.unref();
    clearTimeout(this.#closing);
    this.#closing = setTimeout(() => this.#socket?.end(), this.#idle).unref();
  }
}

function parseReply(line: string): ReturnType<typeof reply.parse> | undefined {
  try {
    return reply.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}

function lateError(verb: string, timeout: number): GatewayError {
  return new GatewayError(
    `The helper has not answered within ${Math.round(timeout / 1000)} s: ${verb}`,
    'See sudo systemctl status pi-gateway-helper; what was asked for may still be done',
    'late',
  );
}

function lostError(): UnavailableError {
  return new UnavailableError(
    'The helper ended before it answered: what was asked for may have been done or not',
    'See how things are now, and why it ended: sudo journalctl -u pi-gateway-helper',
  );
}

function unreachableError(
  path: string,
  cause: NodeJS.ErrnoException | undefined,
): UnavailableError {
  return new UnavailableError(
    `The helper cannot be reached at ${path}: ${cause?.code ?? 'no answer'}`,
    'Start it: sudo systemctl start pi-gateway-helper.socket',
  );
}
