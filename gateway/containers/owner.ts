import type { RunOptions, System } from '../../firstboot/system.ts';

/** Runs a program as the containers' user, in their network: overlays/containers has the script. */
const asOwner = '/usr/lib/pi-gateway/as-containers';

/** Milliseconds: an image is pulled over a slow line, and unpacked to a card. */
const slow = 3_600_000;

/** The containers' user, who has no password, no shell and no rights but over containers. */
export type Owner = {
  run(command: string, args: readonly string[], options?: RunOptions): Promise<string>;
  /** With a file as standard input, which root opens. */
  feed(file: string, command: string, args: readonly string[]): Promise<string>;
};

export function ownerOf(system: System): Owner {
  return {
    run: (command, args, options) => system.run(asOwner, [command, ...args], options),
    feed: (file, command, args) =>
      system.run('sh', ['-c', 'exec "$@" < "$0"', file, asOwner, command, ...args], {
        timeout: slow,
      }),
  };
}

export const podman = (owner: Owner, ...args: readonly string[]): Promise<string> =>
  owner.run('podman', args, { timeout: slow });

export const userSystemctl = (
  owner: Owner,
  args: readonly string[],
  timeout?: number,
): Promise<string> =>
  owner.run('systemctl', ['--user', ...args], timeout === undefined ? {} : { timeout });
