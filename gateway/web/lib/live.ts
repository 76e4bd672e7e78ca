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
const values = new Map<string, Signal<number | null>>();
const recent = new Map<string, Recent>();
/** Counts up with each measurement, for charts. */
export const measured = signal(0);

/** Of one peer as the kernel has it, by its public key. */
export type LivePeer = {
  public_key: string;
  endpoint: string | null;
  /** ISO 8601; null: never. */
  handshake: string | null;
  received_bytes: number;
  sent_bytes: number;
};
const peers = new Map<string, Signal<LivePeer | undefined>>();

/** The newest value of a series, also before there is one. */
export function newest(name: string): Signal<number | null> {
  let value = values.get(name);
  if (!value) {
    value = signal<number | null>(null);
    values.set(name, value);
  }
  return value;
}

export function recentOf(name: string): Recent | undefined {
  return recent.get(name);
}

export function peerOf(publicKey: string): Signal<LivePeer | undefined> {
  let peer = peers.get(publicKey);
  if (!peer) {
    peer = signal<LivePeer | undefined>(undefined);
    peers.set(publicKey, peer);
  }
  return peer;
}

/** Seconds of what came live that are kept for charts: their shortest span. */
const keep = 3600;

export function takeSeries(series: readonly Measured[], time: number): void {
  const known = units.peek();
  batch(() => {
    if (series.some(({ name }) => !known.has(name)))
      units.value = new Map([...known, ...series.map(({ name, unit }) => [name, unit] as const)]);
    for (const { name, value } of series) {
      newest(name).value = value;
      let kept = recent.get(name);
      if (!kept) {
        kept = new Recent(keep);
        recent.set(name, kept);
      }
      kept.add(time, value);
    }
    measured.value += 1;
  });
}

export function takePeers(list: readonly LivePeer[]): void {
  batch(() => {
    for (const peer of list) {
      const known = peerOf(peer.public_key);
      const old = known.peek();
      if (
        !old ||
        old.received_bytes !== peer.received_bytes ||
        old.sent_bytes !== peer.sent_bytes ||
        old.handshake !== peer.handshake ||
        old.endpoint !== peer.endpoint
      )
        known.value = peer;
    }
  });
}

let source: EventSource | undefined;
let retry: ReturnType<typeof setTimeout> | undefined;
let delay = 1000;
let topics = 'series,check,alert,change';

/** Seconds between tries double up to this: a gateway takes about a minute to start. */
const longestDelay = 15_000;

export function listen(): void {
  if (source && source.readyState !== EventSource.CLOSED) return;
  clearTimeout(retry);
  if (link.peek() === 'off') link.value = 'connecting';
  const gap = heard.peek() > 0;
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
    retry = setTimeout(listen, delay);
    delay = Math.min(delay * 2, longestDelay);
  };
  on('series', (data) => {
    const { series = [], time } = data as { series?: Measured[]; time?: string };
    takeSeries(series, time === undefined ? Date.now() : Date.parse(time));
  });
  on('vpn', (data) => takePeers((data as { peers?: LivePeer[] }).peers ?? []));
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

/** Clients of the VPN are asked of the kernel each second, so only while somebody looks at them. */
export function watchPeers(on: boolean): void {
  const next = on ? 'series,check,alert,change,vpn' : 'series,check,alert,change';
  if (next === topics) return;
  topics = next;
  if (!source || link.peek() === 'off') return;
  source.close();
  source = undefined;
  listen();
}
