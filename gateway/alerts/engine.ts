import type { Condition } from './condition.ts';
import { type Severity, severities } from './settings.ts';

/**
 * Decides what is told, and once: a function of what was told before and what monitoring finds now. It
 * knows neither channels nor files, and its clock is the one that it is given.
 */

/**
 * fired: it begins; raised: it has become worse; flapping: it comes and goes, and nothing more is told until
 * that ends; steady: what was flapping stays; reminder: it still lasts; resolved: it is over.
 */
export const eventKinds = [
  'fired',
  'raised',
  'flapping',
  'steady',
  'reminder',
  'resolved',
] as const;
export type EventKind = (typeof eventKinds)[number];

/** Something that is told. */
export type AlertEvent = {
  kind: EventKind;
  /** Id of the alert that it belongs to. */
  alert: string;
  source: string;
  severity: Severity;
  text: string;
  /** Milliseconds since 1970. */
  firedAt: number;
  at: number;
};

/** An alert that was told and is not over. Times in `ran` are the engine's own. */
export type Told = {
  id: string;
  source: string;
  /** The worst so far. */
  severity: Severity;
  text: string;
  /** Milliseconds since 1970. */
  firedAt: number;
  /** As its condition had them last. */
  needs: readonly string[];
  remindedRan: number;
  flapping?: { active: boolean; ran: number } | undefined;
  /** Monitoring has said nothing of it since then. */
  missingRan?: number | undefined;
};

/** Active, and not told: what it needs has failed, or may turn out to have. */
export type Held = {
  id: string;
  needs: readonly string[];
  severity: Severity;
  text: string;
  firedAt: number;
  ran: number;
  suppressedBy?: string | undefined;
  /** What held it back is over since then. */
  freeRan?: number | undefined;
  missingRan?: number | undefined;
};

export type EngineState = {
  /** Of this device, random: it makes the ids its own. */
  device: string;
  /** Alerts so far, for their ids. */
  count: number;
  /**
   * Milliseconds that the engine has run. All waiting is measured by it: a Pi's clock jumps when it finds the
   * time, and while the device is off nobody can see how a thing is.
   */
  ran: number;
  /** When it last looked, by the clock. */
  at: number;
  told: ReadonlyMap<string, Told>;
  held: ReadonlyMap<string, Held>;
  /** When each source was told, in the last hour. */
  firings: ReadonlyMap<string, readonly number[]>;
};

/** In milliseconds, but for the count. */
export type Rules = {
  settle: number;
  outlive: number;
  flappingCount: number;
  stable: number;
  /** 0: never. */
  remind: number;
};

export const freshEngine = (device: string): EngineState => ({
  device,
  count: 0,
  ran: 0,
  at: 0,
  told: new Map(),
  held: new Map(),
  firings: new Map(),
});

const hour = 3_600_000;

/** Of what monitoring does not speak for so long is watched no more: the owner took it out of the settings. */
export const forgottenAfter = 15 * 60_000;

/** … and so long if monitoring does not speak of what it needs either. */
const forgottenBlind = 24 * hour;

/** More than this between two looks is a jump of the clock. Less than what must not pass by one. */
const longestStep = 5 * 60_000;

/** No check needs as many. */
const mostNeeds = 16;

/** Texts come from checks, which may quote what a service says. */
const longestText = 500;

const rank = (severity: Severity) => severities.indexOf(severity);

const clip = (text: string) =>
  text.length > longestText ? `${text.slice(0, longestText - 1)}…` : text;

/**
 * One look.
 * @returns the state after it, and what is to be told, in order. The state is the same object in `told` and
 *   `firings` if nothing in them has changed.
 */
export function advance(
  before: EngineState,
  conditions: readonly Condition[],
  now: number,
  rules: Rules,
): { state: EngineState; events: AlertEvent[] } {
  const look = new Look(before, merged(conditions), now, rules);
  look.all();
  return { state: look.after(), events: look.events };
}

/** One condition for each source: of several the active one, and the worst. */
function merged(conditions: readonly Condition[]): Map<string, Condition> {
  const found = new Map<string, Condition>();
  for (const one of conditions) {
    const other = found.get(one.source);
    const worse =
      !other ||
      (one.active && !other.active) ||
      (one.active === other.active && rank(one.severity) > rank(other.severity));
    if (worse) found.set(one.source, one);
  }
  return found;
}

