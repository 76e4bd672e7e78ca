/**
 * Rates that follow a line whose own rate varies: down fast when latency rises under load, up slowly while there is
 * load and none, never above what the owner has set nor below a part of it. The way of cake-autorate (Lynx, 2022),
 * with less of it: one look a second, and what is not known changes nothing.
 */

export type Direction = {
  /** Mbit/s in force. */
  rate: number;
  readonly highest: number;
  readonly lowest: number;
};

export type AutorateState = {
  /** Milliseconds that the idle line takes; undefined: not known yet. */
  baseline: number | undefined;
  upload: Direction | undefined;
  download: Direction | undefined;
};

export type Look = {
  /** Milliseconds, median of this second's pings; undefined: none was answered. */
  latency: number | undefined;
  /** Mbit/s that went through in this second. */
  sent: number;
  received: number;
};

/** Milliseconds above the baseline that are a queue somewhere else: three times what cake itself may add (5 ms). */
const late = 15;
/** Parts of the lowest rate and of the rate that count as load; and by how much it goes down and up. */
const busy = 0.5;
const full = 0.75;
const down = 0.85;
const up = 1.02;
/** Milliseconds a second by which the baseline may rise: a new route shows within minutes, a full line does not. */
const drift = 0.02;

/** What to do after one look; pure. */
export function nextRates(state: AutorateState, look: Look): AutorateState {
  const { latency } = look;
  if (latency === undefined) return state;
  const baseline =
    state.baseline === undefined ? latency : Math.min(latency, state.baseline + drift);
  const delay = latency - baseline;
  const use = (one: Direction | undefined, load: number) => (one ? load / one.rate : 0);
  const uploads = use(state.upload, look.sent);
  const downloads = use(state.download, look.received);
  const step = (
    one: Direction | undefined,
    load: number,
    isWorse: boolean,
  ): Direction | undefined => {
    if (one === undefined) return undefined;
    // A round trip does not say in which direction it waited: the fuller one is taken to be it.
    const isSuspect = isWorse || load > one.rate * full;
    if (delay > late && isSuspect && load > one.lowest * busy)
      return { ...one, rate: Math.max(one.lowest, Math.min(one.rate, load) * down) };
    if (delay < late / 2 && load > one.rate * full)
      return { ...one, rate: Math.min(one.highest, one.rate * up) };
    return one;
  };
  return {
    baseline,
    upload: step(state.upload, look.sent, uploads >= downloads),
    download: step(state.download, look.received, downloads >= uploads),
  };
}
