import { flowEntries } from './sysctl.ts';

/** A wired or wireless adapter, as /sys and /proc/interrupts have it. */
export type Adapter = {
  name: string;
  /** Receive queues that the hardware has. */
  queues: number;
  /** Interrupts of its name. */
  irqs: readonly number[];
};

export type Machine = {
  /** /proc/device-tree/model, e.g. `Raspberry Pi 4 Model B Rev 1.4`; empty on others. */
  model: string;
  cpus: number;
  adapters: readonly Adapter[];
};

export type SpreadPlan = {
  /** What the plan is for, and why. */
  why: string;
  /** CPUs that may take an interrupt, as a mask in hex (/proc/irq/N/smp_affinity). */
  irqs: { irq: number; mask: string }[];
  /** CPUs that work on what a queue has brought (rps_cpus), and flows that are remembered for it. */
  queues: { adapter: string; queue: number; mask: string; flows: number }[];
};

type Model = {
  name: RegExp;
  /** CPU that takes the adapter's interrupts. */
  irqCpu: number;
  /** The interrupt can be moved there. */
  moves: boolean;
  why: string;
};

/** Linux, networking/scaling.rst: the CPU that takes the interrupt has enough to do with that. */
const models: readonly Model[] = [
  {
    name: /^Raspberry Pi (3|Compute Module 3|Zero 2)/,
    irqCpu: 0,
    moves: false,
    why: 'Ethernet is on USB, whose interrupt the chip brings to CPU 0 alone (Linux, irq-bcm2836.c): the other three work on what it brings',
  },
  {
    name: /^Raspberry Pi (4|400|Compute Module 4)/,
    irqCpu: 1,
    moves: true,
    why: "Ethernet's two interrupts (bcmgenet) go to CPU 1, as CPU 0 has USB and the card; the other three work on what they bring",
  },
  {
    name: /^Raspberry Pi (5|500|Compute Module 5)/,
    irqCpu: 0,
    moves: false,
    why: 'Ethernet is behind the RP1, whose interrupts cannot be moved one by one (Linux, rp1): they stay on CPU 0, the other three work on what they bring',
  },
];

const other: Omit<Model, 'name'> = {
  irqCpu: 0,
  moves: false,
  why: 'No known model: interrupts stay as they are, and CPUs but the first work on what adapters with one queue bring',
};

const hex = (mask: number) => mask.toString(16);

/** Who works on what comes in. Nothing on one CPU, nor for adapters that have a queue for each. */
export function planSpread({ model, cpus, adapters }: Machine): SpreadPlan {
  const known = models.find(({ name }) => name.test(model)) ?? other;
  if (cpus < 2) return { why: 'There is one CPU', irqs: [], queues: [] };
  const irqCpu = Math.min(known.irqCpu, cpus - 1);
  // /sys takes 32 CPUs in one word; a Pi has four.
  const all = 2 ** Math.min(cpus, 31) - 1;
  const helpers = hex(all & ~(1 << irqCpu));
  const few = adapters.filter(({ queues }) => queues > 0 && queues < cpus);
  return {
    why: known.why,
    irqs: known.moves
      ? few.flatMap(({ irqs }) => irqs.map((irq) => ({ irq, mask: hex(1 << irqCpu) })))
      : [],
    queues: few.flatMap(({ name, queues }) =>
      Array.from({ length: queues }, (_, queue) => ({
        adapter: name,
        queue,
        mask: helpers,
        flows: Math.floor(flowEntries / queues),
      })),
    ),
  };
}
