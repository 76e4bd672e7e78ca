import { batch, type Signal, signal } from '@preact/signals';
import { address } from './api.ts';
import { Recent } from './series.ts';

/** What comes by the stream of events: measured values, changes to ask for anew, clients of the VPN. */

/** connecting: not heard of yet; lost: no stream, tried again; off: nobody listens. */
export const link = signal<'off' | 'connecting' | 'live' | 'lost'>('off');
/** When anything came last; 0: never. */
export const heard = signal(0);
/** Areas that changed, each time a new set; `*` after a gap, in which anything may have changed. */
export const changed = signal<ReadonlySet<string>>(new Set());

export type Measured = { name: string; unit: string; value: number | null };
/** Names of all series and their units; changes only when there are others. */
export const units = signal<ReadonlyMap<string, string>>(new Map());
/** All values, and those of them that something shows: a thousand clients have thousands. */
const latest = new Map<string, number | null>();
const values = new Map<string, Signal<number | null>>();
const recent = new Map<string, Recent>();
/** Counts up with each measurement, for charts. */
export const measured = signal(0);

/** Of one peer as the kernel has it, by its public key. */
export type Peer = {
  public_key: string;
  endpoint: string | null;
  /** ISO 8601; null: never. */
  handshake: string | null;
  received_bytes: number;
  sent_bytes: number;
};
/** With bytes a second, of the time since it was last heard of. */
export type LivePeer = Peer & { received_rate: number; sent_rate: number };
const latestPeers = new Map<string, LivePeer>();
const peers = new Map<string, Signal<LivePeer | undefined>>();
let peersAt = 0;

/** The newest value of a series, also before there is one. */
export function newest(name: string): Signal<number | null> {
  let value = values.get(name);
  if (!value) {
    value = signal<number | null>(latest.get(name) ?? null);
    values.set(name, value);
  }
  return value;
}

/** What came live, from the first time on that somebody asks for it (of clients) or from the start (of the rest). */
export function recentOf(name: string): Recent {
  let kept = recent.get(name);
  if (!kept) {
    kept = new Recent(keep);
    recent.set(name, kept);
  }
  return kept;
}

export function peerOf(publicKey: string): Signal<LivePeer | undefined> {
  let peer = peers.get(publicKey);
  if (!peer) {
    peer = signal<LivePeer | undefined>(latestPeers.get(publicKey));
    peers.set(publicKey, peer);
  }
  return peer;
}

/** Seconds of what came live that are kept for charts: their shortest span. */
const keep = 3600;

