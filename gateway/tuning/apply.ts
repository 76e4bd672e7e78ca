import { readdir, rm, writeFile } from 'node:fs/promises';
import * as z from 'zod';
import { at, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { readRequest } from './request.ts';
import type { Uplink } from './settings.ts';
import { type Call, classRules, reshape, type Shaper, shape, shapers, unshape } from './shaping.ts';
import { type Machine, planSpread, type SpreadPlan } from './spread.ts';
import { sysctls } from './sysctl.ts';
import { statusFile, type TuningStatus } from './view.ts';

/**
 * Puts the settings in force, and takes back what they do not ask for any more. What there was before is noted in
 * /run before the first change, so it can be put back until the next start, which forgets both.
 */

const beforeFile = '/run/pi-gateway-tuning/before.json';

const before = z.object({
  /** Content of files in /proc and /sys, by path. */
  files: z.record(z.string(), z.string()),
  /** Devices that were shaped. */
  shaped: z.array(z.string()),
  vpn_mtu: z.number().int().nullable(),
  classes: z.boolean(),
});
type Before = z.output<typeof before>;

const nothing: Before = { files: {}, shaped: [], vpn_mtu: null, classes: false };

async function readBefore(system: System): Promise<Before> {
  const text = await readIfThere(at(system, beforeFile));
  try {
    return text === undefined ? nothing : before.parse(JSON.parse(text));
  } catch {
    // A half of it, as the device was switched off: then all is as at its start anyway.
    return nothing;
  }
}

const proc = (key: string) => `/proc/sys/${key.replaceAll('.', '/')}`;

type File = { path: string; value: string; label: string };

/** @throws Error with all that could not be done, when the rest is done. */
export async function applyTuning(system: System, now = new Date()): Promise<TuningStatus> {
  const settings = await readRequest(system);
  const machine = await readMachine(system);
  const spread: SpreadPlan = settings.spread
    ? planSpread(machine)
    : { why: 'Turned off', irqs: [], queues: [] };
  const kernel = sysctls(settings);
  const notes: string[] = [];
  const problems: string[] = [];
  const old = await readBefore(system);
  const wanted = filesOf(kernel, spread);
  const files = await noted(system, old.files, wanted);
  const { uplinks, classes, vpn_mtu } = settings;
  const vpnBefore = old.vpn_mtu ?? (vpn_mtu === undefined ? null : await mtuOf(system, 'wg0'));
  const shaped = uplinks.map((one) => one.interface);
  await writeBefore(system, {
    files: { ...old.files, ...files },
    shaped: [...new Set([...old.shaped, ...shaped])],
    vpn_mtu: vpnBefore,
    classes: old.classes || classes.length > 0,
  });

  // What is not asked for any more goes back to what it was.
  const paths = new Set(wanted.map(({ path }) => path));
  for (const [path, value] of Object.entries(old.files))
    if (!paths.has(path)) await put(system, { path, value, label: path }, notes);
  // Interrupts and queues are the hardware's to give, and not every kernel has each setting; the rest is
  // the owner's wish.
  for (const one of wanted) {
    const isThere = one.path in old.files || one.path in files;
    await put(system, one, isThere && one.path.startsWith('/proc/sys/') ? problems : notes);
  }
  for (const device of new Set([...old.shaped, ...shaped])) await runAll(system, unshape(device));
  if (old.classes || classes.length > 0)
    await attempt(problems, 'The classes', () => call(system, classRules(classes, shaped)));
  const states: TuningStatus['uplinks'] = [];
  for (const one of uplinks)
    states.push(await shapeUplink(system, one, classes.length > 0, notes, problems));
  const mtu = vpn_mtu ?? vpnBefore;
  if (mtu !== null) await setVpnMtu(system, mtu, problems);
  await writeBefore(system, {
    files: Object.fromEntries(
      Object.entries({ ...old.files, ...files }).filter(([path]) => paths.has(path)),
    ),
    shaped,
    vpn_mtu: vpn_mtu === undefined ? null : vpnBefore,
    classes: classes.length > 0,
  });

  const status: TuningStatus = {
    applied_at: now.toISOString(),
    model: machine.model,
    sysctls: kernel.map(({ key, value }) => ({
      key,
      value,
      before: (old.files[proc(key)] ?? files[proc(key)] ?? '').trim(),
    })),
    uplinks: states,
    spread: {
      why: spread.why,
      interrupts: spread.irqs.map(({ irq, mask }) => ({ irq, cpus: mask })),
      queues: spread.queues.map((one) => ({
        queue: `${one.adapter}/rx-${one.queue}`,
        cpus: one.mask,
      })),
    },
    vpn_mtu: vpn_mtu ?? null,
    notes: [...problems, ...notes],
  };
  await writeDurably(at(system, statusFile), `${JSON.stringify(status)}\n`);
  for (const note of notes) system.say(note);
  if (problems.length > 0) throw new Error(problems.join('\n'));
  return status;
}

/** All as it was before the first run. */
export async function undoTuning(system: System): Promise<void> {
  const old = await readBefore(system);
  const notes: string[] = [];
  for (const [path, value] of Object.entries(old.files))
    await put(system, { path, value, label: path }, notes);
  for (const device of old.shaped) await runAll(system, unshape(device));
  if (old.classes) await runAll(system, [classRules([], [])]);
  if (old.vpn_mtu !== null) await setVpnMtu(system, old.vpn_mtu, notes);
  await rm(at(system, beforeFile), { force: true });
  await rm(at(system, statusFile), { force: true });
  for (const note of notes) system.say(note);
}

function filesOf(kernel: readonly { key: string; value: string }[], plan: SpreadPlan): File[] {
  return [
    ...kernel.map(({ key, value }) => ({ path: proc(key), value, label: key })),
    ...plan.irqs.map(({ irq, mask }) => ({
      path: `/proc/irq/${irq}/smp_affinity`,
      value: mask,
      label: `interrupt ${irq}`,
    })),
    ...plan.queues.flatMap(({ adapter, queue, mask, flows }) => {
      const folder = `/sys/class/net/${adapter}/queues/rx-${queue}`;
      const label = `${adapter}, queue ${queue}`;
      return [
        { path: `${folder}/rps_cpus`, value: mask, label },
        { path: `${folder}/rps_flow_cnt`, value: String(flows), label },
      ];
    }),
  ];
}

/** What files have now that nobody has noted yet. */
async function noted(
  system: System,
  old: Readonly<Record<string, string>>,
  files: readonly File[],
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { path } of files) {
    if (path in old) continue;
    const text = await readIfThere(at(system, path)).catch(() => undefined);
    if (text !== undefined) found[path] = text.trim();
  }
  return found;
}

