import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Config } from '../../builder/config/schema.ts';
import { isErrno } from '../../builder/errors.ts';
import { output } from '../../builder/exec.ts';
import { digestOf } from '../../builder/plan/digest.ts';
import type { LoadedStage } from '../../builder/stages.ts';
import { type DebianSource, hostMirrors, sourceLines } from '../../builder/tools/mirror.ts';
import type { Look } from './release.ts';

/** Parts of the project that the image is made by. Their tests and guides are no part of it. */
const sourcePaths = [
  'builder',
  'firstboot',
  'gateway',
  'overlays',
  'package-lock.json',
  'stages',
] as const;

/** Configuration is compared once it is read, so its files need not be. */
export async function look(
  root: string,
  config: Config,
  stages: readonly LoadedStage[],
): Promise<Look> {
  // Where files lie and from where they are downloaded is not in the image.
  const { paths: _paths, extensions: _extensions, image, ...rest } = config;
  const { release_url: _url, ...imageOptions } = image;
  const foreign = stages
    .filter((stage) => !stage.module.startsWith(join(root, 'stages')))
    .map((stage) => dirname(stage.module));
  return {
    sources: digestOf([
      await Promise.all(sourcePaths.map((path) => treeDigest(join(root, path)))),
      await Promise.all(foreign.map((path) => treeDigest(path))),
    ]),
    config: digestOf([rest, imageOptions]),
    archive: await archiveDigest(config),
  };
}

const untold = /(\.test\.ts|\.md)$|(^|\/)node_modules(\/|$)/;

/**
 * SHA-256 (hex) of a file or tree: paths, contents, who may execute, and where links lead. Not by
 * git: GitHub gives an action's files to a runner without a repository.
 */
export async function treeDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  const add = async (at: string, name: string): Promise<void> => {
    if (untold.test(name)) return;
    const stats = await lstat(at);
    if (stats.isDirectory()) {
      for (const entry of (await readdir(at)).sort())
        await add(join(at, entry), `${name}/${entry}`);
      return;
    }
    const content = stats.isSymbolicLink() ? Buffer.from(await readlink(at)) : await readFile(at);
    const kind = stats.isSymbolicLink() ? 'link' : stats.mode & 0o111 ? 'program' : 'file';
    hash.update(`${kind} ${name}\0${content.length}\0`).update(content);
  };
  try {
    await add(path, '');
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  return hash.digest('hex');
}

/**
 * Digest of the archive's indexes for this configuration: while it stays, an install gets the same
 * versions. Null where it cannot be told: other bases, no known mirror, no answer within 20 s.
 */
async function archiveDigest(config: Config): Promise<string | null> {
  if (config.base.some((base) => base !== 'debian')) return null;
  return await indexDigest(sourceLines(config.debian, await hostMirrors()), config.debian);
}

/** Debian's architectures of the image and of the programs that make it. */
const architectures = 'amd64|arm64|all';

export async function indexDigest(
  lines: readonly string[],
  { components }: Pick<DebianSource, 'components'>,
): Promise<string | null> {
  if (lines.length === 0) return null;
  // Release files: one "<digest> <size> <path>" a line (deb822 field SHA256, Debian's RepositoryFormat).
  // Their date changes daily, the indexes' digests do not.
  const wanted = new RegExp(
    `^ ([0-9a-f]{64}) +\\d+ ((?:${components.join('|')})/binary-(?:${architectures})/Packages)$`,
  );
  try {
    const texts = await Promise.all(
      lines.map(async (line) => {
        const [, mirror = '', suite = ''] = line.split(' ');
        const url = `${mirror.replace(/\/$/, '')}/dists/${suite}/InRelease`;
        const answer = await fetch(url, { signal: AbortSignal.timeout(20_000) });
        if (!answer.ok) throw new Error(`${answer.status}`);
        return await answer.text();
      }),
    );
    const indexes = texts.map((text) =>
      text.split('\n').flatMap((line) => wanted.exec(line)?.slice(1).join(' ') ?? []),
    );
    return indexes.every((found) => found.length > 0) ? digestOf(indexes) : null;
  } catch {
    return null; // costs a build, which tells what is wrong with the mirror
  }
}

/** Commit of the project, and whether its sources differ from it; null outside of a repository. */
export async function sourceCommit(
  root: string,
): Promise<{ commit: string | null; uncommitted: boolean }> {
  const git = async (...args: string[]) =>
    (await output('git', ['-C', root, ...args], { okCodes: [128] })).trim();
  const commit = await git('rev-parse', '--verify', '--quiet', 'HEAD').catch(() => '');
  if (!/^[0-9a-f]{40}$/.test(commit)) return { commit: null, uncommitted: false };
  return {
    commit,
    uncommitted: (await git('status', '--porcelain', '--', ...sourcePaths)) !== '',
  };
}

/** One line for each commit that changed the sources since an older one; none if that is not known. */
export async function commitsSince(root: string, older: string): Promise<string[]> {
  const text = await output(
    'git',
    ['-C', root, 'log', '--format=%h %s', `${older}..HEAD`, '--', ...sourcePaths],
    { okCodes: [128] },
  );
  return text.split('\n').filter(Boolean);
}
