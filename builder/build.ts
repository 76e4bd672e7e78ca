import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { GatewayConfig } from '../stages/define.ts';
import { type Artifacts, writeArtifacts } from './artifact/artifacts.ts';
import { partial } from './artifact/compress.ts';
import { type Base, debianLayer, findDebian, makeDebian } from './base/base.ts';
import { openImageBase } from './base/image-base.ts';
import type { RemoteImage } from './base/os-list.ts';
import { Mounts, mountOverlay } from './chroot/mounts.ts';
import { openSession, type Session } from './chroot/session.ts';
import { gatewayConfig } from './config/gateway.ts';
import type { Config } from './config/schema.ts';
import { BuildError, exitCode, messageOf } from './errors.ts';
import { refuseReplaced } from './extension/extension.ts';
import { BuildHost } from './host.ts';
import { assembleImage } from './image/assemble.ts';
import { readImageRecord, writeImageRecord } from './image/record.ts';
import {
  applyConfig,
  initramfsContent,
  installedPackages,
  seal,
  setUpDebianBoot,
  touchesInitramfs,
  updateInitramfs,
} from './layer/apply.ts';
import { type LayerName, Sharing, type ShowStep } from './layer/sharing.ts';
import type { LayerStore } from './layer/store.ts';
import { LockGuard, type LockUse, layerPackages, treeMirrors } from './lock/guard.ts';
import { aptPreferences, contentState } from './lock/lock-file.ts';
import { Bundles } from './overlay/bundles.ts';
import { type PreparedStage, prepareStage } from './overlay/prepare.ts';
import { digestOf } from './plan/digest.ts';
import { type LayerInputs, type LayerStep, type PackageStep, planLayers } from './plan/plan.ts';
import type { LoadedStage } from './stages.ts';
import { type BuildState, readState, writeState } from './state.ts';
import { fetchLines } from './tools/mirror.ts';
import { ensureTools, findTools, type Tools } from './tools/tools.ts';
import type { Progress, Step } from './ui/progress.ts';

export type BuildRequest = {
  /** The project's folder. */
  root: string;
  config: Config;
  /** Enabled stages in order. */
  stages: readonly LoadedStage[];
  /** Ask for the newest base and packages. */
  refresh: boolean;
  /** Stage to open a shell in, once it is applied or has failed. */
  shell?: string | undefined;
  /** False skips the check for free space. */
  spaceCheck: boolean;
  /** Stop when the raw image is there. */
  rawOnly: boolean;
  /** Take just what is locked. */
  lock?: LockUse | undefined;
  progress: Progress;
};

/** What `lock update` records. */
export type MadePackages = {
  tools: Tools;
  base: Base;
  /** The layer of the Debian base. */
  baseLayer: string | undefined;
  archiveState: string;
  steps: readonly PackageStep[];
  store: LayerStore;
};

export type BuildResult = {
  artifacts: Artifacts | undefined;
  image: string;
  base: Base;
  /** Of the stages, lowest first. */
  layers: readonly LayerName[];
  /** Seconds until the raw image was there. */
  rawSeconds: number;
  seconds: number;
};

/** What all steps of one build share. */
type Build = BuildRequest & {
  host: BuildHost;
  cache: string;
  output: string;
  logs: string;
  scratch: string;
  store: LayerStore;
  /** Layers of other machines, and ours for them. */
  sharing: Sharing;
  state: BuildState;
  /** Names the state of the package archives that layers are made at. */
  archiveState: string;
  guard?: LockGuard;
  started: number;
};

/** Runs the whole build: config → base → layers → image → artifacts. Needs the private namespace. */
export async function build(request: BuildRequest): Promise<BuildResult> {
  const { refresh, spaceCheck } = request;
  const cache = resolve(request.root, request.config.paths.cache);
  const host = await BuildHost.open({
    cache,
    refresh,
    spaceCheck,
    slots: 1,
    archiveState: request.lock?.lock.archive.state,
  });
  try {
    return await buildOn(host, request);
  } finally {
    await host.close();
  }
}

