import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readDiskLayout } from '../base/disk-layout.ts';
import { BuildError, isErrno } from '../errors.ts';
import { hostPath, output, run } from '../exec.ts';
import { firmwareFiles } from './firmware.ts';
import { freePort } from './free-port.ts';

export type Machine = 'virt' | 'raspi3b';

export type VmOptions = {
  /** Raw image; never changed. */
  image: string;
  machine?: Machine;
  /** MiB of memory; raspi3b has 1024. */
  memory?: number;
  /** Size of the card that the image was flashed on, as qemu-img takes it; raspi3b: a power of two. */
  diskSize?: string;
  /** Host ports on 127.0.0.1 by guest TCP port; 0 takes a free one. */
  forwards?: Record<number, number>;
  /** The same by guest UDP port. */
  udpForwards?: Record<number, number>;
  /** Tap interfaces that are its network cards,: eth0, eth1, …; no user network then. */
  taps?: readonly { name: string; mac: string }[];
  /** Files put on the boot partition, as a user does after flashing. */
  bootFiles?: Record<string, string>;
  /** Appended to the kernel command line for this boot only. */
  kernelArguments?: string;
  /** A folder that a former VM left (see {@link Vm.directory}): starts its disk again. */
  reuse?: string;
  /** Console on this terminal instead of in a file. */
  interactive?: boolean;
};

export type Vm = {
  /** Holds the disk and console.log; removed by stop(). */
  directory: string;
  /** Host port by guest port. */
  ports: Record<number, number>;
  udpPorts: Record<number, number>;
  consoleText(): Promise<string>;
  /** Waits until the console has shown the text. */
  waitForConsole(text: string | RegExp, seconds: number): Promise<void>;
  /** Resolves with QEMU's exit code. */
  ended: Promise<number>;
  /** What `work` gives; if QEMU ends before that, an error with what QEMU said. */
  whileRunning<T>(work: Promise<T>): Promise<T>;
  /** Ends QEMU at once, as a power cut does, and keeps the disk. */
  powerCut(): Promise<void>;
  /** Ends QEMU and removes the disk. */
  stop(): Promise<void>;
};

/**
 * Boots an image as a Pi would from a freshly flashed card: a copy-on-write disk of the card's size,
 * the kernel, initramfs and command line of the boot partition. QEMU dies with this process.
 */
export async function startVm(o: VmOptions): Promise<Vm> {
  const machine = o.machine ?? 'virt';
  const directory = o.reuse ?? (await makeDirectory());
  try {
    if (!o.reuse) await flash(o, directory);
    const kernel = await bootFiles(directory, machine);
    const ports = await choosePorts(o.forwards ?? {});
    const udpPorts = await choosePorts(o.udpForwards ?? {});
    const console = join(directory, 'console.log');
    await rm(console, { force: true });
    const command = kernelCommandLine(kernel.commandLine, machine, o.kernelArguments);
    const args = [
      ...machineArguments(machine, o.memory ?? 1024, directory),
      '-kernel',
      kernel.kernel,
      ...(kernel.initrd ? ['-initrd', kernel.initrd] : []),
      '-append',
      command,
      ...networkArguments(machine, { tcp: ports, udp: udpPorts }, o.taps),
      '-display',
      'none',
      ...(o.interactive ? [] : ['-monitor', 'none']),
      // A Pi's console is its second serial port, the mini UART; the first leads to Bluetooth.
      ...(machine === 'raspi3b' ? ['-serial', 'null'] : []),
      '-serial',
      o.interactive ? 'mon:stdio' : `file:${console}`,
    ];
    // pdeathsig (setpriv(1)): no VM outlives the test or the terminal that started it.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-aarch64', ...args], {
      stdio: o.interactive ? 'inherit' : ['ignore', 'ignore', 'pipe'],
      env: { PATH: hostPath, TERM: process.env.TERM ?? 'dumb' },
    });
    let complaint = '';
    child.stderr?.on('data', (data: Buffer) => {
      complaint = (complaint + data.toString()).slice(-2000);
    });
    let over = false;
    const ended = new Promise<number>((resolve) => {
      child.once('error', (error) => {
        complaint += error.message;
        over = true;
        resolve(-1);
      });
      child.once('exit', (code) => {
        over = true;
        resolve(code ?? -1);
      });
    });
    const consoleText = () => readFile(console, 'utf8').catch(() => '');
    const powerCut = async () => {
      child.kill('SIGKILL');
      await ended;
    };
    return {
      directory,
      ports,
      udpPorts,
      consoleText,
      ended,
      whileRunning: (work) =>
        Promise.race([
          work,
          ended.then((code) => {
            throw new BuildError({ what: `QEMU ended with exit code ${code}`, detail: complaint });
          }),
        ]),
      powerCut,
      waitForConsole: async (text, seconds) => {
        const until = Date.now() + seconds * 1000;
        for (;;) {
          const shown = await consoleText();
          if (typeof text === 'string' ? shown.includes(text) : text.test(shown)) return;
          if (over || Date.now() > until)
            throw new BuildError({
              what: over
                ? `QEMU ended before the console showed ${text}`
                : `The console did not show ${text} within ${seconds} s`,
              detail: `${complaint}\n${shown.slice(-3000)}`,
            });
          await new Promise((resolve) => setTimeout(resolve, 500));
        }
      },
      stop: async () => {
        await powerCut();
        await rm(directory, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

/** The card: boot partition customised in a copy of the image, the rest copied on write. */
async function flash(o: VmOptions, directory: string): Promise<void> {
  const card = join(directory, 'card.img');
  await run('cp', ['--sparse=always', '--reflink=auto', o.image, card], {
    fix: 'Build the image first: npm run image',
  });
  const { boot } = await readDiskLayout(card);
  await mkdir(join(directory, 'files'), { recursive: true });
  for (const [name, content] of Object.entries(o.bootFiles ?? {})) {
    const file = join(directory, 'files', name);
    await writeFile(file, content);
    await run('mcopy', ['-o', '-i', `${card}@@${boot.startBytes}`, file, `::${name}`]);
  }
  await run('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    '-F',
    'raw',
    '-b',
    card,
    join(directory, 'disk.qcow2'),
    o.diskSize ?? '4G',
  ]);
}

const prefix = 'pi-gateway-vm-';

/** A folder for one VM, named after this process; those of processes that were killed are removed. */
async function makeDirectory(): Promise<string> {
  for (const name of await readdir(tmpdir())) {
    const owner = name.startsWith(prefix) && /^(\d+)-/.exec(name.slice(prefix.length))?.[1];
    if (owner && !runs(Number(owner)))
      await rm(join(tmpdir(), name), { recursive: true, force: true });
  }
  return await mkdtemp(join(tmpdir(), `${prefix}${process.pid}-`));
}

/** True while a process of that number runs; signal 0 only asks (kill(2)). */
export function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !isErrno(error, 'ESRCH');
  }
}

