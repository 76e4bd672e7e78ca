/** How a thing that is watched is doing. */
export type Health = 'ok' | 'warning' | 'failed' | 'unknown';

/** One number that is measured again and again. */
export type Series = {
  /** `area.what` with a label where there are several: `network.received{eth0}`. */
  name: string;
  /** UCUM or a word: `%`, `By`, `By/s`, `Cel`, `s`, `1`. */
  unit: string;
  /** The newest value; undefined: not measured yet, or it cannot be. */
  value: number | undefined;
};

/** Values of one series, oldest first, `step` seconds apart; null where nothing was measured. */
export type History = { start: number; step: number; values: (number | null)[] };

/** A thing whose health is watched: a service, a port, a certificate, the uplink. */
export type Check = {
  /** `unit:ssh.service`, `http:dashboard`, `uplink`. */
  id: string;
  title: string;
  health: Health;
  /** What was found, in words; never a secret. */
  detail: string;
  /** Seconds since 1970 of the last change of health. */
  since: number;
  /** Checks without which this one cannot be well: no alert of its own while one of them has failed. */
  needs: readonly string[];
};

/** Something the owner should know; told once when it begins and once when it ends. */
export type Alert = {
  id: string;
  /** What it is about: the check or the rule. */
  source: string;
  severity: 'info' | 'warning' | 'critical';
  text: string;
  /** Milliseconds since 1970. */
  firedAt: number;
  resolvedAt: number | undefined;
  /** Held back as something it depends on has failed. */
  suppressedBy: string | undefined;
};

export type MonitorEvent =
  | { type: 'series'; series: readonly Series[] }
  | { type: 'check'; check: Check }
  | { type: 'alert'; alert: Alert };

/** What the rest of the runtime asks of monitoring. */
export type Monitor = {
  series(): readonly Series[];
  checks(): readonly Check[];
  /** Those that fire first, then the newest. */
  alerts(): readonly Alert[];
  /** @param span seconds back from now. Undefined if there is no such series. */
  history(name: string, span: number): History | undefined;
  /** @returns a function that ends it. */
  subscribe(listener: (event: MonitorEvent) => void): () => void;
  /** Text of /metrics: Prometheus's exposition format 0.0.4. */
  prometheus(): string;
};
