import { appendFile, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { compressImage } from '../artifact/compress.ts';
import { basePackages, dpkgOptions } from '../base/debian.ts';
import { registerBinfmt } from '../chroot/binfmt.ts';
import { run } from '../exec.ts';
import { startRegistry } from '../oci/testing.ts';
import { adminUser, bootSeconds, ownerFile } from '../qemu/harness-facts.ts';
import { makeSshKey, waitForSsh } from '../qemu/ssh.ts';
import { startVm } from '../qemu/vm.ts';
import { fetchLines, hostMirrors } from '../tools/mirror.ts';
import { ClassicChroot } from './classic.ts';
import type { Ground, TimedBuild } from './ground.ts';
import type { Measure } from './measure.ts';

/** Part of the benchmark that `--only` names: it gives one or more measures by name. */
export type Item = (ground: Ground, runs: number) => Promise<Record<string, Measure>>;

/** The package that is added: small, with a maintainer script and a library of its own. */
const onePackage = 'tcpdump';

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now();
  await work();
  return (performance.now() - begun) / 1000;
};

/** Runs both in turn, so that a busy minute of the machine hits both. */
async function inTurn(
  runs: number,
  ours: (run: number) => Promise<number>,
  baseline: (run: number) => Promise<number>,
): Promise<{ ours: number[]; baseline: number[] }> {
  const values = { ours: [] as number[], baseline: [] as number[] };
  for (let index = 0; index < runs; index++) {
    values.ours.push(await ours(index));
    values.baseline.push(await baseline(index));
  }
  return values;
}

/** The I/O floor: a copy of the raw image that leaves out what is zero. */
async function copyOf(ground: Ground, image: string): Promise<number> {
  const target = join(ground.scratch, 'copy.img');
  const taken = await seconds(() =>
    run('cp', ['--sparse=always', '--reflink=never', image, target]),
  );
  await rm(target);
  return taken;
}

const copy = 'cp --sparse=always of the raw image';

const noChange: Item = async (ground, runs) => {
  await ground.image();
  const image = await ground.image(); // remembers what the first only made
  const { ours, baseline } = await inTurn(
    runs,
    async () => (await ground.build('warm')).seconds,
    () => copyOf(ground, image),
  );
  return {
    'no change': {
      what: 'build again, nothing changed, to the raw image',
      unit: 's',
      ours,
      baseline: { what: copy, values: baseline },
      limit: { ofValue: 1 },
    },
  };
};

const overlay: Item = async (ground, runs) => {
  const image = await ground.image();
  const file = join(ground.root, 'overlays/system/etc/sysctl.d/99-bench.conf');
  await mkdir(join(file, '..'), { recursive: true });
  const { ours, baseline } = await inTurn(
    runs,
    async (index) => {
      await appendFile(file, `# edit ${index}\n`);
      return (await ground.build('warm')).seconds;
    },
    () => copyOf(ground, image),
  );
  await rm(file);
  return {
    'one overlay file': {
      what: 'build again after an edit of one file of the first stage, to the raw image',
      unit: 's',
      ours,
      baseline: { what: copy, values: baseline },
      limit: { ofValue: 10, ofRatio: 3 },
    },
  };
};

