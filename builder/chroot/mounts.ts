import { mkdir } from 'node:fs/promises';
import { run } from '../exec.ts';

/**
 * A stack of mounts, undone in reverse order. The private mount namespace undoes them too when the
 * process dies; this is for going on within one process.
 */
export class Mounts {
  readonly #targets: string[] = [];

  async mount(target: string, args: readonly string[], cwd?: string): Promise<void> {
    await run('mount', [...args, target], cwd === undefined ? {} : { cwd });
    this.#targets.push(target);
  }

  async bind(source: string, target: string, readOnly = false): Promise<void> {
    await this.mount(target, ['--bind', ...(readOnly ? ['-o', 'ro'] : []), source]);
  }

  async undo(): Promise<void> {
    for (let target = this.#targets.pop(); target; target = this.#targets.pop()) {
      await run('umount', [target]);
    }
  }
}

/**
 * Options that keep an overlay's upper directory usable as a lower one later, on any machine: no
 * file handles, redirects or metadata-only copies in it (kernel, overlayfs.rst).
 */
const portable = 'index=off,redirect_dir=off,metacopy=off,xino=off';

/**
 * Mounts the layers (lowest first) at `target`, with a writable upper directory if one is given.
 * Layer directories are named relative to `directory`, because mount(2) takes one page of options.
 */
export async function mountOverlay(
  mounts: Mounts,
  o: {
    directory: string;
    layers: readonly string[];
    target: string;
    upper?: { directory: string; work: string };
  },
): Promise<void> {
  await mkdir(o.target, { recursive: true });
  if (o.layers.length === 1 && !o.upper) {
    await mounts.mount(o.target, ['--bind', '-o', 'ro', o.layers[0] ?? ''], o.directory);
    return;
  }
  const lower = o.layers.toReversed().join(':');
  // volatile: dpkg's many fsyncs do nothing; LayerStore.commit syncs once, when the layer is whole.
  const upper = o.upper ? `,volatile,upperdir=${o.upper.directory},workdir=${o.upper.work}` : '';
  await mounts.mount(
    o.target,
    [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `${o.upper ? '' : 'ro,'}lowerdir=${lower}${upper},${portable}`,
    ],
    o.directory,
  );
}