/** Runs one image's build on a host that it may share with others; each has a name of its own. */
export async function buildOn(host: BuildHost, request: BuildRequest): Promise<BuildResult> {
  return await withBuild(host, request, runSteps);
}

/** Makes tools, base and the layers of packages alone, and says what they are. */
export async function buildPackages(host: BuildHost, request: BuildRequest): Promise<MadePackages> {
  return await withBuild(host, request, async (b) => {
    const ground = await layGround(b);
    const { tools, base } = ground;
    const steps = ground.steps.filter((step) => step.kind === 'packages');
    await makeLayers(b, ground, steps);
    return {
      tools,
      base,
      baseLayer: base.kind === 'debian' ? debianLayer(b.config, tools, b.archiveState) : undefined,
      archiveState: b.archiveState,
      steps,
      store: b.store,
    };
  });
}

async function withBuild<T>(
  host: BuildHost,
  request: BuildRequest,
  work: (b: Build) => Promise<T>,
): Promise<T> {
  const { config, root } = request;
  const { cache } = host;
  const output = resolve(root, config.paths.output, config.name);
  const old = await readState(cache, config.name);
  const logs = join(cache, 'logs', config.name);
  await rm(logs, { recursive: true, force: true });
  await mkdir(logs, { recursive: true });
  host.meter.watch(output);
  const b: Build = {
    ...request,
    host,
    cache,
    output,
    logs,
    scratch: await host.scratchOf(config.name),
    store: host.store,
    sharing: await host.once(`sharing ${digestOf(config.cache)}`, async () =>
      Sharing.open({
        root,
        config,
        cache,
        store: host.store,
        scratch: host.scratch,
        say: (text) => request.progress.say(text),
      }),
    ),
    state: request.refresh ? { ...old, base: null } : old,
    archiveState: host.archiveState,
    started: performance.now(),
  };
  try {
    return await work(b);
  } finally {
    await b.store.settle();
    await rm(b.scratch, { recursive: true, force: true });
    await writeState(cache, config.name, {
      ...b.state,
      seconds: {
        ...b.state.seconds,
        ...Object.fromEntries(
          b.progress.timings.filter((t) => !t.cached).map((t) => [t.step, t.seconds]),
        ),
      },
    });
  }
}

/** Shows what is shared with other machines as steps. */
function shown(b: Build): ShowStep {
  return async (name, work) => {
    await b.host.prepare();
    await turn(b, name, work);
  };
}

/** Runs a step that takes cores and memory when it is its turn. */
function turn<T>(b: Build, name: string, work: (ui: Step) => Promise<T>): Promise<T> {
  return b.host.slot(() => b.progress.step(name, work));
}

/** What an image's own layers stand on, and which they are. */
type Ground = {
  tools: Tools;
  base: Base;
  sourceDateEpoch: number;
  gateway: GatewayConfig;
  stages: readonly PreparedStage[];
  steps: readonly LayerStep[];
  maker: LayerMaker;
};

async function layGround(b: Build): Promise<Ground> {
  const gateway = gatewayConfig(
    b.config,
    b.stages.map((stage) => stage.definition),
  );
  const stages = await prepareStages(b.root, b.stages, gateway, b.cache);
  if (b.lock) {
    b.guard = new LockGuard(b.lock, stages);
    b.config = b.guard.config(b.config);
    await refuseEarly(b, b.guard, stages, gateway);
  }
  const tools = await makeTools(b);
  const base = await makeBase(b, tools);
  b.guard?.checkImage(base);
  b.progress.say(`Base: ${base.description}`);
  const sourceDateEpoch = epochOf(b.config, base);
  const plan = () => planOn(b, tools, base, stages, gateway);
  let steps = plan();
  if (b.guard && (await lockedSoFar(b, b.guard, steps)) === 'others') {
    b.archiveState = contentState(b.guard.lock);
    steps = plan();
  }
  const maker = new LayerMaker(b, tools, base, sourceDateEpoch);
  return { tools, base, sourceDateEpoch, gateway, stages, steps, maker };
}