/** The kernel's files are written in place: they are no files. */
async function put(system: System, { path, value, label }: File, notes: string[]): Promise<void> {
  await attempt(notes, label, () => writeFile(at(system, path), `${value}\n`, { flag: 'r+' }));
}

async function attempt(
  notes: string[],
  label: string,
  work: () => Promise<unknown>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    notes.push(`${label}: ${text.split('\n')[0]}`);
  }
}

async function call(system: System, { program, args, input }: Call): Promise<void> {
  await system.run(program, args, input === undefined ? {} : { input });
}

/** What may fail, as there may be nothing to take away. */
async function runAll(system: System, calls: readonly Call[]): Promise<void> {
  for (const one of calls) await call(system, one).catch(() => undefined);
}

async function shapeUplink(
  system: System,
  uplink: Uplink,
  hasClasses: boolean,
  notes: string[],
  problems: string[],
): Promise<TuningStatus['uplinks'][number]> {
  const rates = { upload: uplink.upload ?? null, download: uplink.download ?? null };
  const device = uplink.interface;
  if ((await readIfThere(at(system, `/sys/class/net/${device}/mtu`))) === undefined) {
    notes.push(`${device} is not there; it is shaped when it comes`);
    return { interface: device, shaper: null, ...rates };
  }
  const reasons: string[] = [];
  // Classes of answers need one kernel module more; without it they are sorted by what the internet says.
  for (const marked of hasClasses ? [true, false] : [false])
    for (const shaper of shapers) {
      try {
        for (const one of shape(uplink, shaper, marked)) await call(system, one);
        if (hasClasses && !marked)
          notes.push(`${device}: answers cannot be sorted by class (act_ctinfo is missing)`);
        return { interface: device, shaper, ...rates };
      } catch (error) {
        reasons.push(`${shaper}: ${error instanceof Error ? error.message.split('\n')[0] : error}`);
        await runAll(system, unshape(device));
      }
    }
  problems.push(`${device} cannot be shaped: ${reasons.join('; ')}`);
  return { interface: device, shaper: null, ...rates };
}

export async function mtuOf(system: System, device: string): Promise<number | null> {
  const text = await readIfThere(at(system, `/sys/class/net/${device}/mtu`)).catch(() => undefined);
  return text === undefined ? null : Number(text);
}

/** Of wg0, and of the interface that stands beside it while the server's key is replaced. */
async function setVpnMtu(system: System, mtu: number, notes: string[]): Promise<void> {
  for (const device of ['wg0', 'wg0next'])
    if ((await mtuOf(system, device)) !== null)
      await attempt(notes, `MTU of ${device}`, () =>
        system.run('ip', ['link', 'set', 'dev', device, 'mtu', String(mtu)]),
      );
}

async function writeBefore(system: System, content: Before): Promise<void> {
  await writeDurably(at(system, beforeFile), `${JSON.stringify(content)}\n`, 0o600);
}

/** Another rate for what is in force; for autorate. */
export async function changeRate(
  system: System,
  device: string,
  mbit: number,
  shaper: Shaper,
): Promise<void> {
  await call(system, reshape(device, mbit, shaper));
}

/** What this machine is: model, CPUs, and adapters that are hardware. */
export async function readMachine(system: System): Promise<Machine> {
  const folder = at(system, '/sys/class/net');
  const interrupts = (await readIfThere(at(system, '/proc/interrupts'))) ?? '';
  const names = await readdir(folder).catch(() => []);
  const adapters = await Promise.all(
    names.toSorted().map(async (name) => {
      const isHardware = await readdir(`${folder}/${name}/device`).then(
        () => true,
        () => false,
      );
      const queues = isHardware ? await readdir(`${folder}/${name}/queues`).catch(() => []) : [];
      return {
        name,
        queues: queues.filter((one) => one.startsWith('rx-')).length,
        irqs: interruptsOf(interrupts, name),
      };
    }),
  );
  const stat = (await readIfThere(at(system, '/proc/stat'))) ?? '';
  return {
    model: ((await readIfThere(at(system, '/proc/device-tree/model'))) ?? '').replaceAll('\0', ''),
    cpus: stat.split('\n').filter((line) => /^cpu\d/.test(line)).length,
    adapters: adapters.filter(({ queues }) => queues > 0),
  };
}

/** Lines of /proc/interrupts that end with the adapter's name: proc_interrupts(5). */
export function interruptsOf(text: string, name: string): number[] {
  return text.split('\n').flatMap((line) => {
    const irq = /^\s*(\d+):/.exec(line)?.[1];
    return irq !== undefined && line.trimEnd().split(/\s+/).at(-1) === name ? [Number(irq)] : [];
  });
}
