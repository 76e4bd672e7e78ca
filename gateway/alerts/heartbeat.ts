import { quote, redact } from '../ddns/redact.ts';
import type { HeartbeatStatus } from './alerts.ts';
import type { World } from './channels/channel.ts';
import { exchange, outcomeOf } from './channels/http.ts';
import type { HeartbeatSettings } from './settings.ts';

/**
 * A dead man's switch: a server elsewhere is asked every few minutes, and tells the owner when that ends. It
 * beats only while monitoring looks, or a gateway that is blind would pass for one that is well.
 */

/** Milliseconds since monitoring last looked, after which it counts as dead. */
const longestSilence = 180_000;

/** In a row: one answer that is missing is no news. */
const failuresTold = 3;

export type Heartbeat = {
  /** Monitoring has looked. @param critical Critical alerts that are active. */
  beat(critical: number): void;
  status(): HeartbeatStatus;
  /** It has failed for long enough to be told. */
  failing(): boolean;
  stop(): void;
};

export function startHeartbeat(
  settings: HeartbeatSettings,
  world: Omit<World, 'signal'>,
  secrets: readonly string[],
  pause = settings.every_minutes * 60_000,
): Heartbeat {
  const stopped = new AbortController();
  let looked: number | undefined;
  let critical = 0;
  let failures = 0;
  let sentAt: number | undefined;
  let problem: string | undefined;
  /** What was said last: another word is said at once. */
  let said: boolean | undefined;
  let timer: NodeJS.Timeout | undefined;
  let busy = false;

  const isBad = () => settings.fail_when_critical && critical > 0;

  const send = async () => {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    const bad = isBad();
    said = bad;
    try {
      const outcome = outcomeOf(
        await exchange(
          {
            url: bad ? (settings.fail_url ?? failUrl(settings.url)) : settings.url,
            method: settings.method,
            ...(settings.method === 'POST'
              ? { body: bad ? `${critical} critical alerts are active\n` : 'OK\n' }
              : {}),
          },
          settings,
          { ...world, signal: stopped.signal },
        ),
        world.now(),
      );
      // healthchecks.io answers 200 to anything, and says so in the body: OK (not found), OK (rate limited).
      const doubt =
        outcome.kind === 'delivered' && /OK \((not found|rate limited)\)/.exec(outcome.answer);
      if (outcome.kind !== 'delivered') problem = outcome.reason;
      else if (doubt) problem = `it answered ${outcome.answer}`;
      else problem = undefined;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    if (problem === undefined) {
      failures = 0;
      sentAt = world.now();
    } else {
      failures += 1;
      problem = quote(redact(problem, secrets));
    }
    busy = false;
    if (stopped.signal.aborted) return;
    schedule(pause);
  };

  const schedule = (delay: number) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const silent = looked === undefined || world.now() - looked > longestSilence;
      if (!silent) void send();
      else schedule(Math.min(pause, longestSilence));
    }, delay);
    timer.unref();
  };

  return {
    beat: (count) => {
      const first = looked === undefined;
      looked = world.now();
      critical = count;
      if (first || (said !== undefined && said !== isBad())) void send();
    },
    status: () => ({
      state: problem !== undefined ? 'failing' : sentAt === undefined ? 'unknown' : 'ok',
      problem,
      sentAt,
    }),
    failing: () => failures >= failuresTold,
    stop: () => {
      stopped.abort();
      clearTimeout(timer);
    },
  };
}

/** https://healthchecks.io/docs/signaling_failures/ */
function failUrl(url: string): string {
  const { origin, pathname, search } = new URL(url);
  return `${origin}${pathname.replace(/\/$/, '')}/fail${search}`;
}
