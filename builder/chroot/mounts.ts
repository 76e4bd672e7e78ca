import { mkdir } from 'node:fs/promises';
import { run } from '../exec.ts';

/** What is mounted, and where: arguments of mount(8) before the target. */
export type MountStep = { target: string; args: readonly string[] };

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

  /** Many at once, in their order, below a mount of this stack: starting mount(8) anew is what takes time. */
  async mountAll(steps: readonly MountStep[]): Promise<void> {
    const lines = steps.map(({ target, args }) => ['mount', ...args, target].map(quoted).join(' '));
    await run('sh', ['-e'], { input: lines.map((line) => `${line}\n`).join('') });
    this.#targets.push(...steps.map(({ target }) => target));
  }

  /** Also takes what others have mounted below. */
  async undo(): Promise<void> {
    const targets = this.#targets.splice(0).toReversed();
    if (targets.length > 0) await run('umount', ['--recursive', ...targets]);
  }
}

/** One word of a shell's line. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

export function bindStep(source: string, target: string): MountStep {
  return { target, args: ['--bind', source] };
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
