import type { LookupFunction } from 'node:net';
import { quote, redact } from '../../ddns/redact.ts';
import type { Message } from '../message.ts';
import type { Outcome } from '../queue.ts';

/** What a channel may use. */
export type World = {
  /** Name of this device. */
  host: string;
  /** In which times are written; undefined: the device's own. */
  timeZone: string | undefined;
  now: () => number;
  /** As dns.lookup. */
  lookup?: LookupFunction | undefined;
  /** Ends what is under way. */
  signal: AbortSignal;
};

/** A way to the owner. */
export type Channel = {
  /** Sends a message. It throws nothing, and its outcome holds no secret. */
  send(message: Message, world: World): Promise<Outcome>;
};

/** Milliseconds for a request and its answer; Slack's own SDK waits as long as it takes, which is no good here. */
export const requestTimeout = 20_000;

/** No secret leaves a channel, not even when its server repeats it. */
export function guarded(
  secrets: readonly string[],
  send: (message: Message, world: World) => Promise<Outcome>,
): Channel {
  const clean = (text: string) => quote(redact(text, secrets));
  return {
    send: async (message, world) => {
      let outcome: Outcome;
      try {
        outcome = await send(message, world);
      } catch (error) {
        outcome = { kind: 'retry', reason: error instanceof Error ? error.message : String(error) };
      }
      return outcome.kind === 'delivered'
        ? { ...outcome, answer: clean(outcome.answer) }
        : { ...outcome, reason: clean(outcome.reason) };
    },
  };
}

/** Of a URL that lets one send: all of it that is no host, whole and in its parts. */
export function urlSecrets(url: string): string[] {
  const { pathname, search, searchParams, href } = new URL(url);
  return [
    href,
    url,
    ...(pathname === '/' ? [] : [`${pathname}${search}`, pathname]),
    // A short one ('api', 'services') is a word that an answer may have for other reasons.
    ...pathname.split('/').filter((part) => part.length >= 10),
    ...[...searchParams.values()].filter((value) => value.length >= 4),
  ];
}
