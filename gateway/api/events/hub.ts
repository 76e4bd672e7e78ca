import type { ServerResponse } from 'node:http';
import type { KernelState } from '../../kernel-state.ts';
import type { Alert, Check, Monitor, MonitorEvent, Series } from '../../monitor/monitor.ts';
import type { Area } from '../operation.ts';
import { ProblemError } from '../problem.ts';
import type { EventData, Topic } from './topics.ts';

/** Open streams: each is a connection and its buffer. A browser has one for each tab. */
const mostStreams = 48;
const mostOfOne = 8;

/** Bytes that a slow reader may be behind; then it is cut off, and asks for all anew when it comes back. */
const longestQueue = 262_144;

/** Milliseconds: below the half minute after which proxies and phones' networks forget a silent connection. */
const heartbeat = 15_000;

export type HubOptions = {
  monitor: Monitor;
  kernel: KernelState;
  /** Asked now and then while somebody listens, so that the helper runs when something is clicked. */
  keepWarm: () => Promise<unknown>;
  /** Milliseconds between two looks at the peers and at whether the streams' sessions still hold. */
  beat?: number;
};

export type Listener = {
  topics: ReadonlySet<Topic>;
  /** Whose it is: no one may have all streams. */
  key: string;
  /** False once the session or token has ended. */
  holds: () => boolean;
};

type Stream = Listener & { response: ServerResponse; end: () => void };

/** Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html */
export class EventHub {
  readonly #options: HubOptions;
  readonly #streams = new Set<Stream>();
  readonly #unsubscribe: () => void;
  #timer: NodeJS.Timeout | undefined;
  #beats = 0;
  #isAsking = false;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#unsubscribe = options.monitor.subscribe((event) => this.#publish(event));
  }

  /**
   * Answers with events. What the topics say now comes first, so a client that was away has missed
   * nothing; for that reason there are no ids, and Last-Event-ID is not looked at.
   * @throws ProblemError 429 when too many are open.
   */
  async open(response: ServerResponse, listener: Listener): Promise<void> {
    const own = [...this.#streams].filter(({ key }) => key === listener.key).length;
    if (this.#streams.size >= mostStreams || own >= mostOfOne)
      throw new ProblemError(
        429,
        'Too many streams of events are open',
        'Close a tab or a client',
        {
          headers: { 'retry-after': '30' },
        },
      );
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      // nginx in front of us would hold events back.
      'x-accel-buffering': 'no',
    });
    response.write('retry: 3000\n\n');
    await new Promise<void>((resolve) => {
      const stream: Stream = { ...listener, response, end: resolve };
      this.#streams.add(stream);
      response.on('close', () => this.#end(stream));
      this.#greet(stream);
      this.#run();
    });
  }

  /** An area's state is another now. */
  changed(area: Area): void {
    this.#send('change', { area });
    if (area === 'accounts') this.#endUnproven();
  }

  close(): void {
    this.#unsubscribe();
    for (const stream of this.#streams) this.#end(stream);
  }

  get size(): number {
    return this.#streams.size;
  }

  #greet(stream: Stream): void {
    const { monitor } = this.#options;
    const give = <T extends Topic>(topic: T, data: EventData<T>) =>
      this.#write(stream, textOf(topic, data));
    if (stream.topics.has('series')) give('series', seriesOut(monitor.series()));
    if (stream.topics.has('check'))
      for (const check of monitor.checks()) give('check', checkOut(check));
    if (stream.topics.has('alert'))
      for (const alert of monitor.alerts().slice(0, 100)) give('alert', alertOut(alert));
  }

  #publish(event: MonitorEvent): void {
    if (event.type === 'series') this.#send('series', seriesOut(event.series));
    else if (event.type === 'check') this.#send('check', checkOut(event.check));
    else this.#send('alert', alertOut(event.alert));
  }

  #send<T extends Topic>(topic: T, data: EventData<T>): void {
    const listening = [...this.#streams].filter(({ topics }) => topics.has(topic));
    if (listening.length === 0) return;
    const text = textOf(topic, data);
    for (const stream of listening) this.#write(stream, text);
  }

  #write(stream: Stream, text: string): void {
    if (!this.#streams.has(stream)) return;
    stream.response.write(text);
    if (stream.response.writableLength > longestQueue) {
      stream.response.destroy();
      this.#end(stream);
    }
  }

  #end(stream: Stream): void {
    if (!this.#streams.delete(stream)) return;
    stream.response.end();
    stream.end();
    if (this.#streams.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }

  #endUnproven(): void {
    for (const stream of this.#streams) if (!stream.holds()) this.#end(stream);
  }

  #run(): void {
    if (this.#timer || this.#streams.size === 0) return;
    const beat = this.#options.beat ?? 1000;
    this.#warm();
    this.#timer = setInterval(() => {
      this.#beats += 1;
      this.#endUnproven();
      this.#askPeers();
      if (this.#beats % Math.ceil(heartbeat / beat) !== 0) return;
      for (const stream of this.#streams) this.#write(stream, ': still here\n\n');
      this.#warm();
    }, beat);
    this.#askPeers();
  }

  #warm(): void {
    // Nobody waits for it: whatever is asked for next says what is wrong.
    this.#options.keepWarm().catch(() => undefined);
  }

  #askPeers(): void {
    const wanted = [...this.#streams].some(({ topics }) => topics.has('vpn'));
    if (!wanted || this.#isAsking) return;
    this.#isAsking = true;
    this.#options.kernel
      .wireguard()
      .then((peers) =>
        this.#send('vpn', {
          time: new Date().toISOString(),
          peers: peers.map((peer) => ({
            interface: peer.interface,
            public_key: peer.publicKey,
            endpoint: peer.endpoint ?? null,
            handshake: peer.handshake === 0 ? null : iso(peer.handshake * 1000),
            received_bytes: peer.received,
            sent_bytes: peer.sent,
          })),
        }),
      )
      // The interface is down, or just not there: the next second tells.
      .catch(() => undefined)
      .finally(() => {
        this.#isAsking = false;
      });
  }
}

function textOf<T extends Topic>(topic: T, data: EventData<T>): string {
  // JSON has no line breaks but in strings, where they are escaped.
  return `event: ${topic}\ndata: ${JSON.stringify(data)}\n\n`;
}

const iso = (at: number) => new Date(at).toISOString();

function seriesOut(series: readonly Series[]): EventData<'series'> {
  return {
    time: iso(Date.now()),
    series: series.map(({ name, unit, value }) => ({ name, unit, value: value ?? null })),
  };
}

function checkOut({ id, title, health, detail, since, needs }: Check): EventData<'check'> {
  return { id, title, health, detail, since: iso(since * 1000), needs: [...needs] };
}

function alertOut(alert: Alert): EventData<'alert'> {
  return {
    id: alert.id,
    source: alert.source,
    severity: alert.severity,
    text: alert.text,
    fired_at: iso(alert.firedAt),
    resolved_at: alert.resolvedAt === undefined ? null : iso(alert.resolvedAt),
    suppressed_by: alert.suppressedBy ?? null,
  };
}