function planOn(
  b: Build,
  tools: Tools,
  base: Base,
  stages: readonly PreparedStage[],
  gateway: GatewayConfig,
): LayerStep[] {
  return planLayers({
    baseDigest: base.digest,
    stages,
    pins: b.config.apt.pin,
    freshness: b.archiveState,
    sourceDateEpoch: epochOf(b.config, base),
    toolsDigest: tools.digest,
    config: gateway,
  });
}

/**
 * What the layers of packages that the cache has hold, up to the first that it lacks: `others` than the
 * locked packages, or these.
 */
async function lockedSoFar(
  b: Build,
  guard: LockGuard,
  steps: readonly LayerStep[],
): Promise<'others' | { have: Record<string, string> | undefined; all: boolean }> {
  let have: Record<string, string> | undefined;
  for (const step of steps.filter((one) => one.kind === 'packages')) {
    if (!(await b.store.find(step.digest))) return { have, all: false };
    have = (await layerPackages(join(b.store.directory, b.store.tree(step.digest)))) ?? have;
    if (have && !guard.fits(have)) return 'others';
  }
  return { have, all: true };
}

/** Of the states whose layers may be the locked ones: the one whose base is, or can be made. */
async function lockedState(b: Build, guard: LockGuard, tools: Tools): Promise<string> {
  const [state, content] = guard.states;
  for (const one of guard.states) {
    const layer = debianLayer(b.config, tools, one);
    if (!(await b.store.find(layer))) continue;
    const tree = join(b.store.directory, b.store.tree(layer));
    if (await guard.fitsBase(tree)) return one;
  }
  return (await b.store.find(debianLayer(b.config, tools, state))) ? content : state;
}

/** Refuses before anything is made what the archive no longer has, unless layers of the cache have it. */
async function refuseEarly(
  b: Build,
  guard: LockGuard,
  stages: readonly PreparedStage[],
  gateway: GatewayConfig,
): Promise<void> {
  // The archives of an image base are known to the image alone: they are asked from within it.
  if (guard.lock.base.kind !== 'debian') return;
  const { debian } = b.config;
  if (!(await findTools(b.cache, debian))) await b.sharing.pullTools(b.config, undefined, shown(b));
  const tools = await findTools(b.cache, debian, guard.toolPins);
  let have: Record<string, string> = {};
  if (tools) {
    b.archiveState = await lockedState(b, guard, tools);
    await b.sharing.pullBase(debianLayer(b.config, tools, b.archiveState), shown(b));
    const base = await findDebian(b.config, tools, b.store, b.archiveState);
    if (base) {
      have = (await layerPackages(join(b.store.directory, base.layers[0] ?? ''))) ?? {};
      const steps = planOn(b, tools, base, stages, gateway);
      const packages = steps.filter((step) => step.kind === 'packages');
      await b.sharing.pullLayers(
        'layers',
        packages.map((step) => step.digest),
        shown(b),
      );
      const found = await lockedSoFar(b, guard, steps);
      if (found !== 'others') {
        if (found.all) return;
        have = found.have ?? have;
      }
    }
  }
  await b.progress.step('check the lock', () =>
    guard.checkArchive(b.cache, debian, { tools: tools === undefined, have }),
  );
}

/** Makes the layers, or finds them; returns the trees, lowest first, and what an initramfs is made from. */
async function makeLayers(
  b: Build,
  { base, gateway, maker }: Ground,
  steps: readonly LayerStep[],
): Promise<{ names: string[]; flagged: string[] }> {
  const names = [...base.layers];
  const flagged: string[] = [];
  await b.sharing.pullLayers(
    'layers',
    steps.map((step) => step.digest),
    shown(b),
  );
  for (const step of steps) {
    const facts = await maker.layer(
      step.id,
      step.digest,
      step.inputs,
      names,
      (session, ui, lists) =>
        step.kind === 'packages'
          ? installStage(b, maker, session, step, ui, lists)
          : applyConfig(session, step.stage, gateway),
      step.stage.stage.definition.name,
    );
    names.push(b.store.tree(step.digest));
    if (facts.initramfs === true) flagged.push(await initramfsInput(b, step));
  }
  return { names, flagged };
}