const compress: Item = async (ground, runs) => {
  const image = await ground.image();
  const { config, tools } = await ground.parts();
  const theirs = join(ground.scratch, 'baseline.xz');
  let released = '';
  const { ours, baseline } = await inTurn(
    runs,
    () =>
      seconds(async () => {
        released = await compressImage({
          image,
          compression: 'xz',
          level: config.image.compress_level,
          tools,
          log: join(ground.scratch, 'compress.log'),
          onProgress: () => undefined,
        });
      }),
    () =>
      seconds(() => run('sh', ['-c', 'exec xz -T0 -6 --stdout "$1" > "$2"', 'sh', image, theirs])),
  );
  const single = join(ground.scratch, 'single.xz');
  await run('sh', ['-c', 'exec xz -T1 -6 --stdout "$1" > "$2"', 'sh', image, single]);
  const sizes = await Promise.all([released, single].map(async (path) => (await stat(path)).size));
  for (const path of [released, theirs, single]) await rm(path);
  return {
    'compress: time': {
      what: '.img.xz as a release has it',
      unit: 's',
      ours,
      baseline: { what: 'xz -T0 -6', values: baseline },
      limit: { ofRatio: 0.6 },
    },
    'compress: size': {
      what: '.img.xz as a release has it',
      unit: 'bytes',
      ours: [sizes[0] ?? 0],
      baseline: { what: 'xz -6 (one thread)', values: [sizes[1] ?? 0] },
      limit: { ofRatio: 1, ofValue: 350e6 },
    },
  };
};

const customise: Item = async (ground, runs) => {
  await ground.image();
  const base = await ground.bareImage();
  const { stages, gateway, tools } = await ground.parts();
  const archives = await archivesOf(ground);
  const { ours, baseline } = await inTurn(
    runs,
    async () => {
      await ground.cacheOfBase('base');
      const { seconds: taken } = await ground.build('base');
      await ground.forget('base');
      return taken;
    },
    () =>
      seconds(async () => {
        const classic = await ClassicChroot.open({
          base,
          scratch: ground.scratch,
          tools,
          archives,
        });
        try {
          await classic.customise(stages, gateway);
          await classic.close();
        } finally {
          await classic.abandon();
        }
      }),
  );
  return {
    'cold, from a base': {
      what: 'all stages on a base that is there, archives downloaded before, to the raw image',
      unit: 's',
      ours,
      baseline: { what: 'chroot and apt in a loop-mounted copy of the base', values: baseline },
      limit: { ofRatio: 0.5 },
    },
  };
};

/** Archives of all packages, for a chroot that may change the folder. */
async function archivesOf(ground: Ground): Promise<string> {
  const target = join(ground.scratch, 'archives');
  await rm(target, { recursive: true, force: true });
  await run('cp', ['--archive', join(ground.cache('warm'), 'apt/debian/archives'), target]);
  return target;
}

const onePackageAdded: Item = async (ground, runs) => {
  await ground.image();
  const installs = await installSeconds(ground, runs);
  const values = { ours: [] as number[], baseline: [] as number[] };
  for (const [index, install] of installs.entries()) {
    const folder = await ground.extension(`bench${index}`, [onePackage]);
    const built = await ground.build('warm', [`extensions=[${folder}]`]);
    values.ours.push(built.seconds);
    values.baseline.push(1.3 * install + secondsOf(built, 'image'));
  }
  return {
    'one package added': {
      what: `build again with ${onePackage} in a stage of one's own, to the raw image`,
      unit: 's',
      ours: values.ours,
      baseline: {
        what: '1.3 times its apt-get install in a loop-mounted image, and the assembly',
        values: values.baseline,
      },
      limit: { ofRatio: 1 },
    },
  };
};

/** Seconds that the package takes in a loop-mounted image that has all others. */
async function installSeconds(ground: Ground, runs: number): Promise<number[]> {
  const base = await ground.bareImage();
  const { stages, tools } = await ground.parts();
  const archives = await archivesOf(ground);
  const { scratch } = ground;
  const classic = await ClassicChroot.open({ base, scratch, tools, archives });
  const taken: number[] = [];
  try {
    await classic.update();
    await classic.install([...new Set(stages.flatMap((stage) => stage.packages))].sort());
    const before = await classic.installed();
    for (let index = 0; index < runs; index++) {
      taken.push(
        await seconds(async () => {
          await classic.update();
          await classic.install([onePackage]);
        }),
      );
      const after = await classic.installed();
      await classic.purge([...after].filter((name) => !before.has(name)));
    }
  } finally {
    await classic.abandon();
  }
  return taken;
}

function secondsOf(built: TimedBuild, name: string): number {
  return built.steps.find(({ step }) => step === name)?.seconds ?? 0;
}

