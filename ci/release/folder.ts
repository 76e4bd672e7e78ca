import { mkdir, readdir, readFile, readlink, rename, rm, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { holdLock } from '../../builder/chroot/lock.ts';
import { exitCode, isErrno } from '../../builder/errors.ts';
import { run } from '../../builder/exec.ts';
import { digestOf } from '../../builder/plan/digest.ts';
import { replaceFile } from '../../builder/state.ts';
import { isReleaseId, type Look, type Release } from './release.ts';

const staging = '.staging-';
const trash = '.trash-';
const looked = '.looked.json';

/** The list for `rpi-imager --repo`, in each release and, by a link, of the newest at the top. */
export const listFile = 'os_list.json';

/**
 * A folder of releases that a web server can serve as it is: one folder each, `latest`, a link to the
 * newest, and os_list.json, a link through it. So one rename(2) moves all readers from one release to
 * the next, and the list that they see is the one that was signed with it.
 *
 * Whatever kills a night leaves either the old state or the new one. What is half done has a name with
 * a dot; the next night removes it.
 */
export class ReleaseFolder {
  readonly path: string;
  #releases: Release[];

  private constructor(path: string, releases: Release[]) {
    this.path = path;
    this.#releases = releases;
  }

  /**
   * Opens the folder, makes it if need be, and ends what a killed night left half done.
   * @throws BuildError when another night is at work in it.
   */
  static async open(path: string): Promise<ReleaseFolder> {
    await holdLock(`pi-gateway-releases-${digestOf(path).slice(0, 16)}`, {
      what: 'Another night is making a release in this folder',
      where: path,
      fix: 'Wait for it to end, or stop it (the last release stays as it is)',
      code: exitCode.host,
    });
    await mkdir(path, { recursive: true });
    for (const name of await readdir(path))
      if (name.startsWith(staging) || name.startsWith(trash))
        await rm(join(path, name), { recursive: true, force: true });
    const folder = new ReleaseFolder(path, await readReleases(path));
    // A release has its name only once it is whole and has passed every gate.
    if (folder.latest) await folder.#finish(folder.latest);
    return folder;
  }

  /** Newest first. */
  get releases(): readonly Release[] {
    return this.#releases;
  }

  get latest(): Release | undefined {
    return this.#releases[0];
  }

  /** The state that the last night which released nothing had looked at. */
  async looked(): Promise<Look | undefined> {
    try {
      return JSON.parse(await readFile(join(this.path, looked), 'utf8')) as Look;
    } catch {
      return undefined; // costs a build that finds the same
    }
  }

  async remember(look: Look): Promise<void> {
    await replaceFile(join(this.path, looked), `${JSON.stringify(look)}\n`);
  }

  /** Path of a release's file. */
  file(release: Release, name: string): string {
    return join(this.path, release.id, name);
  }

  /** A new folder that nobody sees yet, for the release to be put together in. */
  async stage(id: string): Promise<string> {
    const path = join(this.path, staging + id);
    await mkdir(path);
    return path;
  }

  /**
   * Gives the staged release its name, moves `latest` to it, and then deletes what it does not retain.
   * @param onStep is told before each of the three.
   */
  async publish(release: Release, onStep: (step: string) => void): Promise<void> {
    const staged = join(this.path, staging + release.id);
    onStep('naming');
    // After a power cut the name must not stand for files that were never written.
    const files = (await readdir(staged)).map((name) => join(staged, name));
    await run('sync', [...files, staged]);
    await rename(staged, join(this.path, release.id));
    this.#releases.unshift(release);
    await this.#finish(release, onStep);
  }

  async #finish(newest: Release, onStep: (step: string) => void = () => undefined): Promise<void> {
    onStep('switching');
    await this.#link('latest', newest.id);
    await this.#link(listFile, join('latest', listFile));
    onStep('retaining');
    for (const { id } of this.#releases) {
      if (id === newest.id || newest.retained.includes(id)) continue;
      const gone = join(this.path, trash + id);
      await rename(join(this.path, id), gone);
      await rm(gone, { recursive: true });
    }
    this.#releases = this.#releases.filter(
      ({ id }) => id === newest.id || newest.retained.includes(id),
    );
  }

  async #link(name: string, target: string): Promise<void> {
    const path = join(this.path, name);
    if ((await readlink(path).catch(() => undefined)) === target) return;
    const temporary = join(this.path, `${staging}${name}`);
    await unlink(temporary).catch(() => undefined);
    await symlink(target, temporary);
    await rename(temporary, path);
  }
}

/** Folders that hold a release of their own name; anything else in the folder is not ours to touch. */
async function readReleases(path: string): Promise<Release[]> {
  const found = await Promise.all(
    (await readdir(path)).filter(isReleaseId).map(async (id) => {
      try {
        const text = await readFile(join(path, id, 'release.json'), 'utf8');
        const release = JSON.parse(text) as Release;
        return release.id === id ? [release] : [];
      } catch (error) {
        if (isErrno(error, 'ENOENT') || error instanceof SyntaxError) return [];
        throw error;
      }
    }),
  );
  return found.flat().toSorted((a, b) => (a.id < b.id ? 1 : -1));
}
