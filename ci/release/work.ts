import { resolve } from 'node:path';
import { extensionsOf } from '../../builder/config/extensions.ts';
import { loadConfig } from '../../builder/config/load.ts';
import { readImageRecord } from '../../builder/image/record.ts';
import { loadStages } from '../../builder/stages.ts';
import { runProgram } from '../command.ts';
import { commitsSince, look, sourceCommit } from './inputs.ts';
import type { NightWork } from './night.ts';

/** Which boot tests stand before a release. */
export type BootTest = 'all' | 'start' | 'none';

export type ProjectWork = {
  /** The project's folder. */
  root: string;
  config?: string | undefined;
  env?: string | undefined;
  set: readonly string[];
  /** Take the newest base and packages. */
  refresh: boolean;
  bootTest: BootTest;
  /** Debian's security data, a file or URL; without them, nothing is said of vulnerabilities. */
  vulnDb?: string | undefined;
  /** Files of the key pair that signs; without both, nothing is signed. */
  key?: string | undefined;
  publicKey?: string | undefined;
  /** Gets each line that the commands print. */
  onLine: (line: string) => void;
};

/** A night's work in this project: its own commands, each a process of its own. */
export async function projectWork(o: ProjectWork): Promise<NightWork> {
  const sets = o.set;
  const configured = [
    ...(o.config === undefined ? [] : ['--config', resolve(o.config)]),
    ...(o.env === undefined ? [] : ['--env', o.env]),
    ...sets.flatMap((one) => ['--set', one]),
  ];
  const stages = await loadStages(
    o.root,
    extensionsOf({ root: o.root, file: o.config, env: o.env, sets }),
  );
  const { config } = await loadConfig({
    root: o.root,
    file: o.config === undefined ? undefined : resolve(o.config),
    env: o.env,
    sets,
    stages: stages.map((stage) => stage.definition),
  });
  const { key, publicKey, vulnDb } = o;
  const program = (
    args: readonly string[],
    more: { env?: Record<string, string>; fix?: string } = {},
  ) => runProgram(o.root, args, { cwd: o.root, onLine: o.onLine, ...more });
  const command = (...args: string[]) => program(['builder/cli.ts', ...args]);
  const directory = resolve(o.root, config.paths.output, config.name);
  return {
    look: () => look(o.root, config, stages),
    build: async () => {
      const refresh = o.refresh ? ['--refresh'] : [];
      const text = await command('build', '--raw-only', '--json', ...refresh, ...configured);
      const { image, base_digest } = JSON.parse(text) as { image: string; base_digest: string };
      const record = await readImageRecord(image);
      if (!record) throw new Error(`the build left no record of ${image}`);
      return { path: image, base: base_digest, packages: record.packages };
    },
    vulnerabilities:
      vulnDb === undefined
        ? null
        : (image) =>
            command('vulnerabilities', image, '--vuln-db', vulnDb, '--json', ...configured),
    bootTest:
      o.bootTest === 'none'
        ? null
        : async (image) => {
            const only = o.bootTest === 'start' ? ['builder/qemu/image.boot.test.ts'] : [];
            await program(['node_modules/vitest/vitest.mjs', 'run', '--project', 'boot', ...only], {
              env: { NO_COLOR: '1', PI_GATEWAY_IMAGE: image },
              fix: 'Nothing was released; npx pi-gateway-image boot shows the console',
            });
          },
    artifacts: async (url) => {
      await command('build', ...configured, '--set', `image.release_url=${url}`);
      return directory;
    },
    sign:
      key === undefined || publicKey === undefined
        ? null
        : async (staged) => {
            await command('sign', staged, '--key', resolve(key));
            await command('verify', staged, '--key', resolve(publicKey));
          },
    source: () => sourceCommit(o.root),
    commitsSince: (commit) => commitsSince(o.root, commit),
  };
}