/** What an initramfs is made from in a layer: of files their content alone, whatever lies below them. */
async function initramfsInput(b: Build, step: LayerStep): Promise<string> {
  if (step.kind === 'packages') return step.digest;
  const content = await initramfsContent(join(b.store.directory, b.store.tree(step.digest)));
  // Whether a folder hides all that lies below it follows from the code that made it.
  return digestOf([step.id, content, step.inputs.code ?? '']);
}

async function runSteps(b: Build): Promise<BuildResult> {
  const ground = await layGround(b);
  const { config, progress } = b;
  const { tools, base, sourceDateEpoch, stages, steps, maker } = ground;
  const { names, flagged } = await makeLayers(b, ground, steps);
  await bootLayer(b, maker, base, names, flagged);
  const last = await sealLayer(b, maker, base, names, steps, sourceDateEpoch);
  await b.store.settle();
  const image = await makeImage(b, tools, base, names, last, sourceDateEpoch);
  const rawSeconds = (performance.now() - b.started) / 1000;
  const artifacts = b.rawOnly
    ? undefined
    : await b.host.slot(async () =>
        writeArtifacts({
          root: b.root,
          directory: b.output,
          image: image.path,
          imageDigest: image.digest,
          config,
          base,
          tools,
          stages: stages.map((stage) => stage.stage.definition),
          packages: image.packages,
          layers: steps.map(({ id, digest }) => ({ id, digest })),
          sourceDateEpoch,
          archiveState: b.archiveState,
          mirrors:
            base.kind === 'debian'
              ? await treeMirrors(join(b.store.directory, base.layers[0] ?? ''))
              : undefined,
          progress,
          log: join(b.logs, 'artifacts.log'),
          started: b.started,
          resources: () => b.host.meter.peaks(),
        }),
      );
  const own = debianLayer(config, tools, b.archiveState);
  const layers = [
    ...(base.kind === 'debian' ? [{ id: 'base debian', digest: own }] : []),
    ...maker.made,
  ];
  b.state = { ...b.state, layers };
  // A shell may have left something of its own in them.
  if (b.shell === undefined)
    await b.sharing.push({ tools, source: config.debian, layers }, shown(b));
  return {
    artifacts,
    image: image.path,
    base,
    layers: steps.map(({ id, digest }) => ({ id, digest })),
    rawSeconds,
    seconds: (performance.now() - b.started) / 1000,
  };
}

/** SOURCE_DATE_EPOCH of the environment, else of gateway.yaml, else the base's newest file. */
function epochOf(config: Config, base: Base): number {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined && given !== '') {
    if (!/^\d{1,12}$/.test(given))
      throw new BuildError({
        what: `SOURCE_DATE_EPOCH is no number of seconds: '${given}'`,
        where: 'environment',
        fix: 'Set it to a Unix time, e.g. SOURCE_DATE_EPOCH=$(git log -1 --format=%ct), or unset it',
        code: exitCode.usage,
      });
    return Number(given);
  }
  return config.image.source_date_epoch ?? base.date;
}

/** Renders every stage; shared with `plan`. */
export async function prepareStages(
  root: string,
  stages: readonly LoadedStage[],
  config: GatewayConfig,
  cache: string,
): Promise<PreparedStage[]> {
  const bundles = new Bundles(join(cache, 'bundles'));
  const prepared = await Promise.all(
    stages.map((stage) =>
      prepareStage(root, stage, config.stages[stage.definition.name], config, bundles),
    ),
  );
  refuseReplaced(prepared);
  return prepared;
}