type Kernel = { kernel: string; initrd: string | undefined; commandLine: string };

/** Device trees of the Raspberry Pi 3 B: the kernel's own name for it, and the vendor's. */
const deviceTrees = ['bcm2837-rpi-3-b.dtb', 'bcm2710-rpi-3-b.dtb'];

/** Copies what the firmware would load, as config.txt says, out of the boot partition. */
async function bootFiles(directory: string, machine: Machine): Promise<Kernel> {
  const card = join(directory, 'card.img');
  const { boot } = await readDiskLayout(card);
  const partition = `${card}@@${boot.startBytes}`;
  const read = (name: string) => output('mtype', ['-i', partition, `::${name}`]);
  const present = await output('mdir', ['-b', '-i', partition, '::']);
  const names = new Set(present.split('\n').map((line) => line.replace(/^::\//, '')));
  const fetch = async (name: string, target: string) => {
    if (!names.has(name))
      throw new BuildError({
        what: `The image cannot be booted in QEMU: its config.txt wants ${name}, which is not there`,
        where: 'the boot partition',
        fix: 'Look at it with: pi-gateway-image inspect IMAGE',
      });
    await run('mcopy', ['-o', '-n', '-i', partition, `::${name}`, join(directory, target)]);
    return join(directory, target);
  };
  const files = firmwareFiles(await read('config.txt'), machine === 'raspi3b' ? 'pi3' : 'pi4');
  if (machine === 'raspi3b')
    await fetch(deviceTrees.find((name) => names.has(name)) ?? deviceTrees[0] ?? '', 'device.dtb');
  return {
    kernel: await fetch(files.kernel, 'kernel'),
    initrd: files.initramfs ? await fetch(files.initramfs, 'initrd') : undefined,
    commandLine: (await read(files.commandLine)).trim(),
  };
}

/**
 * For the test only: drivers of the Pi's display wait for hardware which QEMU lacks, and the watchdog's
 * 15 seconds pass while the emulated processor starts systemd.
 */
const absentHardware =
  'module_blacklist=vc4,v3d,snd_soc_hdmi_codec,bcm2835_v4l2,brcmfmac,bcm2835_wdt systemd.watchdog_sec=off';

function kernelCommandLine(image: string, machine: Machine, more: string | undefined): string {
  // The board has the serial port that the image's own command line names.
  const own = machine === 'virt' ? 'console=ttyAMA0' : absentHardware;
  return [image, own, more].filter(Boolean).join(' ');
}

function machineArguments(machine: Machine, memory: number, directory: string): string[] {
  const disk = join(directory, 'disk.qcow2');
  if (machine === 'raspi3b')
    return [
      '-M',
      'raspi3b',
      '-dtb',
      join(directory, 'device.dtb'),
      '-drive',
      `if=sd,format=qcow2,file=${disk}`,
    ];
  return [
    '-M',
    'virt',
    '-cpu',
    'cortex-a72',
    '-smp',
    '2',
    '-m',
    String(memory),
    '-drive',
    `if=none,id=disk,format=qcow2,file=${disk}`,
    '-device',
    'virtio-blk-pci,drive=disk,addr=1',
    '-device',
    'virtio-rng-pci,addr=1f',
  ];
}

function networkArguments(
  machine: Machine,
  ports: Record<'tcp' | 'udp', Record<number, number>>,
  taps: VmOptions['taps'],
): string[] {
  if (taps)
    return taps.flatMap(({ name, mac }, index) => [
      '-netdev',
      `tap,id=net${index},ifname=${name},script=no,downscript=no`,
      '-device',
      `virtio-net-pci,netdev=net${index},mac=${mac},addr=${(index + 2).toString(16)},romfile=`,
    ]);
  const forwards = Object.entries(ports).flatMap(([protocol, hosts]) =>
    Object.entries(hosts).map(([guest, host]) => `hostfwd=${protocol}:127.0.0.1:${host}-:${guest}`),
  );
  // No boot ROM: it comes with a package that QEMU only recommends.
  const card =
    machine === 'raspi3b' ? 'usb-net,netdev=net' : 'virtio-net-pci,netdev=net,addr=2,romfile=';
  return ['-netdev', ['user,id=net', ...forwards].join(','), '-device', card];
}

async function choosePorts(wanted: Record<number, number>): Promise<Record<number, number>> {
  const chosen: Record<number, number> = {};
  for (const [guest, host] of Object.entries(wanted))
    chosen[Number(guest)] = host || (await freePort());
  return chosen;
}
