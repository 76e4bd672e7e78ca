import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { GatewayConfig } from '../../stages/define.ts';
import { prepareStages } from '../build.ts';
import { gatewayConfig } from '../config/gateway.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import { run } from '../exec.ts';
import { LayerStore } from '../layer/store.ts';
import type { PreparedStage } from '../overlay/prepare.ts';
import { enabledStages } from '../plan/order.ts';
import { loadStages } from '../stages.ts';
import { copyProject } from '../testing/build.ts';
import { findTools, type Tools } from '../tools/tools.ts';

/** What `build --json` prints. */
type BuildReport = {
  image: string;
  raw_seconds: number;
  steps: { step: string; seconds: number; cached: boolean }[];
};

export type TimedBuild = BuildReport & {
  /** From the start of the command to its end. */
  seconds: number;
};

export type Say = (text: string) => void;

/** Settings of every build of the benchmark: the same base and the same bytes wherever it runs. */
const settings = ['base=[debian]'];

/**
 * What all items stand on: a copy of the project with caches of its own, which starts with what the project's
 * cache has (hard links), and an image that is built.
 */
export class Ground {
  readonly scratch: string;
  /** The copy of the project. */
  readonly root: string;
  readonly say: Say;

  private constructor(scratch: string, say: Say) {
    this.scratch = scratch;
    this.root = join(scratch, 'project');
    this.say = say;
  }

  static async lay(o: {
    project: string;
    cache: string;
    scratch: string;
    say: Say;
  }): Promise<Ground> {
    const ground = new Ground(o.scratch, o.say);
    await copyProject(ground.root);
    await rm(join(ground.root, 'gateway.local.yaml'), { force: true });
    o.say('taking over what the cache has');
    await linkCache(
      o.cache,
      ground.cache('warm'),
      ['apt', 'layers', 'state', 'tools'],
      ['archive-state.json'],
    );
    return ground;
  }

  /** Folder of one of the benchmark's caches. */
  cache(name: string): string {
    return join(this.scratch, `cache-${name}`);
  }

  /** Builds to the raw image with the program as a user starts it, and takes its time. */
  async build(cache: string, sets: readonly string[] = []): Promise<TimedBuild> {
    const all = [
      ...settings,
      `paths.cache=${this.cache(cache)}`,
      `paths.output=${this.output(cache)}`,
      ...sets,
    ];
    const begun = performance.now();
    const { stdout } = await run(process.execPath, [
      join(this.root, 'builder/main.ts'),
      'build',
      '--raw-only',
      '--json',
      ...all.flatMap((value) => ['--set', value]),
    ]);
    const seconds = (performance.now() - begun) / 1000;
    return { ...(JSON.parse(stdout) as BuildReport), seconds };
  }

  output(cache: string): string {
    return join(this.scratch, `output-${cache}`);
  }

  /** The raw image of the default configuration, made from what is cached unless it lies there. */
  async image(): Promise<string> {
    this.say('building the image, from what is cached');
    return (await this.build('warm')).image;
  }

  /** The base alone as a raw image, with room for all that is installed in it. */
  async bareImage(): Promise<string> {
    this.say('building the base alone');
    const stages = (await loadStages(this.root)).map(
      (stage) => `stages.${stage.definition.name}=false`,
    );
    const built = await this.build('warm', ['name=bare', 'image.headroom=2G', ...stages]);
    return built.image;
  }

  /** A cache with tools, base and package archives of the warm one, and no other layer. */
  async cacheOfBase(name: string): Promise<void> {
    const warm = this.cache('warm');
    const target = this.cache(name);
    await rm(target, { recursive: true, force: true });
    await rm(this.output(name), { recursive: true, force: true });
    await linkCache(warm, target, ['apt', 'tools'], ['archive-state.json']);
    await mkdir(join(target, 'layers'));
    for (const layer of await new LayerStore(warm).list())
      if (layer.title.startsWith('base '))
        await run('cp', [
          '--archive',
          '--link',
          join(warm, 'layers', layer.name),
          join(target, 'layers'),
        ]);
  }

  async forget(name: string): Promise<void> {
    await rm(this.cache(name), { recursive: true, force: true });
    await rm(this.output(name), { recursive: true, force: true });
  }

  /** What the image is made of. */
  async parts(): Promise<{
    config: Config;
    gateway: GatewayConfig;
    stages: PreparedStage[];
    tools: Tools;
  }> {
    const all = await loadStages(this.root);
    const { config } = await loadConfig({
      root: this.root,
      sets: settings,
      stages: all.map((stage) => stage.definition),
    });
    const enabled = enabledStages(all, config);
    const gateway = gatewayConfig(
      config,
      enabled.map((stage) => stage.definition),
    );
    const tools = await findTools(this.cache('warm'), config.debian);
    if (!tools) throw new Error('the tools are not in the cache after a build');
    return {
      config,
      gateway,
      stages: await prepareStages(this.root, enabled, gateway, this.cache('warm')),
      tools,
    };
  }

  /** A stage of the user's own, as `extensions` takes it; returns its folder. */
  async extension(name: string, packages: readonly string[]): Promise<string> {
    const folder = join(this.root, name);
    await mkdir(join(folder, 'overlay'), { recursive: true });
    await writeFile(
      join(folder, 'stage.ts'),
      `import { z } from 'zod';
import { defineStage } from '../stages/define.ts';

export const ${name} = defineStage({
  name: '${name}',
  summary: 'One package more',
  options: z.strictObject({}),
  packages: () => ${JSON.stringify(packages)},
});
`,
    );
    return folder;
  }
}

/** Hard links of what is there of the cache: its files are never changed, only replaced. */
async function linkCache(
  from: string,
  to: string,
  folders: readonly string[],
  files: readonly string[],
): Promise<void> {
  await mkdir(to, { recursive: true });
  const there: string[] = await readdir(from).catch(() => []);
  for (const name of [...folders, ...files].filter((one) => there.includes(one)))
    await run('cp', ['--archive', '--link', resolve(from, name), to]);
}
