import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gatewayConfig } from '../../builder/config/gateway.ts';
import { programOf } from '../../builder/extension/sandbox.ts';
import { prepareStage } from '../../builder/overlay/prepare.ts';
import { loadStages } from '../../builder/stages.ts';
import type { System } from '../../firstboot/system.ts';
import { type Manifest, socketOf, stateFolderOf } from './manifest.ts';

/** Puts what the builder makes of an extension below `root`, as it lies on the device. */
export async function installExtension(folder: string, root: string): Promise<Manifest> {
  const stage = (await loadStages(folder, [folder])).find(({ extension }) => extension);
  if (!stage?.extension) throw new Error(`There is no extension in ${folder}`);
  const options = stage.definition.options.parse({});
  const config = gatewayConfig({ name: 'test', stages: { [stage.definition.name]: options } }, [
    stage.definition,
  ]);
  const { files } = await prepareStage(folder, stage, options, config);
  for (const file of files) {
    if (!('content' in file)) continue;
    const path = join(root, file.path);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, file.content);
    await chmod(path, file.mode);
  }
  return stage.extension.manifest;
}

/** A service that systemd would start at the first question, by systemd's own program for that. */
export class ActivatedService {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** @param program of the extension's own image; another one for tests of strange ones. */
  static async begin(
    root: string,
    name: string,
    program = join(root, programOf(name)),
  ): Promise<ActivatedService> {
    const socket = join(root, socketOf(name));
    await mkdir(dirname(socket), { recursive: true });
    // Of one that was killed.
    await rm(socket, { force: true });
    const own = {
      STATE_DIRECTORY: join(root, stateFolderOf(name)),
      CONFIGURATION_DIRECTORY: join(root, `etc/pi-gateway-x/${name}`),
    };
    const child = spawn(
      'systemd-socket-activate',
      [
        ...['-l', socket, '--fdname=api'],
        ...Object.entries(own).flatMap(([key, value]) => ['-E', `${key}=${value}`]),
        // As in its unit: builder/extension/sandbox.ts.
        ...[process.execPath, '--jitless', program],
      ],
      { stdio: 'ignore', env: {} },
    );
    // It listens before anybody asks.
    for (let tries = 0; tries < 200; tries += 1) {
      if (await stat(socket).catch(() => undefined)) return new ActivatedService(child);
      await new Promise((done) => setTimeout(done, 20));
    }
    child.kill('SIGKILL');
    throw new Error('systemd-socket-activate does not listen');
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** systemctl(1) of a machine that tests make up: states by unit, and what was done. */
export class StandInSystemd {
  readonly units = new Map<string, { state: string; sub: string; result?: string }>();
  readonly did: string[] = [];

  readonly run: System['run'] = async (command, args) => {
    if (command !== 'systemctl') throw new Error(`${command} is not here`);
    const [verb = '', ...rest] = args;
    if (verb !== 'show') {
      this.did.push(args.filter((one) => one !== '--').join(' '));
      for (const unit of rest.filter((one) => this.units.has(one)))
        this.units.set(
          unit,
          verb === 'start'
            ? { state: 'active', sub: unit.endsWith('.socket') ? 'listening' : 'running' }
            : { state: 'inactive', sub: 'dead' },
        );
      return '';
    }
    const names = rest.slice(rest.indexOf('--') + 1);
    return names
      .map((name) => {
        const unit = this.units.get(name);
        return unit
          ? `Id=${name}\nLoadState=loaded\nActiveState=${unit.state}\nSubState=${unit.sub}\nResult=${unit.result ?? 'success'}\nUnitFileState=enabled\nNRestarts=3\nMemoryCurrent=30000000\n`
          : `Id=${name}\nLoadState=not-found\n`;
      })
      .join('\n');
  };
}
