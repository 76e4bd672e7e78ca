import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { interruptsOf } from './apply.ts';
import { type AutorateState, nextRates } from './autorate.ts';
import { ratioOf, roundTrips } from './measure.ts';
import { tuningSettings } from './settings.ts';
import { classRules, mirrorOf, reshape, shape } from './shaping.ts';
import { type Machine, planSpread } from './spread.ts';
import { sysctls } from './sysctl.ts';

const one = (queues: number, irqs: number[] = []) => [{ name: 'eth0', queues, irqs }];

describe('interrupts and queues by model', () => {
  const plan = (model: string, adapters = one(1, [40, 41]), cpus = 4) =>
    planSpread({ model, cpus, adapters } satisfies Machine);

  test('a Pi 3 has its interrupts on CPU 0, and the other three work on what comes', () => {
    const { irqs, queues } = plan('Raspberry Pi 3 Model B Plus Rev 1.3');
    expect(irqs).toEqual([]);
    expect(queues).toEqual([{ adapter: 'eth0', queue: 0, mask: 'e', flows: 4096 }]);
  });

  test('a Pi 4 has those of Ethernet on CPU 1, and all but that work on what comes', () => {
    const { irqs, queues } = plan('Raspberry Pi 4 Model B Rev 1.4');
    expect(irqs).toEqual([
      { irq: 40, mask: '2' },
      { irq: 41, mask: '2' },
    ]);
    expect(queues.map(({ mask }) => mask)).toEqual(['d']);
  });

  test('a Pi 5 cannot move them, and neither can a machine that nobody knows', () => {
    for (const model of ['Raspberry Pi 5 Model B Rev 1.0', 'linux,dummy-virt', '']) {
      const { irqs, queues } = plan(model);
      expect(irqs, model).toEqual([]);
      expect(
        queues.map(({ mask }) => mask),
        model,
      ).toEqual(['e']);
    }
  });

  test('an adapter with a queue for each CPU, and a machine with one CPU, are left as they are', () => {
    expect(plan('', one(4)).queues).toEqual([]);
    expect(plan('', one(1), 1).queues).toEqual([]);
    expect(plan('', one(2), 4).queues).toMatchObject([{ flows: 2048 }, { flows: 2048 }]);
  });

  test('no mask ever names a CPU that is not there, nor none', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('Raspberry Pi 3', 'Raspberry Pi 4', 'Raspberry Pi 5', 'other'),
        fc.integer({ min: 1, max: 64 }),
        fc.integer({ min: 0, max: 64 }),
        (model, cpus, count) => {
          const { irqs, queues } = plan(model, one(count, [7]), cpus);
          for (const { mask } of [...irqs, ...queues]) {
            const bits = Number.parseInt(mask, 16);
            expect(bits).toBeGreaterThan(0);
            expect(bits).toBeLessThan(2 ** Math.min(cpus, 31));
          }
        },
      ),
    );
  });

  test('interrupts are those that carry the name of the adapter', () => {
    const text = `           CPU0       CPU1
 31:     100     0     GICv2 189 Level     eth0
 32:       5     0     GICv2 190 Level     eth0
 33:       5     0     GICv2 191 Level     eth01
IPI0:      1     2     Rescheduling interrupts
`;
    expect(interruptsOf(text, 'eth0')).toEqual([31, 32]);
    expect(interruptsOf(text, 'wlan0')).toEqual([]);
  });
});

describe('shaping', () => {
  const uplink = tuningSettings.parse({
    uplinks: [{ interface: 'eth0', upload: 18.5, download: 90, link: 'docsis' }],
  }).uplinks[0];
  const lines = (shaper: 'cake' | 'fq_codel', marked = false) =>
    uplink
      ? shape(uplink, shaper, marked).map(({ program, args }) => `${program} ${args.join(' ')}`)
      : [];

  test('cake in both directions, with four classes, fair between devices behind NAT', () => {
    expect(lines('cake')).toEqual([
      'tc qdisc add dev eth0 root cake bandwidth 18500kbit diffserv4 nat dual-srchost docsis',
      'ip link add name ifb4eth0 type ifb',
      'ip link set dev ifb4eth0 up',
      'tc qdisc add dev ifb4eth0 root cake bandwidth 90000kbit diffserv4 nat dual-dsthost ingress docsis',
      'tc qdisc add dev eth0 handle ffff: ingress',
      'tc filter add dev eth0 parent ffff: protocol all prio 10 u32 match u32 0 0 action mirred egress redirect dev ifb4eth0',
    ]);
  });

  test('answers get the class of their connection back before they are sorted', () => {
    expect(lines('cake', true).at(-1)).toContain(
      'action ctinfo dscp 0xfc000000 0x01000000 action mirred',
    );
  });

  test('fq_codel below htb where there is no cake', () => {
    expect(lines('fq_codel')[1]).toBe(
      'tc class add dev eth0 parent 1: classid 1:10 htb rate 18500kbit ceil 18500kbit',
    );
  });

  test('another rate changes what is there, so that packets in it go on waiting', () => {
    expect(reshape('eth0', 7.5, 'cake').args.join(' ')).toBe(
      'qdisc change dev eth0 root cake bandwidth 7500kbit',
    );
  });

  test('the name of the mirror is one that the kernel takes', () => {
    expect(mirrorOf('enx001122334455').length).toBe(15);
  });
});

