import { chmod, cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hostPath, run } from '../builder/exec.ts';

const scratch = await mkdtemp(join(tmpdir(), 'pi-gateway-github-'));
const github = join(scratch, 'github');
afterAll(() => rm(scratch, { recursive: true }));

/** What gh(1) does with releases, as folders: list, view, create, upload, download, delete. */
const gh = `#!/usr/bin/env bash
set -eu
cd "$GITHUB_FOLDER"
verb=$2 tag=\${3:-}
shift 2
case $verb in
  list) ls ;;
  view) ls "$tag" ;;
  create)
    mkdir "$tag"
    [ "$tag" != "\${BREAK:-}" ] || exit 1
    shift
    while [ $# -gt 0 ]; do
      case $1 in --title | --notes | --notes-file) shift ;; --*) ;; *) cp "$1" "$tag/" ;; esac
      shift
    done ;;
  upload) cp "$2" "$tag/" ;;
  download)
    shift
    pattern='*'
    while [ $# -gt 0 ]; do
      case $1 in --dir) to=$2; shift ;; --pattern) pattern=$2; shift ;; esac
      shift
    done
    find "$tag" -type f -name "$pattern" -exec cp {} "$to/" ';' ;;
  delete) rm -r "$tag" ;;
esac
`;

beforeAll(async () => {
  await mkdir(join(scratch, 'bin'));
  await mkdir(github);
  await writeFile(join(scratch, 'bin/gh'), gh);
  await chmod(join(scratch, 'bin/gh'), 0o755);
});

async function releases(what: 'pull' | 'push', folder: string, env: Record<string, string> = {}) {
  await run('bash', [join(import.meta.dirname, 'github-releases.sh'), what, folder], {
    env: {
      PATH: [join(scratch, 'bin'), hostPath].join(delimiter),
      GITHUB_FOLDER: github,
      ...env,
    },
  });
}

async function put(folder: string, id: string): Promise<void> {
  await mkdir(join(folder, id), { recursive: true });
  for (const name of ['release.json', 'SHA256SUMS', 'CHANGELOG.md', 'pi.img.xz', 'os_list.json'])
    await writeFile(join(folder, id, name), `${name} of ${id}\n`);
  for (const [link, target] of [
    ['latest', id],
    ['os_list.json', 'latest/os_list.json'],
  ] as const) {
    await rm(join(folder, link), { force: true });
    await symlink(target, join(folder, link));
  }
}

const [first, second, third] = ['2026-12-01T020000Z', '2026-12-02T020000Z', '2026-12-03T020000Z'];

test('releases go to GitHub whole, come back as a night needs them, and go with the folder’s', async () => {
  await mkdir(join(github, 'v1.0'));
  const here = join(scratch, 'first');
  await put(here, first);
  await put(here, second);
  await releases('push', here);
  expect(await readdir(github)).toEqual([first, second, 'imager', 'v1.0']);
  expect(await readdir(join(github, 'imager'))).toEqual(['os_list.json']);
  expect(await readdir(join(github, second))).toContain('release.json');

  // Another runner, which has nothing.
  const there = join(scratch, 'second');
  await releases('pull', there);
  expect(await readdir(there)).toEqual([first, second]);
  expect(await readdir(join(there, first))).toEqual(['release.json']);
  expect(await readdir(join(there, second))).toContain('pi.img.xz');

  // It keeps two: the oldest goes.
  await put(there, third);
  await rm(join(there, first), { recursive: true });
  await releases('push', there);
  expect(await readdir(github)).toEqual([second, third, 'imager', 'v1.0']);
  const { stdout } = await run('cat', [join(github, 'imager/os_list.json')]);
  expect(stdout).toContain(third);
});

test('an upload that broke off is no release, and the next night removes it', async () => {
  const fourth = '2026-12-04T020000Z';
  const here = join(scratch, 'third');
  await releases('pull', here);
  await cp(join(here, third), join(here, second), { recursive: true });
  await put(here, fourth);
  await expect(releases('push', here, { BREAK: fourth })).rejects.toThrow();
  expect(await readdir(join(github, fourth))).toEqual([]);
  const { stdout } = await run('cat', [join(github, 'imager/os_list.json')]);
  expect(stdout).toContain(third);

  const next = join(scratch, 'fourth');
  await releases('pull', next);
  expect(await readdir(next)).toEqual([second, third]);
  await put(next, '2026-12-05T020000Z');
  await releases('push', next);
  expect(await readdir(github)).toEqual([second, third, '2026-12-05T020000Z', 'imager', 'v1.0']);
});