const nothing: Item = async (ground, runs) => {
  await ground.image();
  const { config, stages, tools } = await ground.parts();
  const mirrors = await hostMirrors();
  const purged = new Set(stages.flatMap((stage) => stage.purge));
  const packages = [
    ...basePackages,
    ...config.debian.packages,
    ...stages.flatMap((one) => one.packages),
  ];
  const tree = join(ground.scratch, 'mmdebstrap');
  const { ours, baseline } = await inTurn(
    runs,
    async () => {
      await ground.forget('empty');
      const { seconds: taken } = await ground.build('empty');
      await ground.forget('empty');
      return taken;
    },
    async () => {
      const unregister = await registerBinfmt(join(tools.root, 'usr/bin/qemu-aarch64'));
      const taken = await seconds(() =>
        run('mmdebstrap', [
          '--variant=minbase',
          '--mode=root',
          '--architectures=arm64',
          `--components=${config.debian.components.join(',')}`,
          `--include=${[...new Set(packages)].filter((name) => !purged.has(name)).join(',')}`,
          '--aptopt=Acquire::Languages "none"',
          '--aptopt=APT::Install-Recommends "false"',
          ...dpkgOptions.map((option) => `--dpkgopt=${option}`),
          '--skip=check/qemu',
          config.debian.suite,
          tree,
          ...fetchLines(config.debian, mirrors),
        ]),
      );
      await unregister();
      await rm(tree, { recursive: true, force: true });
      return taken;
    },
  );
  return {
    'cold, from nothing': {
      what: 'empty caches: tools, base, stages, to the raw image',
      unit: 's',
      ours,
      baseline: {
        what: 'one-shot mmdebstrap with the same packages, a tree only',
        values: baseline,
      },
      limit: { ofRatio: 0.8 },
    },
  };
};

const runner: Item = async (ground, runs) => {
  await ground.image();
  const registry = await startRegistry();
  const store = `oci://${registry.host}/gateway/layers`;
  try {
    const cold = await ground.build('first', [`cache.push=${store}`]);
    await ground.forget('first');
    const ours: number[] = [];
    for (let index = 0; index < runs; index++) {
      ours.push((await ground.build('runner', [`cache.pull=[${store}]`])).raw_seconds);
      await ground.forget('runner');
    }
    return {
      'runner with a warm registry': {
        what: 'empty caches, all layers in a registry on this machine, to the raw image',
        unit: 's',
        ours,
        baseline: { what: 'our own build from nothing', values: [cold.raw_seconds] },
        limit: { ofRatio: 0.2 },
      },
    };
  } finally {
    await registry.close();
  }
};

const boot: Item = async (ground, runs) => {
  const image = await ground.image();
  const bare = await ground.bareImage();
  const key = await makeSshKey();
  const { ours, baseline } = await inTurn(
    runs,
    () =>
      seconds(async () => {
        const vm = await startVm({
          image,
          forwards: { 22: 0 },
          diskSize: '4G',
          bootFiles: ownerFile(key.publicKey),
        });
        const port = vm.ports[22] ?? 0;
        await vm.whileRunning(waitForSsh({ user: adminUser, port, key }, bootSeconds));
        await vm.stop();
      }),
    () =>
      seconds(async () => {
        const vm = await startVm({ image: bare, diskSize: '4G' });
        await vm.waitForConsole(/login:/, bootSeconds);
        await vm.stop();
      }),
  ).finally(() => key.remove());
  return {
    boot: {
      what: 'first boot in QEMU, until SSH lets the admin in',
      unit: 's',
      ours,
      baseline: {
        what: 'first boot of the base alone, until it asks for a login',
        values: baseline,
      },
    },
  };
};

/** In the order in which they run: what is cheap first. */
export const items: Record<string, Item> = {
  'no-change': noChange,
  overlay,
  package: onePackageAdded,
  compress,
  boot,
  customise,
  nothing,
  runner,
};
