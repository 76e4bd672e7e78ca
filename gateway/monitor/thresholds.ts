import type { Condition } from '../alerts/condition.ts';
import {
  entryOf,
  type Measure,
  parseSeriesName,
  type Sample,
  seriesName,
  titleOf,
} from './catalogue.ts';
import type { Image } from './image.ts';
import type { MonitorSettings, ThresholdName } from './settings.ts';
import { quantity } from './words.ts';

export type Threshold = {
  name: ThresholdName;
  measure: Measure;
  /** Only of this one; else of each. */
  label?: string;
  /** From here on it counts; 0: never. */
  limit: number;
  /** From here on it is urgent. */
  critical?: number | undefined;
  /** How far below the limit it must be to be over: a value that swings about it makes no storm. */
  margin: number;
  /** Seconds above the limit until it counts, and below until it is over. */
  for: number;
  /** What to do. */
  advice: string;
};

/** Seconds that a value must be well until it is over. */
const calm = 60;

/** What has a limit unless the settings say otherwise. */
function defaults({ limits }: Image): Threshold[] {
  return [
    {
      // The firmware slows a Pi down from 80 °C on, and more from 85 (raspberrypi.com: "Frequency
      // management and thermal control").
      name: 'temperature',
      measure: 'heat.temperature',
      limit: limits.temperature,
      critical: limits.temperature > 0 ? limits.temperature + 5 : undefined,
      margin: 5,
      for: 180,
      advice: 'a heat sink or a fan helps',
    },
    {
      name: 'throttled',
      measure: 'heat.slowed',
      limit: 1,
      margin: 0,
      for: 60,
      advice: 'a heat sink, a fan or a better power supply helps',
    },
    {
      // A weak supply is what breaks most SD cards.
      name: 'under_voltage',
      measure: 'power.low',
      limit: 1,
      critical: 1,
      margin: 0,
      for: 0,
      advice: 'a better power supply or cable helps; it may damage the card',
    },
    {
      name: 'cpu',
      measure: 'cpu.used',
      limit: 95,
      margin: 10,
      for: 900,
      advice: 'see which program it is: top',
    },
    {
      name: 'memory',
      measure: 'memory.used',
      limit: limits.memory,
      critical: limits.memory > 0 ? Math.max(97, limits.memory) : undefined,
      margin: 5,
      for: 180,
      advice: 'see which program it is: systemd-cgtop -m',
    },
    {
      // From here on the kernel is busier with finding memory than with work (psi.rst).
      name: 'memory_pressure',
      measure: 'pressure.memory',
      limit: 30,
      margin: 10,
      for: 180,
      advice: 'there is too little memory: systemd-cgtop -m',
    },
    {
      name: 'swap',
      measure: 'swap.used',
      limit: 80,
      margin: 10,
      for: 600,
      advice: 'there is too little memory: systemd-cgtop -m',
    },
    {
      name: 'disk',
      measure: 'disk.used',
      label: '/',
      limit: limits.disk,
      critical: limits.disk > 0 ? Math.max(97, limits.disk) : undefined,
      margin: 3,
      for: 60,
      advice: 'see what takes it: sudo du -xh / | sort -h | tail',
    },
    {
      name: 'boot_disk',
      measure: 'disk.used',
      label: '/boot/firmware',
      limit: 95,
      margin: 3,
      for: 60,
      advice: 'updates of the kernel need room there: remove old kernels (sudo apt autoremove)',
    },
    {
      name: 'inodes',
      measure: 'disk.inodes',
      limit: 90,
      critical: 97,
      margin: 3,
      for: 60,
      advice: 'there are too many files: sudo du -x --inodes / | sort -n | tail',
    },
    {
      name: 'wear',
      measure: 'wear.used',
      limit: limits.wear,
      critical: 100,
      margin: 0,
      for: 0,
      advice: 'replace the card soon',
    },
    {
      name: 'conntrack',
      measure: 'conntrack.used',
      limit: 80,
      critical: 95,
      margin: 10,
      for: 60,
      advice: 'a full table refuses new connections: see who has so many (sudo conntrack -L)',
    },
    {
      name: 'loss',
      measure: 'uplink.loss',
      limit: 30,
      margin: 15,
      for: 300,
      advice: 'the uplink loses packets',
    },
    {
      name: 'latency',
      measure: 'uplink.latency',
      limit: 0.5,
      margin: 0.2,
      for: 300,
      advice: 'the uplink is slow, or full',
    },
  ];
}