const ofClient = /^vpn\..*\{/;

export function takeSeries(series: readonly Measured[], time: number): void {
  const known = units.peek();
  batch(() => {
    if (series.some(({ name }) => !known.has(name)))
      units.value = new Map([...known, ...series.map(({ name, unit }) => [name, unit] as const)]);
    for (const { name, value } of series) {
      latest.set(name, value);
      const shown = values.get(name);
      if (shown) shown.value = value;
      (ofClient.test(name) ? recent.get(name) : recentOf(name))?.add(time, value);
    }
    measured.value += 1;
  });
}

export function takePeers(list: readonly Peer[], time: number): void {
  // After a pause the mean of it would pass for the present.
  const seconds = (time - peersAt) / 1000;
  const gap = seconds <= 0 || seconds > 10;
  peersAt = time;
  batch(() => {
    for (const peer of list) {
      const old = latestPeers.get(peer.public_key);
      // Counters begin anew with the interface.
      const rate = (now: number, before: number | undefined) =>
        gap || before === undefined || now < before ? 0 : (now - before) / seconds;
      const next: LivePeer = {
        ...peer,
        received_rate: rate(peer.received_bytes, old?.received_bytes),
        sent_rate: rate(peer.sent_bytes, old?.sent_bytes),
      };
      latestPeers.set(peer.public_key, next);
      const shown = peers.get(peer.public_key);
      if (shown && (!old || differs(old, next))) shown.value = next;
    }
    // Who is gone from the interface is not connected.
    const there = new Set(list.map((peer) => peer.public_key));
    for (const key of latestPeers.keys())
      if (!there.has(key)) {
        latestPeers.delete(key);
        const shown = peers.get(key);
        if (shown) shown.value = undefined;
      }
  });
}

const differs = (a: LivePeer, b: LivePeer): boolean =>
  a.received_bytes !== b.received_bytes ||
  a.sent_bytes !== b.sent_bytes ||
  a.handshake !== b.handshake ||
  a.endpoint !== b.endpoint ||
  a.received_rate !== b.received_rate ||
  a.sent_rate !== b.sent_rate;

let source: EventSource | undefined;
let retry: ReturnType<typeof setTimeout> | undefined;
let delay = 1000;
const usual = 'series,check,alert,change';
let topics = usual;

/** Seconds between tries double up to this: a gateway takes about a minute to start. */
const longestDelay = 15_000;

/** @param gap whether something may have been missed since the last stream */
export function listen(gap = heard.peek() > 0): void {
  if (source && source.readyState !== EventSource.CLOSED) return;
  clearTimeout(retry);
  if (link.peek() === 'off') link.value = 'connecting';
  source = new EventSource(address('/events', { query: { topics } }));
  source.onopen = () => {
    delay = 1000;
    batch(() => {
      link.value = 'live';
      heard.value = Date.now();
      if (gap) changed.value = new Set(['*']);
    });
  };
  source.onerror = () => {
    source?.close();
    if (link.peek() === 'off') return;
    link.value = 'lost';
    clearTimeout(retry);
    retry = setTimeout(() => listen(), delay);
    delay = Math.min(delay * 2, longestDelay);
  };
  on('series', (data) => {
    const { series = [], time } = data as { series?: Measured[]; time?: string };
    takeSeries(series, time === undefined ? Date.now() : Date.parse(time));
  });
  on('vpn', (data) => {
    const { peers: list = [], time } = data as { peers?: Peer[]; time?: string };
    takePeers(list, time === undefined ? Date.now() : Date.parse(time));
  });
  on('check', () => announce(['services', 'status']));
  on('alert', () => announce(['alerts', 'status']));
  on('change', (data) => {
    const { area } = data as { area?: string };
    if (area !== undefined) announce([area]);
  });
}

function on(topic: string, take: (data: unknown) => void): void {
  source?.addEventListener(topic, (event: MessageEvent<string>) => {
    heard.value = Date.now();
    try {
      take(JSON.parse(event.data));
    } catch {
      // An event of another version of the gateway: the page is loaded anew at the next visit.
    }
  });
}

/** Events come in groups (a service and its check): one reload for all within a moment. */
const waiting = new Set<string>();
let announcing: ReturnType<typeof setTimeout> | undefined;
export function announce(areas: readonly string[]): void {
  for (const area of areas) waiting.add(area);
  if (announcing !== undefined) return;
  announcing = setTimeout(() => {
    announcing = undefined;
    changed.value = new Set(waiting);
    waiting.clear();
  }, 250);
}

/** Milliseconds without an event after which it is asked whether the gateway is still there. */
const quiet = 45_000;
let asking = false;

/** A network that swallows all ends no stream: only an answer tells that the other end is there. */
export async function watchLink(ping: () => Promise<unknown>): Promise<void> {
  if (asking || link.peek() !== 'live' || Date.now() - heard.peek() < quiet) return;
  asking = true;
  try {
    await ping();
    heard.value = Date.now();
  } catch {
    if (link.peek() === 'live') {
      link.value = 'lost';
      source?.close();
      source = undefined;
      listen();
    }
  } finally {
    asking = false;
  }
}

export function stopListening(): void {
  clearTimeout(retry);
  source?.close();
  source = undefined;
  link.value = 'off';
}

/** Tries at once, not only when it is time for it. */
export function listenNow(): void {
  delay = 1000;
  if (link.peek() !== 'live') {
    source?.close();
    source = undefined;
    listen();
  }
}

let watchers = 0;
let settling: ReturnType<typeof setTimeout> | undefined;

/** Milliseconds: from one view of the VPN to the next the stream stays as it is. */
const settle = 2000;

/** Clients of the VPN are asked of the kernel each second, so only while somebody looks at them. */
export function watchPeers(on: boolean): void {
  watchers += on ? 1 : -1;
  clearTimeout(settling);
  if (on) subscribe();
  else settling = setTimeout(subscribe, settle);
}

function subscribe(): void {
  const next = watchers > 0 ? `${usual},vpn` : usual;
  if (next === topics) return;
  topics = next;
  if (!source || link.peek() === 'off') return;
  source.close();
  source = undefined;
  listen(false);
}
