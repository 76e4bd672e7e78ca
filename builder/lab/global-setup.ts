import { access } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { loadConfig } from '../config/load.ts';
import { BuildError, exitCode } from '../errors.ts';
import { loadStages } from '../stages.ts';
import { openLab, type ZoneAddresses } from './lab.ts';
import { probesTree } from './probes.ts';

/** The image and its environment: what ci/lab.sh builds, or ci/services.sh. */
const { name, env, command } =
  process.env.PI_GATEWAY_LAB === 'services'
    ? { name: 'pi-gateway-services', env: 'services', command: 'npm run services' }
    : { name: 'pi-gateway-lab', env: 'router', command: 'npm run lab' };

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Boots the router's image once, with a host in each zone, for all lab tests of the run. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stages = await loadStages(root);
  const { config } = await loadConfig({
    root,
    env,
    stages: stages.map((stage) => stage.definition),
  });
  const image = join(resolve(root, config.paths.output), name, `${name}.img`);
  await access(image).catch((cause) => {
    throw new BuildError({
      what: "There is no router's image to test",
      where: image,
      fix: `Run: ${command}`,
      code: exitCode.usage,
      cause,
    });
  });
  project.provide('probes', await probesTree(resolve(root, config.paths.cache), config.debian));
  project.provide('image', image);
  const lab = await openLab({ image, zones: zonesOf(config.stages.firewall) });
  project.provide('lab', lab.facts);
  return lab.close;
}

function zonesOf(options: unknown): ZoneAddresses {
  const { zones } = options as {
    zones: Record<string, { address4?: string | null; address6?: string | null } | undefined>;
  };
  const of = (name: string) => ({
    v4: zones[name]?.address4 ?? '',
    v6: zones[name]?.address6 ?? '',
  });
  return { lan: of('lan'), guest: of('guest'), dmz: of('dmz') };
}