/** The limits of the image, with what the settings change. */
export function thresholds(image: Image, settings: MonitorSettings): Threshold[] {
  return defaults(image).flatMap((one) => {
    const change = settings.thresholds[one.name];
    if (change === 'off') return [];
    const limit = change?.limit ?? one.limit;
    if (limit === 0) return [];
    const critical = change?.critical ?? one.critical;
    return [
      {
        ...one,
        limit,
        // A higher limit than the image's may be beyond its urgent one.
        ...(critical === undefined ? {} : { critical: Math.max(limit, critical) }),
        for: change?.for ?? one.for,
      },
    ];
  });
}

type Phase = {
  /** undefined: after a start, until the value says more. Who had heard of it before hears nothing new till then. */
  active: boolean | undefined;
  /** Steady seconds since which it is above the limit while it does not count, or below while it does. */
  since: number | undefined;
  /** It is above the urgent limit, and since when. */
  urgent: boolean;
  value: number;
};

/** Compares what is measured with the limits, with a memory for how long. */
export class Watch {
  readonly #phases = new Map<string, Phase>();

  /** @param steady Seconds of a clock that nobody sets. */
  conditions(
    limits: readonly Threshold[],
    samples: readonly Sample[],
    steady: number,
  ): Condition[] {
    const seen = new Set<string>();
    const conditions = limits.flatMap((threshold) =>
      samples
        .filter(
          ({ measure, label }) =>
            measure === threshold.measure &&
            (threshold.label === undefined || threshold.label === label),
        )
        .flatMap((sample) => {
          const several = threshold.label === undefined && sample.label !== undefined;
          const source = `threshold:${threshold.name}${several ? `{${parseSeriesName(seriesName(sample))?.label}}` : ''}`;
          seen.add(source);
          const phase = this.#phases.get(source) ?? fresh();
          this.#phases.set(source, phase);
          // Not measured this time: as it was.
          if (sample.value !== undefined) advance(phase, threshold, sample.value, steady);
          return phase.active === undefined
            ? []
            : [condition(source, threshold, seriesName(sample), phase, phase.active)];
        }),
    );
    for (const [source, phase] of this.#phases) {
      if (seen.has(source)) continue;
      // An interface or a limit that is gone; who heard of its beginning hears of its end.
      this.#phases.delete(source);
      if (phase.active)
        conditions.push({
          source,
          active: false,
          severity: 'warning',
          text: 'It is not watched any more',
          needs: [],
        });
    }
    return conditions;
  }
}

const fresh = (): Phase => ({ active: undefined, since: undefined, urgent: false, value: 0 });

function advance(phase: Phase, threshold: Threshold, value: number, steady: number): void {
  const { limit, critical, margin } = threshold;
  phase.value = value;
  const above = value >= limit;
  const below = margin === 0 ? value < limit : value < limit - margin;
  if (phase.active === undefined && below) phase.active = false;
  if (phase.active ? !below : !above) phase.since = undefined;
  else {
    phase.since ??= steady;
    const wait = phase.active ? calm : threshold.for;
    if (steady - phase.since >= wait) {
      phase.active = !phase.active;
      phase.since = undefined;
    }
  }
  if (critical === undefined) return;
  // The same margin: urgency must not swing either.
  phase.urgent =
    phase.active === true && (phase.urgent ? value >= critical - margin : value >= critical);
}

function condition(
  source: string,
  threshold: Threshold,
  series: string,
  phase: Phase,
  active: boolean,
): Condition {
  const { limit, critical, measure, advice } = threshold;
  const { unit } = entryOf(measure);
  const title = titleOf(series);
  const bound = phase.urgent && critical !== undefined ? critical : limit;
  // What is 0 or 1 has no number to tell.
  const flag = unit === '1' && limit === 1;
  const text = flag
    ? active
      ? `${title}: ${advice}`
      : `${title}: no more`
    : `${title}: ${quantity(phase.value, unit)} (limit ${quantity(bound, unit)})${active ? `; ${advice}` : ''}`;
  return {
    source,
    active,
    severity: phase.urgent ? 'critical' : 'warning',
    text,
    // What is measured over the uplink says nothing while it is down.
    needs: measure.startsWith('uplink.') ? ['check:route', 'check:router', 'check:uplink'] : [],
  };
}