async function makeTools(b: Build): Promise<Tools> {
  const pins = b.guard?.toolPins;
  const known = await findTools(b.cache, b.config.debian, pins);
  if (known) {
    b.progress.cached('tools');
    return known;
  }
  return await b.host.once(`tools ${digestOf(b.config.debian)}`, async () => {
    await b.host.prepare();
    if (!(await findTools(b.cache, b.config.debian)))
      await b.sharing.pullTools(b.config, pins ? undefined : b.archiveState, shown(b));
    const pulled = await findTools(b.cache, b.config.debian, pins);
    if (pulled) return pulled;
    return await turn(b, 'tools', () =>
      ensureTools(b.cache, b.config.debian, {
        keyring: b.config.debian.keyring,
        log: join(b.logs, 'tools.log'),
        scratch: b.scratch,
        pins,
      }),
    );
  });
}

/** The first base of the list that can be had; which it was is remembered, so that it stays. */
async function makeBase(b: Build, tools: Tools): Promise<Base> {
  const list = digestOf([b.config.base, b.config.raspios]);
  const start = b.state.base?.list === list ? b.state.base.index : 0;
  for (const [index, choice] of b.config.base.entries()) {
    if (index < start) continue;
    try {
      const base =
        choice === 'debian'
          ? await debianBase(b, tools)
          : await b.host.once(`base ${digestOf([choice, b.config.raspios])}`, () =>
              openImageBase(
                {
                  ...b,
                  // Its mount outlives this image's build: others may stand on it.
                  scratch: b.host.scratch,
                  mounts: b.host.mounts,
                  remembered: rememberedSource(b, list, index),
                },
                choice,
              ),
            );
      b.state = { ...b.state, base: { list, index, source: base.source } };
      await b.host.keepArchiveState();
      return base;
    } catch (error) {
      const unreachable = error instanceof BuildError && error.code === exitCode.source;
      if (!unreachable || index === b.config.base.length - 1) throw error;
      b.progress.say(`Base ${describeChoice(choice)} cannot be had: ${messageOf(error)}`);
      b.progress.say(
        `Going on with the next of the list: ${describeChoice(b.config.base[index + 1])}`,
      );
    }
  }
  throw new BuildError({
    what: 'No base is configured',
    where: 'base in gateway.yaml',
    code: exitCode.usage,
  });
}

function rememberedSource(b: Build, list: string, index: number): RemoteImage | undefined {
  if (b.guard) return b.guard.image;
  const last = b.state.base;
  if (last?.list !== list || last.index !== index) return undefined;
  return 'url' in last.source ? last.source : undefined;
}

function describeChoice(choice: Config['base'][number] | undefined): string {
  return typeof choice === 'object' ? JSON.stringify(choice) : String(choice);
}

async function debianBase(b: Build, tools: Tools): Promise<Base> {
  if (b.guard) b.archiveState = await lockedState(b, b.guard, tools);
  const freshness = b.archiveState;
  const known = await findDebian(b.config, tools, b.store, freshness);
  if (known) {
    b.progress.cached('base debian');
    return known;
  }
  await b.host.once(`base ${debianLayer(b.config, tools, freshness)}`, async () => {
    await b.host.prepare();
    const layer = debianLayer(b.config, tools, freshness);
    await b.sharing.pullBase(layer, shown(b));
    if (await b.store.find(layer)) return;
    await b.host.emulate(tools);
    await turn(b, 'base debian', (ui) =>
      makeDebian(b.config, tools, b.store, {
        freshness,
        scratch: b.scratch,
        log: join(b.logs, 'base.log'),
        onLine: (line) => ui.note(line),
        pins: b.guard?.pins,
        check: (versions) => b.guard?.checkInstalled(versions, "step 'base debian'"),
      }),
    );
  });
  const made = await findDebian(b.config, tools, b.store, freshness);
  if (!made) throw new Error('the Debian base is not in the store after it was made');
  return made;
}

/** `lists` is the folder of apt's package lists that the session uses. */
type LayerWork = (session: Session, ui: Step, lists: string) => Promise<void>;

/** Seconds: a kill may cost so much work. */
const worthKeeping = 2;

