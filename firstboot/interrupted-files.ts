import type * as promises from 'node:fs/promises';

/** Called before everything that changes the disk, and in the middle of each write. */
export type Card = { beforeChange(): Promise<void> };

type Changing = 'rename' | 'rm' | 'link' | 'unlink' | 'symlink';

/**
 * For tests of power cuts, as the mock of node:fs/promises: a card can be looked at, or lost, before each change
 * and in the middle of each write.
 * @param changing what else than writing counts as a change.
 */
export function interruptedFiles(
  real: typeof promises,
  card: Card,
  changing: readonly Changing[],
): typeof promises {
  const told = <A extends unknown[], R>(work: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      await card.beforeChange();
      return await work(...args);
    };
  };
  const all = {
    rename: told(real.rename),
    rm: told(real.rm),
    link: told(real.link),
    unlink: told(real.unlink),
    symlink: told(real.symlink),
  };
  return {
    ...real,
    ...Object.fromEntries(changing.map((name) => [name, all[name]])),
    open: async (...args: Parameters<typeof real.open>) => {
      await card.beforeChange();
      const file = await real.open(...args);
      const whole = file.writeFile.bind(file);
      file.writeFile = async (data) => {
        const bytes = Buffer.from(data instanceof Uint8Array ? data : String(data));
        await whole(bytes.subarray(0, bytes.length / 2));
        await card.beforeChange();
        await file.truncate(0);
        await file.write(bytes, 0, bytes.length, 0);
      };
      return file;
    },
  };
}