describe('classes', () => {
  test('are marks of connections, and codepoints of what leaves by an uplink', () => {
    const { classes } = tuningSettings.parse({
      classes: [
        { class: 'voice', udp: [5060, 5060] },
        { class: 'bulk', address: '192.168.10.20' },
      ],
    });
    const { input } = classRules(classes, ['eth0']);
    expect(input).toContain(
      'meta l4proto udp ct original proto-dst { 5060 } ct mark set ct mark & 0x00ffffff | 0xb9000000',
    );
    expect(input).toContain(
      'ct original ip saddr 192.168.10.20 ct mark set ct mark & 0x00ffffff | 0x21000000',
    );
    expect(input).toContain(
      'oifname { "eth0" } ct mark & 0xff000000 == 0xb9000000 meta nfproto ipv4 ip dscp set ef',
    );
  });

  test('without any the table goes', () => {
    expect(classRules([], ['eth0']).input).toBe(
      'table inet gateway_classes\ndelete table inet gateway_classes\n',
    );
  });
});

describe('rates that follow the latency', () => {
  const start: AutorateState = {
    baseline: 10,
    upload: { rate: 20, highest: 20, lowest: 6 },
    download: undefined,
  };
  const look = (latency: number | undefined, sent: number) => ({ latency, sent, received: 0 });

  test('go down at once under load when latency rises, and up slowly when it is gone', () => {
    const less = nextRates(start, look(60, 19));
    expect(less.upload?.rate).toBeCloseTo(19 * 0.85);
    const more = nextRates(less, look(11, 15));
    expect(more.upload?.rate).toBeCloseTo(19 * 0.85 * 1.02);
  });

  test('stay where they are without load, and when nobody answers', () => {
    expect(nextRates(start, look(60, 1)).upload?.rate).toBe(20);
    expect(nextRates(start, look(undefined, 19))).toEqual(start);
  });

  test('a full upload does not slow down the downloads beside it', () => {
    const both = { ...start, download: { rate: 100, highest: 100, lowest: 30 } };
    const next = nextRates(both, { latency: 60, sent: 19, received: 20 });
    expect(next.download?.rate).toBe(100);
    expect(next.upload?.rate).toBeLessThan(20);
  });

  test('never leave the limits of the owner, whatever comes', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            latency: fc.option(fc.double({ min: 0, max: 5000, noNaN: true }), { nil: undefined }),
            sent: fc.double({ min: 0, max: 1000, noNaN: true }),
            received: fc.double({ min: 0, max: 1000, noNaN: true }),
          }),
          { maxLength: 200 },
        ),
        (looks) => {
          const { upload } = looks.reduce(nextRates, start);
          expect(upload?.rate).toBeGreaterThanOrEqual(6);
          expect(upload?.rate).toBeLessThanOrEqual(20);
        },
      ),
    );
  });

  test('a line that holds half of what was set comes to rest near it', () => {
    let state = start;
    // A line of 10 Mbit/s: what is sent above that waits, and shows as latency.
    for (let i = 0; i < 120; i += 1) {
      const rate = state.upload?.rate ?? 0;
      state = nextRates(state, look(rate > 10 ? 80 : 10, Math.min(rate, 10)));
    }
    expect(state.upload?.rate).toBeGreaterThan(8);
    expect(state.upload?.rate).toBeLessThan(10.5);
  });
});

test('the ratio is what is left of the latency that load adds, in the worse direction', () => {
  const before = { upload_mbit: 10, download_mbit: 10, upload_ms: 510, download_ms: 110 };
  const after = { upload_mbit: 9, download_mbit: 9, upload_ms: 12, download_ms: 60 };
  expect(ratioOf(10, before, after)).toBe(0.1);
  expect(ratioOf(10, { ...before, upload_ms: 10.4, download_ms: 10 }, after)).toBeNull();
});

test('round trips are read of what ping prints', () => {
  expect(
    roundTrips('64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=12.3 ms\n64 bytes: time<1 ms'),
  ).toEqual([12.3, 1]);
});

test('each kernel setting has a reason and a source, and stages/kernel has none of them', async () => {
  const { readFile } = await import('node:fs/promises');
  const kernel = await readFile('overlays/kernel/etc/sysctl.d/90-gateway.conf.ejs', 'utf8');
  for (const { key, why, source } of sysctls(tuningSettings.parse({}))) {
    expect(why.length, key).toBeGreaterThan(20);
    expect(source.length, key).toBeGreaterThan(10);
    expect(kernel).not.toContain(key);
  }
});
