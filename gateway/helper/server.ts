import { createServer, type Server, type Socket } from 'node:net';
import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { type FailureKind, GatewayError } from '../errors.ts';
import { type AuditEntry, addAudit } from './audit.ts';
import { readLines } from './lines.ts';
import { longestLine, type reply, request } from './protocol.ts';
import type { Verb } from './verb.ts';

export type ServerOptions = {
  system: System;
  verbs: Record<string, Verb>;
  /** Milliseconds without work until it ends. */
  idle: number;
  /** Milliseconds that one verb may take. */
  patience: number;
};

/** Connections at a time: the API keeps one, the rest is for whoever looks into it by hand. */
const mostConnections = 16;
/** Requests of one connection that wait or run at a time; while there are as many, no more is read of it. */
const mostRequests = 64;

type Request = z.output<typeof request>;
type Reply = z.input<typeof reply>;
type Failure = { kind: FailureKind; message: string; fix: string };

/**
 * The helper on a socket that others may open: it does verbs, checked by their schemas, and nothing else.
 * @returns what it ends for: `idle`; or `hung`, when a verb that changes did not come to an end. Nothing may
 *   be changed beside that one, so the whole process must go.
 */
export function serveHelper(options: ServerOptions): {
  server: Server;
  ended: Promise<'idle' | 'hung'>;
  /** Takes no more connections, and ends as soon as what is under way is done. */
  drain(): void;
} {
  const helper = new HelperServer(options);
  return { server: helper.server, ended: helper.ended, drain: () => helper.drain() };
}