/** Makes layers on top of others, or finds them. */
class LayerMaker {
  readonly #b: Build;
  readonly #tools: Tools;
  readonly #epoch: number;
  readonly #kind: string;
  /** Every layer so far, lowest first. */
  readonly made: LayerName[] = [];
  #updated = false;
  /** Sources of a snapshot mirror; by default those of the image. */
  readonly #sources: string | undefined;

  constructor(b: Build, tools: Tools, base: Base, epoch: number) {
    const { debian } = b.config;
    if (base.kind === 'debian' && debian.snapshot !== null)
      this.#sources = fetchLines(debian, {})
        .map((line) => `${line}\n`)
        .join('');
    this.#b = b;
    this.#tools = tools;
    this.#epoch = epoch;
    this.#kind = base.kind;
  }

  /** Fetches the package lists, once a build; true if it did. */
  async update(session: Session): Promise<boolean> {
    if (this.#updated) return false;
    await session.run('apt-get', ['update']);
    this.#updated = true;
    return true;
  }

  /** @returns the layer's facts. */
  async layer(
    id: string,
    digest: string,
    inputs: LayerInputs,
    below: readonly string[],
    work: LayerWork,
    stageName?: string,
  ): Promise<Record<string, unknown>> {
    const b = this.#b;
    this.made.push({ id, digest });
    let known = (await b.store.find(digest))?.facts;
    if (!known) {
      await b.sharing.pullLayers(id, [digest], shown(b));
      known = (await b.store.find(digest))?.facts;
    }
    if (!known) {
      let mine = false;
      known = await b.host.once(`layer ${digest}`, () => {
        mine = true;
        return this.#make(id, digest, below, work, stageName);
      });
      if (!mine) b.progress.cached(id);
    } else b.progress.cached(id);
    b.state.inputs[id] = inputs;
    return known;
  }

  async #make(
    id: string,
    digest: string,
    below: readonly string[],
    work: LayerWork,
    stageName: string | undefined,
  ): Promise<Record<string, unknown>> {
    const b = this.#b;
    await b.host.prepare();
    await b.host.emulate(this.#tools);
    const scratch = join(b.scratch, digest.slice(0, 12));
    await mkdir(scratch, { recursive: true });
    const log = join(b.logs, `${id.replaceAll(' ', '-')}.log`);
    const inSession = async (aptCache: string, ui: Step) => {
      const session = await openSession({
        tools: this.#tools,
        directory: b.store.directory,
        layers: below,
        scratch,
        aptCache,
        log,
        sourceDateEpoch: this.#epoch,
        preferences: b.guard && aptPreferences(b.guard.pins),
        sources: this.#sources,
        onLine: (line) => ui.note(line),
      });
      try {
        await work(session, ui, join(aptCache, 'lists'));
      } catch (error) {
        if (stageName && b.shell === stageName) await openShell(session, messageOf(error));
        await session.close().catch(() => undefined);
        throw inStep(error, id, log);
      }
      if (stageName && b.shell === stageName && id.startsWith('config'))
        await openShell(session, 'applied without an error');
      await session.close();
    };
    return await turn(b, id, async (ui) => {
      const begun = performance.now();
      await b.host.withAptCache(this.#kind, (aptCache) => inSession(aptCache, ui));
      const upper = join(scratch, 'upper');
      const facts = { initramfs: await touchesInitramfs(upper) };
      const seconds = (performance.now() - begun) / 1000;
      await b.store.add(digest, upper, { title: id, seconds, facts });
      // What took long is kept at once, the rest together at the end.
      if (seconds > worthKeeping) await b.store.settle();
      return facts;
    });
  }
}

async function openShell(session: Session, why: string): Promise<void> {
  process.stderr.write(
    `\n${why}\nA shell in the image as it is now; exit ends it, nothing is kept.\n`,
  );
  await session.shell();
}

/** Says in which step it happened and where the whole log lies. */
function inStep(error: unknown, id: string, log: string): BuildError {
  const known = error instanceof BuildError ? error : undefined;
  return new BuildError({
    what: messageOf(error),
    where: `step '${id}'${known?.where ? `: ${known.where}` : ''}`,
    detail: known?.detail,
    fix:
      known?.fix ??
      `The whole log: ${log}. To look around where it failed: npm run image -- --shell ${id.split(' ')[1] ?? 'STAGE'}`,
    code: known?.code,
    cause: error,
  });
}

async function installStage(
  b: Build,
  maker: LayerMaker,
  session: Session,
  step: PackageStep,
  ui: Step,
  lists: string,
): Promise<void> {
  await session.purge(step.purge);
  ui.note('package lists');
  const updated = await maker.update(session);
  const installed = async () => (await layerPackages(session.root)) ?? {};
  if (updated && b.guard?.image) await b.guard.checkLists(lists, await installed());
  await session.install(step.packages);
  b.guard?.checkInstalled(await installed(), `the stage's packages`);
}

/** Kernel command line, fstab and initramfs; again only if something that goes in changed. */
async function bootLayer(
  b: Build,
  maker: LayerMaker,
  base: Base,
  names: string[],
  flagged: readonly string[],
): Promise<void> {
  const debian = base.kind === 'debian';
  if (!debian && flagged.length === 0) return;
  const inputs = { base: base.digest, diskId: base.layout.diskId, initramfs: digestOf(flagged) };
  const digest = digestOf(['boot', 4, inputs]);
  await maker.layer('initramfs', digest, inputs, names, (session) =>
    debian ? setUpDebianBoot(session, { diskId: base.layout.diskId }) : updateInitramfs(session),
  );
  names.push(b.store.tree(digest));
}

async function sealLayer(
  b: Build,
  maker: LayerMaker,
  base: Base,
  names: string[],
  steps: readonly LayerStep[],
  sourceDateEpoch: number,
): Promise<string> {
  const image = {
    name: b.config.name,
    base: { kind: base.kind, description: base.description },
    stages: b.stages.map((stage) => stage.definition.name),
    source_date_epoch: sourceDateEpoch,
  };
  const inputs = {
    parents: digestOf([base.digest, names, steps.at(-1)?.digest ?? '']),
    image: digestOf(image),
  };
  const digest = digestOf(['seal', 2, inputs]);
  await maker.layer('seal', digest, inputs, names, (session) => seal(session, { image }));
  names.push(b.store.tree(digest));
  return digest;
}

async function makeImage(
  b: Build,
  tools: Tools,
  base: Base,
  names: readonly string[],
  sealed: string,
  sourceDateEpoch: number,
): Promise<{ path: string; digest: string; packages: Record<string, string> }> {
  const { config } = b;
  const path = join(b.output, `${config.name}.img`);
  const digest = digestOf([
    'image',
    1,
    sealed,
    base.layout,
    config.image.headroom,
    sourceDateEpoch,
  ]);
  const record = await readImageRecord(path);
  if (record?.digest === digest) {
    b.progress.cached('image');
    return { path, digest, packages: record.packages };
  }
  await b.host.prepare();
  return await turn(b, 'image', async (ui) => {
    const mounts = new Mounts();
    const tree = join(b.scratch, 'tree');
    await mountOverlay(mounts, { directory: b.store.directory, layers: names, target: tree });
    try {
      await mkdir(b.output, { recursive: true });
      const temporary = `${path}${partial}`;
      await assembleImage({
        tree,
        image: temporary,
        scratch: b.scratch,
        layout: base.layout,
        headroom: config.image.headroom,
        sourceDateEpoch,
        tools,
        log: join(b.logs, 'image.log'),
        onPhase: (phase) => ui.note(phase),
      });
      const packages = await installedPackages(tree);
      // Artifacts of the image before would not be this one's.
      for (const name of await readdir(b.output))
        if (!name.endsWith(partial)) await rm(join(b.output, name), { recursive: true });
      await rename(temporary, path);
      await writeImageRecord(path, digest, packages);
      return { path, digest, packages };
    } catch (error) {
      await rm(`${path}${partial}`, { force: true });
      throw error;
    } finally {
      await mounts.undo();
    }
  });
}