class Look {
  readonly events: AlertEvent[] = [];
  readonly #before: EngineState;
  readonly #conditions: ReadonlyMap<string, Condition>;
  readonly #now: number;
  readonly #ran: number;
  readonly #rules: Rules;
  /** Copied when something changes. */
  #told: Map<string, Told> | undefined;
  #firings: Map<string, readonly number[]> | undefined;
  readonly #held: Map<string, Held>;
  #count: number;

  constructor(
    before: EngineState,
    conditions: ReadonlyMap<string, Condition>,
    now: number,
    rules: Rules,
  ) {
    this.#before = before;
    this.#conditions = conditions;
    this.#now = now;
    this.#ran =
      before.ran + (before.at === 0 ? 0 : Math.min(Math.max(0, now - before.at), longestStep));
    this.#rules = rules;
    this.#held = new Map(before.held);
    this.#count = before.count;
  }

  all(): void {
    this.#forgetFirings();
    for (const condition of this.#conditions.values()) {
      if (condition.active) this.#active(condition);
      else this.#inactive(condition);
    }
    for (const source of [...this.#before.told.keys(), ...this.#before.held.keys()])
      if (!this.#conditions.has(source)) this.#missing(source);
    this.#raiseCauses();
  }

  after(): EngineState {
    return {
      device: this.#before.device,
      count: this.#count,
      ran: this.#ran,
      at: this.#now,
      told: this.#told ?? this.#before.told,
      held: this.#held,
      firings: this.#firings ?? this.#before.firings,
    };
  }

  get #toldNow(): ReadonlyMap<string, Told> {
    return this.#told ?? this.#before.told;
  }

  #put(source: string, told: Told | undefined): void {
    this.#told ??= new Map(this.#before.told);
    if (told) this.#told.set(source, told);
    else this.#told.delete(source);
  }

  #fire(source: string, times: readonly number[]): void {
    this.#firings ??= new Map(this.#before.firings);
    if (times.length > 0) this.#firings.set(source, times);
    else this.#firings.delete(source);
  }

  #forgetFirings(): void {
    for (const [source, times] of this.#before.firings) {
      const recent = times.filter((time) => this.#ran - time < hour);
      if (recent.length !== times.length) this.#fire(source, recent);
    }
  }

  #say(kind: EventKind, told: Told, text = told.text): void {
    const { id, source, severity, firedAt } = told;
    this.events.push({ kind, alert: id, source, severity, text, firedAt, at: this.#now });
  }

  #active(condition: Condition): void {
    const told = this.#toldNow.get(condition.source);
    if (told) this.#stillActive(told, condition);
    else this.#notTold(condition);
  }

