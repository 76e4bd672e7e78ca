/** The work of action.yml: a build, plan or release for another repository, told by environment variables. */
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, isAbsolute, join, resolve } from 'node:path';
import { BuildError, exitCode } from '../builder/errors.ts';
import { presentError } from '../builder/ui/present.ts';
import { runProgram } from './command.ts';
import type { Release } from './release/release.ts';

const root = resolve(import.meta.dirname, '..');

/** An input of the action; empty where it was not given. */
const input = (name: string) => (process.env[name] ?? '').trim();

const lines = (name: string) =>
  input(name)
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);

const workspace = resolve(input('GITHUB_WORKSPACE') || '.');

/** Arguments that name the caller's configuration, for the builder and the night alike. */
function configuration(): string[] {
  const inWorkspace = (path: string) => (isAbsolute(path) ? path : join(workspace, path));
  // A name without a slash is an npm package's.
  const extensions = lines('EXTENSIONS').map((name) =>
    /^\.|\//.test(name) && !name.startsWith('@') ? inWorkspace(name) : name,
  );
  const sets = [
    `paths.output=${JSON.stringify(join(workspace, 'output'))}`,
    ...(extensions.length > 0 ? [`extensions=${JSON.stringify(extensions)}`] : []),
    ...lines('SETS'),
  ];
  return [
    ...['--config', inWorkspace(input('CONFIG') || 'gateway.yaml')],
    ...(input('ENVIRONMENT') ? ['--env', input('ENVIRONMENT')] : []),
    ...sets.flatMap((set) => ['--set', set]),
  ];
}

async function node(script: string, args: readonly string[]): Promise<string> {
  return await runProgram(root, [script, ...args], {
    cwd: workspace,
    onLine: (line) => process.stdout.write(`${line}\n`),
  });
}

type Made = { image: string; digest: string };

async function build(): Promise<Made> {
  const text = await node('builder/cli.ts', ['build', '--json', ...configuration()]);
  const built = JSON.parse(text) as {
    image: string;
    artifacts: { file: string; sha256: string }[];
  };
  const raw = basename(built.image);
  const flashed =
    built.artifacts.find(({ file }) => file === `${raw}.xz` || file === `${raw}.zst`) ??
    built.artifacts.find(({ file }) => file === raw);
  if (!flashed) throw new Error('the build named no image');
  return { image: join(built.image, '..', flashed.file), digest: flashed.sha256 };
}

async function release(): Promise<Made> {
  const url = input('RELEASE_URL');
  if (!url)
    throw new BuildError({
      what: 'A release needs the URL that it will be downloaded from',
      where: 'input release-url',
      fix: 'Give release-url beside release-folder',
      code: exitCode.usage,
    });
  const folder = resolve(workspace, input('RELEASE_FOLDER'));
  const keys = await mkdtemp(join(tmpdir(), 'pi-gateway-keys-'));
  try {
    const signed = input('SIGNING_KEY') !== '';
    const [secret, open] = [join(keys, 'secret'), join(keys, 'public')];
    await writeFile(secret, `${input('SIGNING_KEY')}\n`, { mode: 0o600 });
    await writeFile(open, `${input('SIGNING_PUBLIC_KEY')}\n`);
    await node('ci/nightly.ts', [
      ...['--folder', folder, '--url', url],
      ...['--keep', input('KEEP') || '7', '--boot-test', input('BOOT_TEST') || 'start'],
      ...(signed ? ['--key', secret, '--public-key', open] : []),
      ...configuration(),
    ]);
  } finally {
    await rm(keys, { recursive: true });
  }
  const latest = join(folder, 'latest');
  const { file } = JSON.parse(await readFile(join(latest, 'release.json'), 'utf8')) as Release;
  const sums = (await readFile(join(latest, 'SHA256SUMS'), 'utf8')).split('\n');
  const digest = sums.find((line) => line.endsWith(`  ${file}`))?.slice(0, 64) ?? '';
  return { image: join(latest, file), digest };
}

try {
  if (input('COMMAND') === 'plan') await node('builder/cli.ts', ['plan', ...configuration()]);
  else {
    const { image, digest } = await (input('RELEASE_FOLDER') ? release() : build());
    process.stdout.write(`${image}\nsha256 ${digest}\n`);
    if (input('GITHUB_OUTPUT'))
      await appendFile(input('GITHUB_OUTPUT'), `image=${image}\ndigest=${digest}\n`);
  }
} catch (error) {
  process.exitCode = presentError(error, { json: false });
}