class HelperServer {
  readonly server: Server;
  readonly ended: Promise<'idle' | 'hung'>;
  readonly #options: ServerOptions;
  readonly #sockets = new Set<Socket>();
  #settle: (why: 'idle' | 'hung') => void = () => undefined;
  #running = 0;
  #isDraining = false;
  /** A change did not come to an end, and may still be at work: no other is begun. */
  #isHung = false;
  /** Settles when the last of the changes that wait is done. */
  #changes: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | undefined;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.server = createServer((socket) => this.#welcome(socket));
    this.server.maxConnections = mostConnections;
    this.#rest();
  }

  drain(): void {
    this.#isDraining = true;
    this.server.close();
    if (this.#running === 0) this.#end('idle');
  }

  #end(why: 'idle' | 'hung'): void {
    this.server.close();
    // With what was answered last.
    for (const socket of this.#sockets) socket.destroySoon();
    this.#settle(why);
  }

  #welcome(socket: Socket): void {
    this.#sockets.add(socket);
    this.#rest();
    let open = 0;
    socket.on('close', () => this.#sockets.delete(socket));
    // Who asked is gone; what was asked for is done all the same.
    socket.on('error', () => undefined);
    readLines(socket, (line) => {
      open += 1;
      this.#running += 1;
      clearTimeout(this.#idle);
      if (open >= mostRequests) socket.pause();
      void this.#answer(line).then((answer) => {
        if (answer === undefined) socket.destroy();
        else if (socket.writable) socket.write(`${answer}\n`);
        open -= 1;
        this.#running -= 1;
        if (open < mostRequests) socket.resume();
        if (this.#running > 0) return;
        if (this.#isDraining) this.#end('idle');
        else this.#rest();
      });
    });
  }

  /** A connection that nobody says anything on is no reason to stay. */
  #rest(): void {
    clearTimeout(this.#idle);
    if (this.#running === 0) this.#idle = setTimeout(() => this.#end('idle'), this.#options.idle);
  }

  /** @returns the line to send; undefined for what is no request of the protocol. */
  async #answer(line: string): Promise<string | undefined> {
    const asked = parseRequest(line);
    if (!asked) {
      this.#options.system.say('A connection was ended: it sent what is no request');
      return undefined;
    }
    const done = await this.#do(asked).catch((error: unknown): Reply => {
      const { kind, message, fix } = failureOf(error);
      // What the owner can mend, its asker tells them; the rest is for the journal.
      if (!(error instanceof GatewayError))
        this.#options.system.say(`${asked.verb} failed: ${message}`);
      return { id: asked.id, ok: false, kind, message, fix };
    });
    const text = JSON.stringify(done);
    if (Buffer.byteLength(text) <= longestLine) return text;
    return JSON.stringify({
      id: asked.id,
      ok: false,
      kind: 'failed',
      message: `The answer of ${asked.verb} is longer than ${longestLine} bytes`,
      fix: 'Ask for less at a time',
    } satisfies Reply);
  }

  async #do(asked: Request): Promise<Reply> {
    const verb = Object.hasOwn(this.#options.verbs, asked.verb)
      ? this.#options.verbs[asked.verb]
      : undefined;
    if (!verb) {
      // Its callers are of the same image: one that does not know its verbs is somebody else.
      this.#options.system.say('Refused what is no verb of the helper');
      throw new GatewayError(
        'The helper has no such verb',
        'Restart the gateway: sudo systemctl restart pi-gatewayd',
        'refused',
      );
    }
    const args = verb.args.safeParse(asked.args);
    if (!args.success) {
      this.#options.system.say(`Refused ${asked.verb}: arguments that its schema does not take`);
      throw new GatewayError(
        // Names of keys and rules, never what was given.
        `${asked.verb} is refused: ${z.prettifyError(args.error).replaceAll(/\s*\n\s*/g, ' ')}`,
        'Mend what it says and ask again',
        'refused',
      );
    }
    const work = () => this.#run(verb, args.data, asked);
    const result = verb.changes ? await this.#inTurn(work) : await work();
    return { id: asked.id, ok: true, result };
  }

  /** After all changes that came before, whether those went well or not. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const begin = () => {
      if (!this.#isHung) return work();
      throw new GatewayError(
        'A change before this one hangs, so this one was not begun',
        'Ask again in some seconds',
        'busy',
      );
    };
    const turn = this.#changes.then(begin, begin);
    this.#changes = turn.catch(() => undefined);
    return turn;
  }

  async #run(verb: Verb, args: unknown, { verb: name, actor }: Request): Promise<unknown> {
    const { system, patience } = this.#options;
    const record = async (outcome: AuditEntry['outcome']) => {
      if (!verb.changes) return;
      const audited = verb.audited ? verb.audited(args) : args;
      const entry: AuditEntry = {
        at: new Date().toISOString(),
        actor,
        verb: name,
        ...(audited === undefined ? {} : { args: audited }),
        outcome,
      };
      // On a full disk the owner must still be able to change something; the journal has it then.
      await addAudit(system, entry).catch((error: unknown) =>
        system.say(`The audit log cannot be written: ${String(error)}: ${JSON.stringify(entry)}`),
      );
    };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new HungError(name, patience)), patience);
    });
    let result: unknown;
    try {
      result = verb.result.parse(await Promise.race([verb.run(system, args, actor), late]));
    } catch (error) {
      const isHung = error instanceof HungError && verb.changes;
      this.#isHung ||= isHung;
      const { kind } = failureOf(error);
      // Who reads the record asks whether it was done.
      await record(kind === 'late' || kind === 'busy' ? 'failed' : kind);
      // After the answer is on its way.
      if (isHung) setTimeout(() => this.#end('hung'), 100);
      throw error;
    } finally {
      clearTimeout(timer);
    }
    await record('done');
    return result;
  }
}

class HungError extends GatewayError {
  constructor(verb: string, patience: number) {
    super(
      `${verb} has not come to an end within ${Math.round(patience / 1000)} s`,
      'It may still be done: see how things are now, and what hangs: sudo journalctl -u pi-gateway-helper',
      'late',
    );
  }
}

function parseRequest(line: string): Request | undefined {
  try {
    return request.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof GatewayError)
    return { kind: error.kind, message: error.message, fix: error.fix };
  return {
    kind: 'failed',
    message: error instanceof Error ? error.message : String(error),
    fix: 'See sudo journalctl -u pi-gateway-helper',
  };
}
