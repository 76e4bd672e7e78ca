import { access, mkdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { run } from '../exec.ts';
import { digestOf } from '../plan/digest.ts';
import { hostMirrors, sourceLines } from '../tools/mirror.ts';
import { hostArchitecture } from '../tools/tools.ts';
import type { LabHost } from './namespace.ts';

/** Scanners of the image's own Debian release: an older one does not know what a newer sshd speaks. */
const packages = ['ssh-audit', 'lynis'];

/** A tree with the scanners, made once and kept in the cache; to be entered with chroot(8). */
export async function probesTree(cache: string, source: Config['debian']): Promise<string> {
  return await releaseTree(cache, source, packages);
}

/**
 * Packages of the image's own Debian release, unpacked and not configured, with all that they depend on: made once
 * and kept in the cache. For hosts whose own release has an older version of what is tested with, or none.
 * @param architecture as dpkg calls it; the host's own unless said.
 */
export async function releaseTree(
  cache: string,
  source: Config['debian'],
  packages: readonly string[],
  architecture = hostArchitecture,
): Promise<string> {
  const lines = sourceLines({ ...source, components: ['main'] }, await hostMirrors());
  const key = architecture === hostArchitecture ? [] : [architecture];
  const tree = join(cache, 'probes', digestOf([packages, source.suite, ...key]).slice(0, 16));
  const there = await access(tree).then(
    () => true,
    () => false,
  );
  if (there) return tree;
  const work = `${tree}.${process.pid}.new`;
  await mkdir(join(cache, 'probes'), { recursive: true });
  try {
    await run('mmdebstrap', [
      '--variant=extract',
      '--mode=root',
      `--architectures=${architecture}`,
      `--include=${packages.join(',')}`,
      ...(source.keyring ? [`--keyring=${source.keyring}`] : []),
      '--aptopt=Acquire::Languages "none"',
      '--aptopt=Acquire::Retries "5"',
      source.suite,
      work,
      ...lines,
    ]);
    // A tree that is only unpacked lacks what base-files makes when it is configured.
    for (const name of ['bin', 'lib', 'lib64', 'sbin'])
      await symlink(`usr/${name}`, join(work, name));
    await rename(work, tree);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return tree;
}

/** Runs ssh-audit(1) from a host of the lab; any exit code is a result. */
export async function sshAudit(
  host: LabHost,
  tree: string,
  args: readonly string[],
): Promise<{ stdout: string; exitCode: number }> {
  return await host.run('chroot', [tree, '/usr/bin/ssh-audit', ...args], {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', PYTHONDONTWRITEBYTECODE: '1' },
    okCodes: [1, 2, 3],
    timeout: 120_000,
  });
}