  #stillActive(old: Told, condition: Condition): void {
    let told = old;
    if (told.missingRan !== undefined) told = { ...told, missingRan: undefined };
    if (rank(condition.severity) > rank(told.severity)) {
      told = { ...told, severity: condition.severity, text: clip(condition.text) };
      this.#say('raised', told);
    }
    const { flapping } = told;
    if (flapping && !flapping.active)
      told = { ...told, flapping: { active: true, ran: this.#ran } };
    else if (flapping && this.#ran - flapping.ran >= this.#rules.stable) {
      told = { ...told, flapping: undefined, remindedRan: this.#ran, text: clip(condition.text) };
      this.#fire(told.source, []);
      this.#say('steady', told);
    }
    const { remind } = this.#rules;
    if (
      remind > 0 &&
      told.severity === 'critical' &&
      !told.flapping &&
      this.#ran - told.remindedRan >= remind
    ) {
      told = { ...told, remindedRan: this.#ran, text: clip(condition.text) };
      this.#say('reminder', told);
    }
    if (told !== old) this.#put(told.source, told);
  }

  #notTold(condition: Condition): void {
    const { source, severity } = condition;
    const old = this.#held.get(source);
    const held: Held = {
      id: old?.id ?? this.#newId(),
      needs: condition.needs.slice(0, mostNeeds),
      severity,
      text: clip(condition.text),
      firedAt: old?.firedAt ?? this.#now,
      ran: old?.ran ?? this.#ran,
      suppressedBy: old?.suppressedBy,
      freeRan: old?.freeRan,
    };
    const cause = this.#causeOf(source);
    if (cause !== undefined) {
      this.#held.set(source, { ...held, suppressedBy: cause, freeRan: undefined });
      return;
    }
    const { settle, outlive } = this.#rules;
    const freeRan = held.suppressedBy === undefined ? undefined : (held.freeRan ?? this.#ran);
    const due =
      freeRan === undefined
        ? condition.needs.length === 0 || this.#ran - held.ran >= settle
        : this.#ran - freeRan >= outlive;
    if (due) this.#tell(source, held);
    else this.#held.set(source, { ...held, freeRan });
  }

  #newId(): string {
    this.#count += 1;
    return `${this.#before.device}-a${this.#count}`;
  }

  #tell(source: string, { id, severity, text, firedAt, needs }: Held): void {
    this.#held.delete(source);
    const firings = (this.#firings ?? this.#before.firings).get(source) ?? [];
    const times = [...firings, this.#ran];
    this.#fire(source, times);
    const told: Told = { id, source, severity, text, firedAt, needs, remindedRan: this.#ran };
    if (times.length <= this.#rules.flappingCount) {
      this.#put(source, told);
      this.#say('fired', told);
      return;
    }
    this.#put(source, { ...told, flapping: { active: true, ran: this.#ran } });
    this.#say('flapping', told);
  }

  #inactive(condition: Condition): void {
    const { source } = condition;
    this.#held.delete(source);
    const told = this.#toldNow.get(source);
    if (!told) return;
    const { flapping } = told;
    if (flapping?.active)
      this.#put(source, {
        ...told,
        flapping: { active: false, ran: this.#ran },
        missingRan: undefined,
      });
    else if (!flapping || this.#ran - flapping.ran >= this.#rules.stable)
      this.#resolve(told, clip(condition.text) || told.text);
    else if (told.missingRan !== undefined) this.#put(source, { ...told, missingRan: undefined });
  }

  #resolve(told: Told, text: string): void {
    this.#put(told.source, undefined);
    if (told.flapping) this.#fire(told.source, []);
    this.#say('resolved', told, text);
  }

  #missing(source: string): void {
    const held = this.#held.get(source);
    const told = this.#toldNow.get(source);
    // While what it needs has failed, monitoring cannot know: that is no sign that nobody wants to.
    const needs = (held ?? told)?.needs ?? [];
    const isBlind = needs.some((need) => this.#conditions.get(need)?.active === true);
    const mayBeBlind = needs.some((need) => !this.#conditions.has(need));
    const since = isBlind ? undefined : ((held ?? told)?.missingRan ?? this.#ran);
    const limit = mayBeBlind ? forgottenBlind : forgottenAfter;
    const isOver = since !== undefined && this.#ran - since >= limit;
    if (held && isOver) this.#held.delete(source);
    else if (held) this.#held.set(source, { ...held, missingRan: since });
    if (told && isOver) this.#resolve(told, `${told.text} (it is watched no more)`);
    else if (told && told.missingRan !== since) this.#put(source, { ...told, missingRan: since });
  }

  /** Whether a source explains what needs it. */
  #hasFailed(source: string): boolean {
    const condition = this.#conditions.get(source);
    // One that comes and goes takes others with it at any time; one that is not spoken of is as it was.
    const told = this.#toldNow.get(source);
    return condition?.active === true || told?.flapping !== undefined || (!condition && !!told);
  }

  /** At the root of what a source needs: what has failed itself and needs nothing that has. */
  #causeOf(source: string): string | undefined {
    const seen = new Set<string>();
    const root = (one: string): string | undefined => {
      if (seen.has(one)) return undefined;
      seen.add(one);
      const failed = (this.#conditions.get(one)?.needs ?? []).filter(
        (need) => need !== one && this.#hasFailed(need),
      );
      if (failed.length === 0) return one === source ? undefined : one;
      for (const need of failed) {
        const found = root(need);
        if (found !== undefined) return found;
      }
      return undefined;
    };
    const found = root(source);
    if (found !== undefined || seen.size < 2) return found;
    // They need each other: the first by name speaks for all, or none would ever be told.
    const [first = source] = [...seen].sort();
    return first === source ? undefined : first;
  }

  /** Who hears of the cause alone must hear that something so severe has come of it. */
  #raiseCauses(): void {
    for (const { suppressedBy, severity, freeRan } of this.#held.values()) {
      if (suppressedBy === undefined || freeRan !== undefined) continue;
      const cause = this.#toldNow.get(suppressedBy);
      if (!cause || rank(severity) <= rank(cause.severity)) continue;
      const raised = { ...cause, severity };
      this.#put(suppressedBy, raised);
      this.#say('raised', raised);
    }
  }
}
